package encode

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Turtle and N-Triples say what the JSON-LD of the same answer says: its objects, walked under its own
// context. So there is one place that knows which property a field is, and no form can say something else.
//
// The walk knows as much of JSON-LD 1.1 as contexts of package schema use: a term for each noun, the
// context of that noun, ids under a base, typed values and sets.

// The vocabularies that Turtle abbreviates.
var prefixes = []struct{ name, iri string }{
	{"an", "https://github.com/annona-exchange/annona/terms#"},
	{"prov", "http://www.w3.org/ns/prov#"},
	{"ps", "https://publicschema.org/"},
	{"sp", "https://publicschema.org/sp/"},
	{"xsd", xsdSpace},
}

const (
	xsdSpace = "http://www.w3.org/2001/XMLSchema#"
	rdfType  = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
)

// noun is what a context says of the objects of one type.
type noun struct {
	class, base string
	terms       map[string]term
}

// term is what a context says of a member.
type term struct {
	own      bool   // it is the id of the object
	property string // IRI
	datatype string // IRI; "@id": the value is an id; empty: as JSON has it
	base     string // of ids
}

// nouns reads the value of @context.
func nouns(context []byte) (map[string]noun, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(context, &members); err != nil {
		return nil, misuse("the context is an object")
	}
	found := map[string]noun{}
	for name, raw := range members {
		if strings.HasPrefix(name, "@") {
			continue
		}
		var of struct {
			ID      string                     `json:"@id"`
			Context map[string]json.RawMessage `json:"@context"`
		}
		if err := json.Unmarshal(raw, &of); err != nil {
			return nil, misuse("the context of a noun is an object")
		}
		n := noun{class: of.ID, terms: map[string]term{}}
		for code, raw := range of.Context {
			if err := n.define(code, raw); err != nil {
				return nil, err
			}
		}
		found[name] = n
	}
	return found, nil
}

func (n *noun) define(code string, raw json.RawMessage) error {
	if code == "@base" {
		return json.Unmarshal(raw, &n.base)
	}
	if bytes.Equal(raw, []byte(`"@id"`)) {
		n.terms[code] = term{own: true}
		return nil
	}
	var of struct {
		ID      string `json:"@id"`
		Type    string `json:"@type"`
		Context struct {
			Base string `json:"@base"`
		} `json:"@context"`
	}
	if err := json.Unmarshal(raw, &of); err != nil {
		return misuse("a term is the id of its object, or an object")
	}
	n.terms[code] = term{property: of.ID, datatype: of.Type, base: of.Context.Base}
	return nil
}

// graph writes statements as it walks through objects.
type graph struct {
	nouns  map[string]noun
	turtle bool
	out    *buffer
	blanks int
}

// writeGraph writes objects of JSON-LD, one behind the other, as Turtle or N-Triples.
func writeGraph(w io.Writer, context, objects []byte, f Format) error {
	g := &graph{turtle: f == Turtle, out: &buffer{w: w}}
	var err error
	if g.nouns, err = nouns(context); err != nil {
		return err
	}
	if g.turtle {
		for _, p := range prefixes {
			g.out.b = append(append(append(append(append(g.out.b, "@prefix "...), p.name...), ": <"...), p.iri...), "> .\n"...)
		}
	}
	in := json.NewDecoder(bytes.NewReader(objects))
	in.UseNumber()
	for in.More() {
		value, err := readValue(in)
		if err != nil {
			return misuse("what is said in triples is JSON")
		}
		of, ok := value.(ordered)
		if !ok {
			return misuse("what is said in triples is an object")
		}
		if err := g.describe(g.subject(of), of); err != nil {
			return err
		}
		if err := g.out.flush(); err != nil {
			return err
		}
	}
	return g.out.flush()
}

// ordered is a JSON object whose members keep their order.
type ordered []orderedMember

type orderedMember struct {
	name  string
	value any // text, number, truth value, ordered or a list of these; nil
}

func (o ordered) noun() string {
	for _, m := range o {
		if m.name == "@type" {
			name, _ := m.value.(string)
			return name
		}
	}
	return ""
}

func readValue(in *json.Decoder) (any, error) {
	token, err := in.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		of := ordered{}
		for in.More() {
			name, err := in.Token()
			if err != nil {
				return nil, err
			}
			value, err := readValue(in)
			if err != nil {
				return nil, err
			}
			of = append(of, orderedMember{name.(string), value})
		}
		_, err = in.Token()
		return of, err
	case json.Delim('['):
		list := []any{}
		for in.More() {
			value, err := readValue(in)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err = in.Token()
		return list, err
	}
	return token, nil
}

// subject is what statements about an object begin with: its id, or a label of its own.
func (g *graph) subject(of ordered) string {
	n := g.nouns[of.noun()]
	for _, m := range of {
		if id, isText := m.value.(string); isText && n.terms[m.name].own {
			return g.iri(n.base + escapeID(id))
		}
	}
	g.blanks++
	return "_:b" + strconv.Itoa(g.blanks)
}

// describe writes the statements about an object, and behind them those about the objects in it.
func (g *graph) describe(subject string, of ordered) error {
	n, known := g.nouns[of.noun()]
	if !known {
		return misuse("each object has a type that the context knows")
	}
	g.say(subject, rdfType, g.iri(n.class), true)
	type part struct {
		subject string
		of      ordered
	}
	var parts []part
	for _, m := range of {
		t, known := n.terms[m.name]
		if m.name == "@type" || t.own || m.value == nil {
			continue
		}
		if !known {
			return misuse("each member has a term in the context")
		}
		values, several := m.value.([]any)
		if !several {
			values = []any{m.value}
		}
		for _, value := range values {
			if inner, nested := value.(ordered); nested {
				parts = append(parts, part{g.subject(inner), inner})
				g.say(subject, t.property, parts[len(parts)-1].subject, false)
				continue
			}
			object, err := g.object(t, value)
			if err != nil {
				return err
			}
			g.say(subject, t.property, object, false)
		}
	}
	if g.turtle {
		g.out.b = append(g.out.b, " .\n"...)
	}
	for _, p := range parts {
		if err := g.describe(p.subject, p.of); err != nil {
			return err
		}
	}
	return nil
}

// say writes one statement. Turtle goes on with the subject of the one before.
func (g *graph) say(subject, property, object string, first bool) {
	b := g.out.b
	switch {
	case !g.turtle:
		b = append(append(b, subject...), ' ')
	case first:
		b = append(append(b, subject...), ' ')
	default:
		b = append(b, " ;\n  "...)
	}
	if g.turtle && property == rdfType {
		b = append(b, 'a')
	} else {
		b = append(b, g.iri(property)...)
	}
	b = append(append(b, ' '), object...)
	if !g.turtle {
		b = append(b, " .\n"...)
	}
	g.out.b = b
}

// object is a value as RDF writes it.
func (g *graph) object(t term, value any) (string, error) {
	switch value := value.(type) {
	case string:
		switch t.datatype {
		case "@id":
			if t.base == "" { // an address by itself
				return g.iri(value), nil
			}
			return g.iri(t.base + escapeID(value)), nil
		case "":
			return literal(value), nil
		}
		return literal(value) + "^^" + g.iri(t.datatype), nil
	case json.Number:
		if _, err := strconv.ParseInt(value.String(), 10, 64); err != nil {
			return "", misuse("numbers of JSON are whole; others are text")
		}
		return literal(value.String()) + "^^" + g.iri(xsdSpace+"integer"), nil
	case bool:
		return literal(strconv.FormatBool(value)) + "^^" + g.iri(xsdSpace+"boolean"), nil
	}
	return "", misuse("a value is text, a number, a truth value or an object")
}

// iri writes an IRI, in Turtle by its prefix when the rest is a plain name.
func (g *graph) iri(iri string) string {
	if g.turtle {
		for _, p := range prefixes {
			if local, ok := strings.CutPrefix(iri, p.iri); ok && isLocalName(local) {
				return p.name + ":" + local
			}
		}
	}
	return "<" + escapeIRI(iri) + ">"
}

// isLocalName reports whether a name needs no escapes in Turtle.
func isLocalName(name string) bool {
	for i := range len(name) {
		switch b := name[i]; {
		case b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_':
		case b >= '0' && b <= '9' && i > 0:
		case (b == '.' || b == '-') && i > 0 && i < len(name)-1:
		default:
			return false
		}
	}
	return name != ""
}

// escapeIRI replaces what no IRI has (RFC 3987) by its percent-encoding.
func escapeIRI(iri string) string {
	return escaped(iri, func(b byte) bool { return b <= ' ' || b >= 0x7F || strings.IndexByte("<>\"{}|\\^`", b) >= 0 })
}

// escapeID makes of an id one segment of a path: ids of the exchange stand for themselves.
func escapeID(id string) string {
	return escaped(id, func(b byte) bool {
		return !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '_' || b == '.' || b == '~')
	})
}

func escaped(text string, replace func(byte) bool) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; replace(c) {
			b.WriteString("%" + string([]byte{upperHex[c>>4], upperHex[c&15]}))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

const upperHex = "0123456789ABCDEF"

// literal writes text as a string of N-Triples, which is one of Turtle too. What is no character of
// Unicode becomes the one that stands for it.
func literal(text string) string {
	b := []byte{'"'}
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, '\\', 'n')
		case r == '\r':
			b = append(b, '\\', 'r')
		case r == '\t':
			b = append(b, '\\', 't')
		case r < ' ' || r == 0x7F:
			b = append(b, '\\', 'u', upperHex[r>>12&15], upperHex[r>>8&15], upperHex[r>>4&15], upperHex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return string(append(b, '"'))
}
