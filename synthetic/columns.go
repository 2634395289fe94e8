package synthetic

import "github.com/annona-exchange/annona"

// column is a field with the companions that it has.
type column struct{ value, nilReason, asOf *annona.Field }

// datasets are the record types that a registry reports.
type datasets struct{ households, individuals *annona.Dataset }

// columns are the fields that a synthetic record can have.
type columns struct {
	household  householdColumns
	individual individualColumns
	identifier identifierColumns
	assessment assessmentColumns
	function   functionColumns
	otherName  otherNameColumns
	paper      certificateColumns
	flag       flagColumns
}

type householdColumns struct {
	status, registrationDate, asOf, householdType, formationDate                      column
	fullAddress, line1, line2, locality, postalCode, district, region, country, area  column
	latitude, longitude, settlement                                                   column
	score, scoreType, band, scoreDate                                                 column
	dwelling, floor, wall, roof, water, sanitation, fuel, electricity                 column
	assets, ict, incomeSource, incomeAmount, incomeCurrency, incomePeriod, foodSecure column
	pregnantCount, chronicIllness                                                     column
	identifiers, assessments, qualityFlags                                            *annona.Field
}

type individualColumns struct {
	registrationDate, asOf                                                              column
	fullName, nameOrder, givenName, familyName, fatherName, grandfatherName, secondName column
	familyNameAtBirth, namePrefix, preferredName                                        column
	sex, born, precision, bornAsRecorded, calendar, vitalStatus, died                   column
	countryOfBirth, nationality, marital, education, inSchool                           column
	employment, statusInEmployment, occupation, incomeAmount, incomeCurrency            column
	incomePeriod, language, phones, emails, disabled, pregnancy, displacement           column
	ethnicGroup, religion, account, accountType                                         column
	identifiers, otherNames, functioning, certificates, qualityFlags                    *annona.Field
}

type identifierColumns struct{ scheme, issuer, value, validUntil, status, verified *annona.Field }

type assessmentColumns struct {
	instrument, version, collectedAt, mode, status, validUntil, score, band, formula *annona.Field
}

type functionColumns struct{ domain, severity, asOf *annona.Field }

type otherNameColumns struct{ kind, fullName, givenName, familyName, script, language *annona.Field }

type certificateColumns struct{ grade, issuer, validUntil *annona.Field }

type flagColumns struct{ code, field, since *annona.Field }

// binder finds the fields of one dataset and remembers the first that is not there.
type binder struct {
	dictionary *annona.Dictionary
	dataset    *annona.Dataset
	err        error
}

func (b *binder) open(dataset string) *annona.Dataset {
	s, ok := b.dictionary.Dataset(dataset)
	if !ok && b.err == nil {
		b.err = annona.Invalid("unknown_dataset", "the dictionary lacks a dataset of the standard").On(dataset)
	}
	b.dataset = s
	return s
}

func (b *binder) field(code string) *annona.Field {
	if b.err != nil {
		return nil
	}
	f, ok := b.dataset.Field(code)
	if !ok {
		b.err = annona.Invalid("unknown_field", "the dataset %s of the dictionary lacks a field of the standard", b.dataset.Name).On(code)
	}
	return f
}

func (b *binder) column(code string) column {
	c := column{value: b.field(code)}
	if b.err != nil {
		return c
	}
	c.nilReason, _ = b.dataset.Field(code + annona.AspectNilReason.Suffix())
	c.asOf, _ = b.dataset.Field(code + annona.AspectAsOf.Suffix())
	return c
}

// bind finds every field in the dictionary.
func bind(d *annona.Dictionary) (datasets, columns, error) {
	b := &binder{dictionary: d}
	var s datasets
	var c columns
	s.households = b.open("households")
	c.household = b.householdColumns()
	s.individuals = b.open("individuals")
	c.individual = b.individualColumns()
	b.groups(&c)
	return s, c, b.err
}

func (b *binder) householdColumns() householdColumns {
	return householdColumns{
		status: b.column("status"), registrationDate: b.column("registration_date"), asOf: b.column("as_of"),
		householdType: b.column("household_type"), formationDate: b.column("formation_date"),
		fullAddress: b.column("full_address"), line1: b.column("address_line_1"), line2: b.column("address_line_2"),
		locality: b.column("locality"), postalCode: b.column("postal_code"), district: b.column("sub_region_code"),
		region: b.column("region_code"), country: b.column("country_code"), area: b.column("area_code"),
		latitude: b.column("latitude"), longitude: b.column("longitude"), settlement: b.column("settlement_type"),
		score: b.column("poverty_score"), scoreType: b.column("poverty_score_type"), band: b.column("poverty_band"),
		scoreDate: b.column("score_date"), dwelling: b.column("dwelling_type"), floor: b.column("floor_material"),
		wall: b.column("wall_material"), roof: b.column("roof_material"), water: b.column("water_source"),
		sanitation: b.column("sanitation_facility"), fuel: b.column("cooking_fuel"), electricity: b.column("electricity_access"),
		assets: b.column("household_assets"), ict: b.column("ict_access"), incomeSource: b.column("income_source"),
		incomeAmount: b.column("income_amount"), incomeCurrency: b.column("income_currency"), incomePeriod: b.column("income_period"),
		foodSecure: b.column("food_security_level"), pregnantCount: b.column("pregnant_or_lactating_count"),
		chronicIllness: b.column("chronic_illness_in_household"),
		identifiers:    b.field("identifiers"), assessments: b.field("assessments"), qualityFlags: b.field("quality_flags"),
	}
}

func (b *binder) individualColumns() individualColumns {
	return individualColumns{
		registrationDate: b.column("registration_date"), asOf: b.column("as_of"),
		fullName: b.column("full_name"), nameOrder: b.column("name_order"), givenName: b.column("given_name"),
		familyName: b.column("family_name"), fatherName: b.column("father_name"), grandfatherName: b.column("grandfather_name"),
		secondName: b.column("second_name"), familyNameAtBirth: b.column("family_name_at_birth"),
		namePrefix: b.column("name_prefix"), preferredName: b.column("preferred_name"),
		sex: b.column("sex"), born: b.column("date_of_birth"), precision: b.column("date_of_birth_precision"),
		bornAsRecorded: b.column("date_of_birth_as_recorded"), calendar: b.column("date_of_birth_calendar"),
		vitalStatus: b.column("vital_status"), died: b.column("date_of_death"), countryOfBirth: b.column("country_of_birth"),
		nationality: b.column("nationality"), marital: b.column("marital_status"), education: b.column("education_level"),
		inSchool: b.column("in_school"), employment: b.column("employment_status"), statusInEmployment: b.column("status_in_employment"),
		occupation: b.column("occupation"), incomeAmount: b.column("income_amount"), incomeCurrency: b.column("income_currency"),
		incomePeriod: b.column("income_period"), language: b.column("preferred_language"), phones: b.column("phone_numbers"),
		emails: b.column("emails"), disabled: b.column("is_disabled"), pregnancy: b.column("pregnancy_status"),
		displacement: b.column("displacement_status"), ethnicGroup: b.column("ethnic_group"), religion: b.column("religion"),
		account: b.column("payment_account"), accountType: b.column("payment_account_type"),
		identifiers: b.field("identifiers"), otherNames: b.field("other_names"), functioning: b.field("functioning"),
		certificates: b.field("disability_certificates"), qualityFlags: b.field("quality_flags"),
	}
}

func (b *binder) groups(c *columns) {
	b.open("identifiers")
	c.identifier = identifierColumns{
		scheme: b.field("scheme"), issuer: b.field("issuer"), value: b.field("value"),
		validUntil: b.field("valid_until"), status: b.field("status"), verified: b.field("verified"),
	}
	b.open("assessments")
	c.assessment = assessmentColumns{
		instrument: b.field("instrument"), version: b.field("instrument_version"), collectedAt: b.field("collected_at"),
		mode: b.field("mode"), status: b.field("status"), validUntil: b.field("valid_until"), score: b.field("score"),
		band: b.field("band"), formula: b.field("formula_version"),
	}
	b.open("functioning")
	c.function = functionColumns{domain: b.field("domain"), severity: b.field("severity"), asOf: b.field("as_of")}
	b.open("other_names")
	c.otherName = otherNameColumns{
		kind: b.field("kind"), fullName: b.field("full_name"), givenName: b.field("given_name"),
		familyName: b.field("family_name"), script: b.field("script"), language: b.field("language"),
	}
	b.open("disability_certificates")
	c.paper = certificateColumns{grade: b.field("grade"), issuer: b.field("issuer"), validUntil: b.field("valid_until")}
	b.open("quality_flags")
	c.flag = flagColumns{code: b.field("code"), field: b.field("field"), since: b.field("since")}
}
