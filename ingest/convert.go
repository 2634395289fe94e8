package ingest

import (
	"strings"

	"github.com/annona-exchange/annona"
)

// Quality flags that an import raises (code list quality_flag).
const (
	flagCodeUnmapped        = "code_unmapped"
	flagCodeDeprecated      = "code_deprecated"
	flagValueMalformed      = "value_malformed"
	flagAreaUnknown         = "area_unknown"
	flagBirthEstimated      = "date_of_birth_estimated"
	flagIDFormatInvalid     = "id_format_invalid"
	flagHouseholdUnreported = "household_unreported"
)

// outcome is what became of one cell.
type outcome struct {
	value    string   // canonical text; empty: absent
	source   string   // the code as received, of fields that keep it
	reason   string   // why the value is absent
	flag     string   // doubt about it
	unmapped []string // the codes that have no mapping
	// of a date of birth:
	precision string
	recorded  string
	calendar  string // that it is recorded in, where the mapping says so
	// of any date:
	fault string // why it was not taken
}

const listSeparator = string(rune(annona.ListSeparator))

// convert turns the text of a cell into the canonical text of the field. It depends on nothing
// but the text, so that its outcome may be kept.
func (r *rule) convert(text string) outcome {
	word := strings.TrimSpace(text)
	if word == "" {
		return outcome{}
	}
	if reason, ok := r.absent[word]; ok {
		return outcome{source: r.kept(text), reason: reason}
	}
	if r.field.Many {
		return r.convertList(text)
	}
	return r.convertOne(text, word)
}

// kept returns the text when the field keeps the source's code.
func (r *rule) kept(text string) string {
	if r.source == nil {
		return ""
	}
	return text
}

func (r *rule) convertOne(text, word string) outcome {
	switch r.field.Type {
	case annona.TypeCode:
		return r.convertCode(text, word)
	case annona.TypeBool:
		if r.codes != nil {
			return r.convertCode(text, word)
		}
	case annona.TypeDate:
		return r.convertDate(text)
	case annona.TypeInt, annona.TypeDec:
		word = annona.PlainDigits(word)
		if r.decimal != '.' {
			word = strings.Replace(word, string(r.decimal), ".", 1)
		}
	case annona.TypeText:
		word = text
	}
	value, err := r.field.Canonical(word)
	if err != nil {
		return outcome{source: r.kept(text), flag: flagValueMalformed}
	}
	return outcome{value: value, source: r.kept(text)}
}

func (r *rule) convertCode(text, word string) outcome {
	if r.codes == nil && r.accepts(word) {
		today := r.today(word)
		if today.value != word {
			today.source = r.kept(text)
		}
		return today // otherwise the source writes our codes: there is nothing more to keep
	}
	code, ok := r.codes[word]
	if !ok {
		return outcome{source: r.kept(text), flag: flagCodeUnmapped, unmapped: []string{word}}
	}
	today := r.today(code)
	today.source = r.kept(text)
	return today
}

// today is what becomes of a code of the field's list: one that was replaced becomes the one that is
// written today, one that is deprecated stays. Both are flagged, and so counted.
func (r *rule) today(code string) outcome {
	if r.list == nil {
		return outcome{value: code}
	}
	today, retired := r.list.Today(code)
	if today == code && !retired {
		return outcome{value: code}
	}
	return outcome{value: today, flag: flagCodeDeprecated}
}

func (r *rule) convertDate(text string) outcome {
	read := r.dates.read(text)
	o := outcome{value: string(read.date), precision: read.precision, fault: read.fault}
	switch {
	case read.fault != "":
		o.flag = flagValueMalformed
	case read.precision != precisionDay:
		o.flag = flagBirthEstimated
	}
	if r.birth != nil && !r.dates.says(text, o) {
		o.recorded = text
		if r.dates.stated && r.dates.calendar != nil {
			o.calendar = r.dates.calendar.Code()
		}
	}
	return o
}

// convertList reads a list. Its items stand between the rule's separator, and between
// semicolons in any case: no item of a list can hold one.
func (r *rule) convertList(text string) outcome {
	if r.separator != "" {
		text = strings.ReplaceAll(text, r.separator, listSeparator)
	}
	text = strings.ReplaceAll(text, string(rune(annona.ListMark)), listSeparator)
	var values, sources []string
	var out outcome
	for item := range strings.SplitSeq(text, listSeparator) {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		if reason, ok := r.absent[item]; ok {
			out.reason = reason
			continue
		}
		one := r.convertOne(item, item)
		if one.value != "" {
			values = append(values, one.value)
		}
		if one.source != "" {
			sources = append(sources, one.source)
		}
		if one.flag != "" {
			out.flag = one.flag
			out.unmapped = append(out.unmapped, one.unmapped...)
		}
	}
	out.value, out.source = strings.Join(values, listSeparator), strings.Join(sources, listSeparator)
	if out.value != "" {
		out.reason = ""
	}
	return out
}
