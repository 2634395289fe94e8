package ingest

import (
	"io"

	"github.com/annona-exchange/annona"
)

type extensionDoc struct {
	Country    text           `yaml:"country"`
	CodeLists  []codeListDoc  `yaml:"code_lists"`
	Attributes []attributeDoc `yaml:"attributes"`
	Authority  []authorityDoc `yaml:"authority"`

	IdentifierTypes []identifierTypeDoc `yaml:"identifier_types"`
}

// identifierTypeDoc declares anew all that is known of a type.
type identifierTypeDoc struct {
	Code      text  `yaml:"code"`
	Pattern   text  `yaml:"pattern"`
	Check     text  `yaml:"check"`
	Weights   []int `yaml:"weights"`
	MaxLength int   `yaml:"max_length"`
	Shareable bool  `yaml:"shareable"`
}

// authorityDoc names the source that decides a field; none: nobody does any more.
type authorityDoc struct {
	Dataset text `yaml:"dataset"`
	Field   text `yaml:"field"`
	Source  text `yaml:"source"`
}

type codeListDoc struct {
	Name    text      `yaml:"name"`
	Version int       `yaml:"version"`
	Open    bool      `yaml:"open"`
	Codes   []codeDoc `yaml:"codes"`
}

type codeDoc struct {
	Code  text `yaml:"code"`
	Label text `yaml:"label"`
	DCI   text `yaml:"dci"`
	// Deprecated and ReplacedBy retire a code, see annona.Code.
	Deprecated bool `yaml:"deprecated"`
	ReplacedBy text `yaml:"replaced_by"`
}

type attributeDoc struct {
	Dataset         text `yaml:"dataset"`
	Code            text `yaml:"code"`
	Type            text `yaml:"type"`
	Many            bool `yaml:"many"`
	CodeList        text `yaml:"code_list"`
	Scale           int  `yaml:"scale"`
	Unit            text `yaml:"unit"`
	Sensitivity     text `yaml:"sensitivity"`
	AtRest          text `yaml:"at_rest"`
	Filter          text `yaml:"filter"`
	NilReason       bool `yaml:"nil_reason"`
	SourceCode      bool `yaml:"source_code"`
	AssessmentInput bool `yaml:"assessment_input"`
	IRI             text `yaml:"iri"`
	Label           text `yaml:"label"`
	Definition      text `yaml:"definition"`
}

// ParseDictionary reads what a country declares beyond the standard (docs/spec/mapping.md). It
// checks the form; annona.Dictionary.Extend checks that it fits the dictionary.
func ParseDictionary(r io.Reader) (annona.Extension, error) {
	var doc extensionDoc
	if err := decodeYAML(r, "dictionary", &doc); err != nil {
		return annona.Extension{}, err
	}
	if len(doc.CodeLists)+len(doc.Attributes)+len(doc.Authority)+len(doc.IdentifierTypes) == 0 {
		return annona.Extension{}, annona.Invalid("file_empty", "the dictionary declares no attribute, no code list, no authority and no identifier type")
	}
	x := annona.Extension{Country: string(doc.Country)}
	for _, l := range doc.CodeLists {
		x.CodeLists = append(x.CodeLists, l.list())
	}
	for _, a := range doc.Attributes {
		f, err := a.field()
		if err != nil {
			return annona.Extension{}, err
		}
		x.Fields = append(x.Fields, f)
	}
	for _, a := range doc.Authority {
		rule, err := a.rule()
		if err != nil {
			return annona.Extension{}, err
		}
		x.Authorities = append(x.Authorities, rule)
	}
	for _, t := range doc.IdentifierTypes {
		x.IdentifierTypes = append(x.IdentifierTypes, annona.IdentifierType{
			Code: string(t.Code), Pattern: string(t.Pattern), Check: string(t.Check), Weights: t.Weights,
			MaxLength: t.MaxLength, Shareable: t.Shareable,
		})
	}
	return x, nil
}

// nobody is written for the source when nobody decides a field any more.
const nobody = "none"

func (a *authorityDoc) rule() (annona.Authority, error) {
	rule := annona.Authority{Dataset: string(a.Dataset), Field: string(a.Field), Source: string(a.Source)}
	switch {
	case rule.Source == nobody:
		rule.Source = ""
	case !sourceName.MatchString(rule.Source) || len(rule.Source) > 60:
		return rule, annona.Invalid("authority_malformed", "`source` names the source that decides the field as its mapping does; none: nobody decides it any more").On(rule.Field)
	}
	return rule, nil
}

func (l *codeListDoc) list() annona.CodeList {
	list := annona.CodeList{Name: string(l.Name), Version: l.Version, Open: l.Open}
	for _, c := range l.Codes {
		list.Codes = append(list.Codes, annona.Code{Code: string(c.Code), Label: string(c.Label), DCI: string(c.DCI), Deprecated: c.Deprecated, ReplacedBy: string(c.ReplacedBy)})
	}
	return list
}

// field returns the declared attribute. How delicate it is and how it lies at rest is never a
// default: whoever declares it decides.
func (a *attributeDoc) field() (annona.Field, error) {
	if a.Sensitivity == "" || a.AtRest == "" || a.Label == "" {
		return annona.Field{}, annona.Invalid("field_malformed", "an attribute states its sensitivity, at_rest and label").On(string(a.Code))
	}
	switch annona.Type(a.Type) {
	case annona.TypeText, annona.TypeInt, annona.TypeDec, annona.TypeBool, annona.TypeDate, annona.TypeInstant, annona.TypeCode:
	default:
		return annona.Field{}, annona.Invalid("field_malformed", "the type of an attribute is text, int, dec, bool, date, instant or code").On(string(a.Code))
	}
	filter := annona.FilterUse(a.Filter)
	if filter == "" {
		filter = annona.FilterNone
	}
	return annona.Field{
		Dataset: string(a.Dataset), Code: string(a.Code), Type: annona.Type(a.Type), Many: a.Many,
		CodeList: string(a.CodeList), Scale: a.Scale, Unit: string(a.Unit),
		Sensitivity: annona.Sensitivity(a.Sensitivity), AtRest: annona.AtRest(a.AtRest), Filter: filter,
		NilReason: a.NilReason, Crosswalked: a.SourceCode, AssessmentInput: a.AssessmentInput,
		IRI: string(a.IRI), Label: string(a.Label), Definition: string(a.Definition),
	}, nil
}
