package synthetic

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// The country lies in the middle of an ocean, so that no coordinate is a real home. Its
// two-letter code is one that ISO 3166-1 leaves to its users, its currency the one that
// ISO 4217 keeps for tests.
const (
	countryCode = "XA"
	countryArea = "AN"
	currency    = "XTS"

	south, west = 3.0, -38.0 // corner of the country, in degrees
	regionSize  = 2.0        // side of a region, in degrees
)

// community is where households live: the lowest of the four levels.
type community struct {
	area, district, region string
	name                   string
	latitude, longitude    float64
	settlement             string
	wealth                 float64 // mean of its households, 0 to 1
	tradition              int
	displaced              bool // it has taken in people who fled
}

// atlas is the country's tree of areas.
type atlas struct {
	areas       []annona.Area
	communities []community
	homes       []int32 // communities, as often as they weigh
}

const regions = 9

// newAtlas draws the tree of areas, which is the same for every seed: people come and go, the
// country stays, and one mapping can name its areas.
func newAtlas(traditions int) *atlas {
	a := &atlas{}
	d := newDice()
	d.seed(0, 0)
	a.add(countryArea, "", 0, placeName(d))
	for r := 1; r <= regions; r++ {
		a.drawRegion(d, r, traditions)
	}
	return a
}

func (a *atlas) add(code, parent string, level int, name string) string {
	a.areas = append(a.areas, annona.Area{
		Code: code, Parent: parent, Level: level, Names: map[string]string{"en": name}, ValidFrom: "2010-01-01",
	})
	return code
}

func (a *atlas) drawRegion(d dice, number, traditions int) {
	region := a.add(below(countryArea, number), countryArea, 1, placeName(d))
	lat := south + regionSize*float64((number-1)/3)
	lon := west + regionSize*float64((number-1)%3)
	wealth := 0.25 + 0.35*d.Float64()
	districts := d.between(5, 9)
	for n := 1; n <= districts; n++ {
		district := a.add(below(region, n), region, 2, placeName(d))
		seat := community{
			region: region, district: district,
			latitude: lat + regionSize*d.Float64(), longitude: lon + regionSize*d.Float64(),
			wealth:    wealth + 0.2*(d.Float64()-0.5),
			tradition: (number + d.IntN(2)*d.IntN(traditions)) % traditions,
			displaced: d.chance(0.08),
		}
		a.drawCommunities(d, seat)
	}
}

// drawCommunities draws the communities of one district around its seat, the first of them.
func (a *atlas) drawCommunities(d dice, seat community) {
	villages := d.between(6, 12)
	for n := 1; n <= villages; n++ {
		c := seat
		c.name = placeName(d)
		c.area = a.add(below(seat.district, n), seat.district, 3, c.name)
		c.latitude += 0.2 * (d.Float64() - 0.5)
		c.longitude += 0.2 * (d.Float64() - 0.5)
		weight := 1
		switch {
		case n == 1:
			c.settlement, c.wealth, weight = "urban", c.wealth+0.2, 8
		case n <= 4:
			c.settlement, c.wealth, weight = "semi_urban", c.wealth+0.08, 2
		default:
			c.settlement, c.wealth = "rural", c.wealth-0.08
		}
		a.communities = append(a.communities, c)
		for range weight {
			a.homes = append(a.homes, int32(len(a.communities)-1))
		}
	}
}

// below returns the code of the n-th area of parent: "AN-03" of "AN".
func below(parent string, n int) string {
	if n < 10 {
		return parent + "-0" + strconv.Itoa(n)
	}
	return parent + "-" + strconv.Itoa(n)
}

// placeName invents a name of two to three syllables.
func placeName(d dice) string {
	onsets := [...]string{"b", "d", "f", "g", "k", "l", "m", "n", "r", "s", "t", "v", "z", "sh", "ny", "kw", "tr", "ç", "ñ", "ł"}
	vowels := [...]string{"a", "e", "i", "o", "u", "a", "o", "é", "ã", "ö", "ia", "ou"}
	codas := [...]string{"", "", "", "n", "r", "l", "m", "nd", "sk"}
	var name string
	for range d.between(2, 3) {
		name += pick(d, onsets[:]) + pick(d, vowels[:])
	}
	name += pick(d, codas[:])
	first, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(first)) + name[size:]
}
