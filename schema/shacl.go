package schema

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// The dictionary as RDF: the terms that no published vocabulary has, and shapes that records of a dataset
// conform to (SHACL, W3C Recommendation of 2017-07-20), both in Turtle.

// SHACL writes the shapes of the records of a dataset and of what is nested in them. They are those of
// values as they are: what an agreement shows in part only is absent, what it bands or masks conforms to
// none of them.
func SHACL(w io.Writer, d *annona.Dictionary, dataset *annona.Dataset) error {
	t := turtle{}
	t.line("@prefix sh: <http://www.w3.org/ns/shacl#> .")
	t.line("@prefix xsd: <" + xsdSpace + "> .")
	for _, s := range shapes(FullShape(d, dataset)) {
		class := Vocabulary + pascal(s.Dataset.Noun)
		t.line("", "<"+class+"Shape> a sh:NodeShape ;", "  sh:targetClass <"+class+"> ;")
		shared := sharedIRIs(s.Dataset)
		for path, fields := range byProperty(s, shared) {
			t.property(d, path, fields)
		}
		t.line("  sh:nodeKind sh:BlankNodeOrIRI .")
	}
	return t.to(w)
}

// byProperty yields the properties of a noun, each with the fields that it is, in the order of the
// dictionary. The id is none.
func byProperty(s *annona.Shape, shared map[string]bool) func(yield func(string, []*annona.Field) bool) {
	return func(yield func(string, []*annona.Field) bool) {
		var order []string
		fields := map[string][]*annona.Field{}
		for f := range published(s) {
			if (s.Dataset.Root || s.Dataset.Matter) && f.Code == s.Dataset.Key {
				continue
			}
			path := propertyIRI(f, shared)
			if fields[path] == nil {
				order = append(order, path)
			}
			fields[path] = append(fields[path], f)
		}
		for _, path := range order {
			if !yield(path, fields[path]) {
				return
			}
		}
	}
}

// property writes what holds of the values of a property.
func (t *turtle) property(d *annona.Dictionary, path string, fields []*annona.Field) {
	f := fields[0]
	parts := []string{"sh:path <" + path + ">", "sh:name " + quoted(f.Label)}
	switch {
	case f.Type == annona.TypeGroup:
		rows, _ := d.Dataset(f.Group)
		parts = append(parts, "sh:class <"+Vocabulary+pascal(rows.Noun)+">")
	case f.Type == annona.TypeRef:
		parts = append(parts, "sh:nodeKind sh:IRI")
	default:
		parts = append(parts, "sh:datatype "+datatypeOf(f))
	}
	if !f.Many && f.Type != annona.TypeGroup && len(fields) == 1 {
		parts = append(parts, "sh:maxCount 1")
	}
	if list := closedList(d, f); list != nil && f.Aspect == annona.AspectValue {
		codes := make([]string, len(list.Codes))
		for n, c := range list.Codes {
			codes[n] = quoted(c.Code)
		}
		parts = append(parts, "sh:in ( "+strings.Join(codes, " ")+" )")
	}
	t.line("  sh:property [ " + strings.Join(parts, " ; ") + " ] ;")
}

func datatypeOf(f *annona.Field) string {
	switch {
	case f.IsText():
		return "xsd:string"
	case f.Type == annona.TypeDate:
		return "xsd:date"
	case f.Type == annona.TypeInstant:
		return "xsd:dateTime"
	case f.Type == annona.TypeDec:
		return "xsd:decimal"
	case f.Type == annona.TypeInt:
		return "xsd:integer"
	case f.Type == annona.TypeBool:
		return "xsd:boolean"
	}
	return "xsd:string"
}

// Terms writes the terms of our own: each noun as a class, each field that has no IRI of a published
// vocabulary as a property.
func Terms(w io.Writer, d *annona.Dictionary) error {
	t := turtle{}
	t.line("@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .", "@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .")
	written := map[string]bool{}
	property := func(iri, label, comment, class string) {
		if !strings.HasPrefix(iri, Vocabulary) || written[iri] {
			return
		}
		written[iri] = true
		t.line("", "<"+iri+"> a rdf:Property ;", "  rdfs:label "+quoted(label)+"@en ;")
		if comment != "" {
			t.line("  rdfs:comment " + quoted(comment) + "@en ;")
		}
		t.line("  rdfs:domain <" + class + "> .")
	}
	for dataset := range d.Datasets() {
		class := Vocabulary + pascal(dataset.Noun)
		t.line("", "<"+class+"> a rdfs:Class ;", "  rdfs:label "+quoted(strings.ReplaceAll(dataset.Noun, "_", " "))+"@en .")
		shared := sharedIRIs(dataset)
		for f := range dataset.Columns() {
			if !((dataset.Root || dataset.Matter) && f.Code == dataset.Key) {
				property(propertyIRI(f, shared), f.Label, f.Definition, class)
			}
		}
	}
	for _, n := range slices.Concat(beneficiaryNouns, updateNouns) {
		if n.class == "" {
			t.line("", "<"+n.classIRI()+"> a rdfs:Class ;", "  rdfs:label "+quoted(strings.ReplaceAll(n.noun, "_", " "))+"@en .")
		}
		for _, of := range n.terms {
			property(of.property(n.noun), strings.ReplaceAll(of.code, "_", " "), "", n.classIRI())
		}
	}
	return t.to(w)
}

// turtle is a document on its way.
type turtle struct{ text bytes.Buffer }

func (t *turtle) line(lines ...string) {
	for _, line := range lines {
		t.text.WriteString(line)
		t.text.WriteByte('\n')
	}
}

func (t *turtle) to(w io.Writer) error {
	_, err := w.Write(t.text.Bytes())
	return err
}

// quoted writes text as a literal: the escapes of JSON are those of Turtle.
func quoted(text string) string {
	b, _ := json.Marshal(text) // of text it does not fail
	return string(b)
}
