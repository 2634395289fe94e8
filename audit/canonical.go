package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// canonicalJSON writes v as the one JSON text that the ledger allows for it: names sorted by
// their bytes, no white space, whole numbers only, and no escape but those that JSON demands.
// The types of this package always encode; anything else is a fault of the program and must
// not become an empty entry.
func canonicalJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("audit: %T does not encode", v))
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		panic(fmt.Sprintf("audit: %T does not encode", v))
	}
	return appendJSON(make([]byte, 0, len(text)), tree)
}

func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		b = append(b, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			b = appendComma(b, i)
			b = append(appendQuoted(b, name), ':')
			b = appendJSON(b, v[name])
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, item := range v {
			b = appendJSON(appendComma(b, i), item)
		}
		return append(b, ']')
	case string:
		return appendQuoted(b, v)
	default: // json.Number of a whole number, true, false
		return fmt.Append(b, v)
	}
}

func appendComma(b []byte, i int) []byte {
	if i == 0 {
		return b
	}
	return append(b, ',')
}

// shortEscapes are the control characters that have an escape of two characters.
const shortEscapes = "\b\t\n\f\r"

func appendQuoted(b []byte, text string) []byte {
	b = append(b, '"')
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case strings.IndexByte(shortEscapes, c) >= 0:
			b = append(b, '\\', "btnfr"[strings.IndexByte(shortEscapes, c)])
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return append(b, '"')
}

// decodeCanonical reads what canonicalJSON wrote. Another spelling of the same content is
// refused, and so is a name that this version does not know.
func decodeCanonical(b []byte, into any) error {
	if err := json.Unmarshal(b, into); err != nil || !bytes.Equal(canonicalJSON(into), b) {
		return annona.Invalid("part_malformed", "the part is not in canonical form; a newer version wrote it")
	}
	return nil
}

// storedFacts is how facts stand in the ledger: their fields by the hash of the list.
type storedFacts struct {
	Facts
	List string `json:"fields,omitempty"` // hexadecimal
}

// encodeFacts writes what canonicalJSON would, without the detour: there is one for every page.
func encodeFacts(f Facts, list hash) []byte {
	o := object(make([]byte, 0, 512))
	o.text("agreement", f.Agreement)
	o.number("agreement_version", int64(f.AgreementVersion))
	o.text("as_of", string(f.AsOf))
	o.text("dataset", f.Dataset)
	if len(f.Details) > 0 {
		o.name("details")
		o = append(appendDetails(append(o, '{'), f.Details), '}')
	}
	o.text("fields", list.String())
	o.text("format", f.Format)
	o.text("inputs", f.Inputs)
	o.text("layout", f.Layout)
	o.text("legal_basis", string(f.Basis))
	o.text("outcome", string(f.Outcome))
	o.number("page", int64(f.Page))
	o.number("pages", int64(f.Pages))
	o.text("partner", f.Partner)
	o.number("policy_version", int64(f.PolicyVersion))
	o.text("purpose", f.Purpose)
	o.text("raised", f.Raised)
	o.text("reason", f.Reason)
	o.text("role", f.Role)
	o.number("rows", f.Rows)
	o.texts("rules", f.Rules)
	o.number("schema_version", int64(f.SchemaVersion))
	o.text("specification", f.Specification)
	o.text("verb", string(f.Verb))
	o.texts("withheld", f.Withheld)
	return o.end()
}

func decodeFacts(b []byte) (*Facts, hash, error) {
	var stored storedFacts
	if err := decodeCanonical(b, &stored); err != nil {
		return nil, hash{}, err
	}
	list, err := parseHash(stored.List)
	return &stored.Facts, list, err
}

// object is a JSON object that is being written; its members come in order of their names.
// What is empty is left out.
type object []byte

func (o *object) name(name string) {
	if len(*o) > 0 {
		*o = append(*o, ',')
	}
	*o = append(appendQuoted(*o, name), ':')
}

func (o *object) text(name, text string) {
	if text != "" {
		o.name(name)
		*o = appendQuoted(*o, text)
	}
}

func (o *object) number(name string, n int64) {
	if n != 0 {
		o.name(name)
		*o = strconv.AppendInt(*o, n, 10)
	}
}

func (o *object) texts(name string, texts []string) {
	if len(texts) > 0 {
		o.name(name)
		*o = append(appendTexts(append(*o, '['), texts), ']')
	}
}

func (o object) end() []byte { return slices.Concat([]byte{'{'}, o, []byte{'}'}) }

func appendDetails(b []byte, details map[string]string) []byte {
	for i, name := range slices.Sorted(maps.Keys(details)) {
		b = append(appendQuoted(appendComma(b, i), name), ':')
		b = appendQuoted(b, details[name])
	}
	return b
}

func appendTexts(b []byte, texts []string) []byte {
	for i, text := range texts {
		b = appendQuoted(appendComma(b, i), text)
	}
	return b
}

// callerDetails is how a caller stands in the ledger.
type callerDetails struct {
	Client    string `json:"client,omitempty"`
	Agreement string `json:"agreement,omitempty"`
	Strength  string `json:"strength"`
	Network   string `json:"network,omitempty"`
	Operator  string `json:"operator,omitempty"`
	Person    string `json:"person,omitempty"`
	Assurance string `json:"assurance,omitempty"`
	SignedIn  string `json:"signed_in_at,omitempty"`
}

func encodeCaller(c annona.Caller) []byte {
	o := object(make([]byte, 0, 192))
	o.text("agreement", c.Agreement)
	o.text("assurance", c.Acting.Assurance.String())
	if c.Client != (annona.UID{}) {
		o.text("client", c.Client.String())
	}
	if c.Network.IsValid() {
		o.text("network", c.Network.String())
	}
	o.text("operator", c.Operator)
	if c.Acting.Person != (annona.UID{}) {
		o.text("person", c.Acting.Person.String())
		o.text("signed_in_at", annona.Instant(c.Acting.At))
	}
	o.text("strength", c.Strength.String())
	return o.end()
}

func decodeCaller(b []byte) (*annona.Caller, error) {
	var d callerDetails
	if err := decodeCanonical(b, &d); err != nil {
		return nil, err
	}
	c := annona.Caller{Agreement: d.Agreement, Operator: d.Operator}
	var err error
	if c.Strength, err = parseStrength(d.Strength); err != nil {
		return nil, err
	}
	if d.Client != "" {
		if c.Client, err = annona.ParseUID(d.Client); err != nil {
			return nil, err
		}
	}
	if d.Network != "" {
		if c.Network, err = netip.ParseAddr(d.Network); err != nil {
			return nil, annona.Invalid("part_malformed", "the network of the caller is no address")
		}
	}
	if c.Acting, err = d.acting(); err != nil {
		return nil, err
	}
	return &c, nil
}

// acting reads the person for whom a client acted.
func (d callerDetails) acting() (who annona.SignedIn, err error) {
	if d.Person == "" {
		return who, nil
	}
	if who.Person, err = annona.ParseUID(d.Person); err != nil {
		return who, err
	}
	if who.At, err = time.Parse(annona.InstantLayout, d.SignedIn); err != nil {
		return who, annona.Invalid("part_malformed", "the moment at which the person signed in is none")
	}
	known := false
	if who.Assurance, known = annona.ParseAssurance(d.Assurance); !known {
		return who, annona.Invalid("part_malformed", "the way in which the person signed in is unknown to this version")
	}
	return who, nil
}

func parseStrength(word string) (annona.Strength, error) {
	for s := annona.StrengthNone; s <= annona.StrengthOperator; s++ {
		if s.String() == word {
			return s, nil
		}
	}
	return 0, annona.Invalid("part_malformed", "the strength of the credential is unknown to this version")
}
