package schema

import (
	"bytes"

	"github.com/annona-exchange/annona"
)

// Some answers are put together of several datasets, or are of none. Their nouns stand here.

const provSpace = "http://www.w3.org/ns/prov#"

// graphTerm is a member of a noun that no dataset has.
type graphTerm struct {
	code, iri, datatype string // iri empty: a term of our own
	many                bool
}

// graphNoun is a noun that no dataset has.
type graphNoun struct {
	noun, class string // class empty: one of our own
	terms       []graphTerm
}

var beneficiaryNouns = []graphNoun{
	{"beneficiary", "", []graphTerm{
		{code: "schema"}, {code: "individual"}, {code: "household"}, {code: "enrollments", many: true}, {code: "benefits", many: true}, {code: "cases", many: true},
		{code: "household_enrollments", many: true}, {code: "household_benefits", many: true}, {code: "eligibility_decisions", many: true}, {code: "more", many: true},
	}},
	{"eligibility_decision", "", []graphTerm{
		{code: "id"}, {code: "recorded_at", datatype: xsdSpace + "dateTime"}, {code: "key"},
		{code: "individual_id", iri: "https://publicschema.org/beneficiary", datatype: "individuals"},
		{code: "household_id", iri: "https://publicschema.org/beneficiary", datatype: "households"},
		{code: "program", iri: "https://publicschema.org/sp/program_ref"}, {code: "status"},
		{code: "decision_date", datatype: xsdSpace + "date"}, {code: "valid_until", datatype: xsdSpace + "date"}, {code: "appeal_until", datatype: xsdSpace + "date"},
		{code: "appeal_of"}, {code: "basis"}, {code: "score", datatype: xsdSpace + "decimal"}, {code: "band"}, {code: "reasons", many: true},
		{code: "automated"}, {code: "software"}, {code: "export"},
	}},
}

// Each update is an activity of the PROV ontology: it ended at a moment, used the record, and somebody is
// associated with it.
var updateNouns = []graphNoun{
	{"update_log", "", []graphTerm{{code: "record", datatype: "@id"}, {code: "updates", many: true}, {code: "complete"}, {code: "next"}}},
	{"update", provSpace + "Activity", []graphTerm{
		{code: "record", iri: provSpace + "used", datatype: "@id"}, {code: "dataset"}, {code: "at", iri: provSpace + "endedAtTime", datatype: xsdSpace + "dateTime"},
		{code: "by", iri: provSpace + "wasAssociatedWith"}, {code: "action"}, {code: "verdict"}, {code: "purpose"}, {code: "reason"}, {code: "request"},
		{code: "change_request"}, {code: "decided_at", datatype: xsdSpace + "dateTime"}, {code: "decided_by"}, {code: "changes", many: true},
	}},
	{"update_author", provSpace + "Agent", []graphTerm{{code: "kind"}, {code: "mine"}, {code: "system"}, {code: "client"}, {code: "user"}}},
	{"field_change", "", []graphTerm{{code: "field"}, {code: "before", many: true}, {code: "after", many: true}}},
}

// context returns what a context says of the noun.
func (n graphNoun) context(base string) member {
	terms := object{}
	for _, t := range n.terms {
		term := object{{"@id", t.property(n.noun)}}
		switch t.datatype {
		case "individuals", "households":
			term = append(term, member{"@type", "@id"}, member{"@context", object{{"@base", base + t.datatype + "/"}}})
		default:
			term = term.with("@type", t.datatype)
		}
		if t.many {
			term = term.with("@container", "@set")
		}
		terms = append(terms, member{t.code, term})
	}
	return member{n.noun, object{{"@id", n.classIRI()}, {"@context", terms}}}
}

func (n graphNoun) classIRI() string {
	if n.class != "" {
		return n.class
	}
	return Vocabulary + pascal(n.noun)
}

func (t graphTerm) property(noun string) string {
	if t.iri != "" {
		return t.iri
	}
	return Vocabulary + noun + "." + t.code
}

// BeneficiaryContext returns the JSON-LD context of a beneficiary whose parts have these shapes.
func BeneficiaryContext(parts []*annona.Shape, base string) ([]byte, error) {
	context, seen := object{{"@version", 1.1}}, map[string]bool{}
	for _, part := range parts {
		for _, m := range contextOf(part, base)[1:] {
			if !seen[m.name] {
				context = append(context, m)
			}
			seen[m.name] = true
		}
	}
	return graphContext(context, beneficiaryNouns, base)
}

// UpdateContext returns the JSON-LD context of an update log, whose records are named by their addresses.
func UpdateContext() ([]byte, error) {
	return graphContext(object{{"@version", 1.1}}, updateNouns, "")
}

func graphContext(context object, nouns []graphNoun, base string) ([]byte, error) {
	for _, n := range nouns {
		context = append(context, n.context(base))
	}
	var b bytes.Buffer
	err := appendJSON(&b, context)
	return bytes.TrimSpace(b.Bytes()), err
}
