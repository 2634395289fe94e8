package synthetic

import "github.com/annona-exchange/annona"

// living writes the answers that the score is made of.
func (w *draft) living() {
	c := &w.registry.columns.household
	const rate = 0.015
	w.mostly(c.dwelling, dwelling.draw(w.dice, w.wealth), rate)
	w.mostly(c.floor, floor.draw(w.dice, w.wealth), rate)
	w.mostly(c.wall, wall.draw(w.dice, w.wealth), rate)
	w.mostly(c.roof, roof.draw(w.dice, w.wealth), rate)
	w.mostly(c.water, water.draw(w.dice, w.wealth), rate)
	w.mostly(c.sanitation, sanitation.draw(w.dice, w.wealth), rate)
	w.mostly(c.fuel, fuel.draw(w.dice, w.wealth), rate)
	w.mostly(c.electricity, yesNo(w.chance(0.15+0.85*w.wealth)), rate)
	has := w.belongings()
	w.mostly(c.assets, w.owned(has, func(t thing) bool { return t.asset }), rate)
	w.mostly(c.ict, w.owned(has, func(t thing) bool { return t.ict }), rate)
	w.mostly(c.incomeSource, incomeSource.draw(w.dice, w.wealth), 0.05)
	if w.chance(0.3) {
		w.set(c.incomeAmount, w.decimal(int64(2000+w.wealth*w.wealth*90000*(0.5+w.Float64())), 2))
		w.set(c.incomeCurrency, currency)
		w.set(c.incomePeriod, "month")
	}
	w.mostly(c.foodSecure, foodSecurity.draw(w.dice, w.wealth), 0.1)
}

func yesNo(yes bool) string {
	if yes {
		return "true"
	}
	return "false"
}

var (
	dwelling = gradient{
		weights("semi_permanent 45 temporary 30 improvised 15 permanent 8 collective 1 mobile 1"),
		weights("permanent 88 semi_permanent 10 collective 2")}
	floor = gradient{
		weights("earth_sand 62 dung 14 palm_bamboo 8 cement 12 wood_planks 3 other 1"),
		weights("cement 45 ceramic_tiles 30 vinyl_asphalt 8 parquet_polished_wood 7 carpet 8 other 2")}
	wall = gradient{
		weights("bamboo_with_mud 35 dirt 20 cane_palm_trunks 10 uncovered_adobe 15 stone_with_mud 10 reused_wood 5 cardboard 3 no_walls 2"),
		weights("cement_blocks 50 bricks 25 cement 15 covered_adobe 5 wood_planks_shingles 5")}
	roof = gradient{
		weights("thatch_palm_leaf 50 sod_grass 15 metal 25 rustic_mat 5 cardboard 3 no_roof 2"),
		weights("metal 50 cement 20 ceramic_tiles 18 calamine_cement_fiber 7 roofing_shingles 5")}
	water = gradient{
		weights("unprotected_well 25 surface_water 20 tube_well_borehole 20 public_tap_standpipe 12 unprotected_spring 10 protected_well 6 rainwater 4 cart_with_small_tank 3"),
		weights("piped_into_dwelling 50 piped_to_yard 20 public_tap_standpipe 8 tube_well_borehole 8 bottled_water 8 packaged_water 3 tanker_truck 3")}
	sanitation = gradient{
		weights("open_defecation 30 pit_latrine_without_slab 40 pit_latrine_with_slab 15 hanging_toilet 5 bucket_latrine 5 composting_toilet 5"),
		weights("flush_to_septic_tank 45 flush_to_piped_sewer 30 ventilated_improved_pit 15 flush_to_pit_latrine 10")}
	fuel = gradient{
		weights("wood 60 charcoal 15 agricultural_crop_waste 10 animal_dung 10 straw_shrubs_grass 4 no_food_cooked 1"),
		weights("lpg_natural_gas 60 electricity 18 charcoal 12 biogas 4 kerosene 6")}
	incomeSource = gradient{
		weights("farming 50 casual_labor 25 fishing 7 social_transfers 8 remittances 6 other 4"),
		weights("wages_salary 50 self_employment_non_farm 30 pension 8 rental_income 4 remittances 8")}
	foodSecurity = gradient{
		weights("severely_insecure 25 moderately_insecure 40 mildly_insecure 25 food_secure 10"),
		weights("food_secure 80 mildly_insecure 17 moderately_insecure 3")}
)

// thing is something that a household may own: how likely the poorest do, and the richest,
// and which of the two questions asks for it.
type thing struct {
	code       string
	poor, rich float64
	asset, ict bool
}

var things = [...]thing{
	{"radio", 0.35, 0.6, true, true},
	{"television", 0.05, 0.95, true, true},
	{"mobile_phone", 0.5, 0.99, true, true},
	{"computer_tablet", 0, 0.6, true, true},
	{"internet", 0.03, 0.85, false, true},
	{"refrigerator", 0.01, 0.85, true, false},
	{"bicycle", 0.3, 0.3, true, false},
	{"motorcycle_scooter", 0.05, 0.3, true, false},
	{"car_truck", 0, 0.45, true, false},
	{"animal_drawn_cart", 0.12, 0.01, true, false},
	{"watch", 0.15, 0.7, true, false},
	{"bank_account", 0.05, 0.9, true, false},
}

// belongings draws what the household has.
func (w *draft) belongings() (has [len(things)]bool) {
	for i, t := range things {
		has[i] = w.chance(t.poor + (t.rich-t.poor)*w.wealth)
	}
	return has
}

// owned writes the list of things that the household has and the question asks for.
func (w *draft) owned(has [len(things)]bool, asked func(thing) bool) string {
	mark := w.text.Len()
	for i, t := range things {
		if !has[i] || !asked(t) {
			continue
		}
		if w.text.Len() > mark {
			w.text.WriteByte(annona.ListSeparator)
		}
		w.text.WriteString(t.code)
	}
	return w.since(mark)
}
