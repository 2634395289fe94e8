package synthetic

import (
	"io"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// chunk is about how much is written at a time.
const chunk = 64 << 10

// WriteNDJSON writes the country as a source would hand it over: one JSON object per line for
// each household, its people nested in members. examples/synthetic/mapping.yaml reads it.
//
// Fields have the names of the dictionary. Where a value is missing, its reason stands in its
// place; a date of birth that is not known to the day is shorter (1970, 1970-11), or the age
// stands instead. What an import finds out by itself is left out: quality flags and the
// precision of dates of birth.
func (r *Registry) WriteNDJSON(w io.Writer) error {
	out := make([]byte, 0, 2*chunk)
	for h := range r.Households() {
		out = appendHousehold(out, &h)
		if len(out) < chunk {
			continue
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
		out = out[:0]
	}
	_, err := w.Write(out)
	return err
}

func appendHousehold(dst []byte, h *Household) []byte {
	dst = append(dst, '{')
	dst = appendMember(dst, "household_id", h.Record.Key)
	dst = appendRecord(dst, &h.Record)
	dst = append(dst, `,"members":[`...)
	for i := range h.Members {
		dst = appendIndividual(appendComma(dst, i), &h.Members[i])
	}
	return append(dst, "]}\n"...)
}

func appendIndividual(dst []byte, r *annona.Record) []byte {
	dst = append(dst, '{')
	dst = appendMember(dst, "individual_id", r.Key)
	for _, m := range r.Memberships {
		dst = appendMember(dst, "role", m.Role)
		dst = appendMember(dst, "relationship_to_head", m.RelationshipToHead)
		dst = appendMember(dst, "recipient_type", m.RecipientType)
		dst = appendMember(dst, "member_since", string(m.StartDate))
		dst = appendMember(dst, "member_until", string(m.EndDate))
	}
	dst = appendRecord(dst, r)
	if len(r.Relationships) > 0 {
		dst = append(dst, `,"relationships":[`...)
		for i, to := range r.Relationships {
			dst = appendRelationship(appendComma(dst, i), to)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func appendRelationship(dst []byte, r annona.Relationship) []byte {
	dst = append(dst, '{')
	dst = appendMember(dst, "to", r.ToKey)
	dst = appendMember(dst, "type", r.Type)
	dst = appendMember(dst, "start_date", string(r.StartDate))
	dst = appendMember(dst, "end_date", string(r.EndDate))
	dst = appendMember(dst, "end_reason", r.EndReason)
	return append(dst, '}')
}

// appendRecord appends the values and groups of a record to an object that has begun.
func appendRecord(dst []byte, r *annona.Record) []byte {
	precision := ""
	for i := range r.Values {
		if r.Values[i].Field.Code == "date_of_birth_precision" {
			precision = r.Values[i].Text
		}
	}
	for i := range r.Values {
		dst = appendReported(dst, r.Values[i], precision)
	}
	for i := range r.Groups {
		if r.Groups[i].Field.Code != "quality_flags" {
			dst = appendGroup(dst, &r.Groups[i])
		}
	}
	return dst
}

// appendReported appends a value as a source would report it.
func appendReported(dst []byte, v annona.Value, precision string) []byte {
	f := v.Field
	switch {
	case f.Aspect == annona.AspectNilReason:
		return appendMember(dst, f.Base.Code, v.Text)
	case f.Aspect != annona.AspectValue || f.Code == "date_of_birth_precision":
		return dst
	case f.Code == "date_of_birth":
		return appendMember(dst, f.Code, known(v.Text, precision))
	case f.Code == "date_of_birth_as_recorded" && precision == "age_stated":
		return appendValue(appendMember(dst, "age", v.Text), v)
	default:
		return appendValue(dst, v)
	}
}

// known is the part of a date that was known.
func known(date, precision string) string {
	switch precision {
	case "month":
		return date[:len("2006-01")]
	case "year":
		return date[:len("2006")]
	case "age_stated":
		return ""
	default:
		return date
	}
}

func appendGroup(dst []byte, g *annona.GroupItems) []byte {
	dst = appendName(dst, g.Field.Code)
	dst = append(dst, '[')
	for i, item := range g.Items {
		dst = append(appendComma(dst, i), '{')
		for _, v := range item {
			dst = appendValue(dst, v)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendComma(dst []byte, i int) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return dst
}

// appendValue appends a member in the JSON type of its field.
func appendValue(dst []byte, v annona.Value) []byte {
	switch {
	case v.Field.Many:
		return appendList(appendName(dst, v.Field.Code), v.Text)
	case v.Field.Type.IsNumeric():
		return append(appendName(dst, v.Field.Code), v.Text...)
	default:
		return appendMember(dst, v.Field.Code, v.Text)
	}
}

// appendList appends the values of a field with many values.
func appendList(dst []byte, text string) []byte {
	dst = append(dst, '[')
	from := 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && text[i] != annona.ListSeparator {
			continue
		}
		if from > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, text[from:i])
		from = i + 1
	}
	return append(dst, ']')
}

// appendMember appends a name and a text; nothing when the text is empty.
func appendMember(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	return appendString(appendName(dst, name), text)
}

// appendName appends a name, which needs no escapes, after a comma unless it is the first.
func appendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	return append(dst, `":`...)
}

// appendString appends a JSON string (RFC 8259). The text is UTF-8 and has no control characters
// but tabs and line ends.
func appendString(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c >= utf8.RuneSelf || c >= ' ' && c != '"' && c != '\\':
			dst = append(dst, c)
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c == '\n':
			dst = append(dst, `\n`...)
		default:
			dst = append(dst, `\r`...)
		}
	}
	return append(dst, '"')
}
