package schema

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"

	"github.com/annona-exchange/annona"
)

// Vocabulary is the namespace of the terms that no published vocabulary has.
const Vocabulary = "https://github.com/annona-exchange/annona/terms#"

const xsdSpace = "http://www.w3.org/2001/XMLSchema#"

// JSONLD writes the JSON-LD 1.1 context of a dataset: with it, its JSON documents are RDF. base is
// the IRI under which its records are found, https://registry.example/v1/: an individual is
// {base}individuals/{id}.
func JSONLD(w io.Writer, d *annona.Dictionary, dataset *annona.Dataset, base string) error {
	return writeJSON(w, object{{"@context", contextOf(FullShape(d, dataset), base)}})
}

// Context returns the JSON-LD context of records of a shape: the value of @context.
func Context(shape *annona.Shape, base string) ([]byte, error) {
	var b bytes.Buffer
	err := appendJSON(&b, contextOf(shape, base))
	return bytes.TrimSpace(b.Bytes()), err
}

// contextOf says of each noun which fields it has. Two nouns may have a field of one name that
// means different things, so that each has its terms in a context of its own.
func contextOf(root *annona.Shape, base string) object {
	context := object{{"@version", 1.1}}
	for _, s := range shapes(root) {
		context = append(context, member{s.Dataset.Noun, nounTerm(s, base)})
	}
	return context
}

func nounTerm(s *annona.Shape, base string) object {
	terms := object{}
	named := s.Dataset.Root || s.Dataset.Matter // its records have addresses
	if named {
		terms = append(terms, member{"@base", base + s.Dataset.Name + "/"})
	}
	shared := sharedIRIs(s.Dataset)
	for f := range published(s) {
		if named && f.Code == s.Dataset.Key {
			terms = append(terms, member{f.Code, "@id"})
			continue
		}
		terms = append(terms, member{f.Code, fieldTerm(f, shared, base)})
	}
	return object{{"@id", Vocabulary + pascal(s.Dataset.Noun)}, {"@context", terms}}
}

// fieldTerm says which property a field is and of what type its values are. Whole numbers and
// truth values have their types in JSON already.
func fieldTerm(f *annona.Field, shared map[string]bool, base string) object {
	term := object{{"@id", propertyIRI(f, shared)}}
	switch {
	case f.IsText():
	case f.Type == annona.TypeDate:
		term = term.with("@type", xsdSpace+"date")
	case f.Type == annona.TypeInstant:
		term = term.with("@type", xsdSpace+"dateTime")
	case f.Type == annona.TypeDec:
		term = term.with("@type", xsdSpace+"decimal")
	case f.Type == annona.TypeRef:
		term = term.with("@type", "@id").with("@context", object{{"@base", base + referred(f) + "/"}})
	}
	if f.Many || f.Type == annona.TypeGroup {
		term = term.with("@container", "@set")
	}
	return term
}

// propertyIRI is the IRI that the dictionary gives to a field. Where it gives one to several fields
// of a noun, whose values would become indistinguishable, and where it gives none, the field is a
// term of our own. A column of a specification that shows a field in another way, or beside another one
// that shows it too, is none of the field's; and two rules of one name are two properties.
func propertyIRI(f *annona.Field, shared map[string]bool) string {
	shown := f.Shows()
	switch {
	case f.Rule != nil:
		rule := sha256.Sum256([]byte(f.Definition))
		return Vocabulary + f.Dataset + ".derived." + f.Code + "." + hex.EncodeToString(rule[:4])
	case f != shown && (f.Type != shown.Type || f.CodeList != shown.CodeList || shared[shownTwice+shown.Code]):
		return Vocabulary + f.Dataset + "." + shown.Code + ".as." + f.Code
	case f.IRI != "" && !shared[f.IRI]:
		return f.IRI
	}
	return Vocabulary + f.Dataset + "." + shown.Code
}

// shownTwice marks the code of a field that several columns show.
const shownTwice = "twice "

// sharedIRIs are those that several fields of a dataset have, and the fields that several columns show.
func sharedIRIs(d *annona.Dataset) map[string]bool {
	seen, shared := map[string]bool{}, map[string]bool{}
	count := func(key string) {
		shared[key] = seen[key]
		seen[key] = true
	}
	for f := range d.Columns() {
		if f.IRI != "" {
			count(f.IRI)
		}
		if f.Rule == nil {
			count(shownTwice + f.Shows().Code)
		}
	}
	return shared
}

// referred is the dataset of the records that a reference points at: household_id at households.
func referred(f *annona.Field) string {
	code := f.Shows().Code
	for _, of := range []struct{ id, dataset string }{{"household_id", "households"}, {"enrollment_id", "enrollments"}, {"case_id", "cases"}} {
		if strings.HasSuffix(code, of.id) {
			return of.dataset
		}
	}
	return "individuals"
}

// pascal writes a noun as classes are written: DisabilityCertificate.
func pascal(noun string) string {
	name := ""
	for word := range strings.SplitSeq(noun, "_") {
		name += strings.ToUpper(word[:1]) + word[1:]
	}
	return name
}
