package ingest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Report counts what was read.
type Report struct {
	Rows        int                       `json:"rows"` // input rows, refused ones included
	Individuals int                       `json:"individuals"`
	Households  int                       `json:"households"` // records of households; one that changes from row to row counts each time
	Rejected    int                       `json:"rejected"`
	Refused     map[string]int            `json:"refused,omitempty"`  // rejected rows by reason
	RefusedRows []RefusedRow              `json:"-"`                  // the first of them, at most maxRefusedRows
	Repeated    int                       `json:"repeated,omitempty"` // households whose key stood on an earlier row of a file of households
	Flags       map[string]int            `json:"flags,omitempty"`    // by code:field
	Dates       map[string]int            `json:"dates,omitempty"`    // dates that were not taken, by why:field
	Unmapped    map[string][]UnmappedCode `json:"unmapped,omitempty"` // by field, most frequent first
	Empty       map[string][]string       `json:"empty,omitempty"`    // by input, the columns that no row fills
	Unused      map[string][]string       `json:"unused,omitempty"`   // by input, the columns of CSV files that the mapping does not name
}

// RefusedRow says where a row stood that was refused, and why: nothing of what stood in it.
type RefusedRow struct {
	Input  string `json:"input"` // its name in the mapping
	Line   int    `json:"line"`  // of the file, from 1
	Column string `json:"column,omitempty"`
	Reason string `json:"reason"`
}

// maxRefusedRows is how many refused rows a report names.
const maxRefusedRows = 1000

// UnmappedCode is a code of the source that the mapping does not have.
type UnmappedCode struct {
	Code  string `json:"code"`
	Count int    `json:"count"`
}

// The report names at most so many unmapped codes of a field, and none that is longer: those
// are texts of people, not codes.
const (
	maxUnmapped     = 50
	maxUnmappedCode = 60
)

func (b *builder) doubt(r *rule, o *outcome) {
	if o.flag != "" {
		b.raise(o.flag, r.name)
	}
	if o.fault != "" {
		b.unsure = true
		b.faults[flag{o.fault, r.name}]++
	}
	for _, code := range o.unmapped {
		b.count(r.name, code)
	}
}

// count counts a code that the mapping does not have. Of each field so many different ones
// are counted that the most frequent of a real code list are among them.
func (b *builder) count(field, code string) {
	b.unsure = true
	if len(code) > maxUnmappedCode {
		return
	}
	codes := b.unmapped[field]
	if codes == nil {
		codes = map[string]int{}
		b.unmapped[field] = codes
	}
	if _, ok := codes[code]; ok || len(codes) < 10*maxUnmapped {
		codes[strings.Clone(code)]++
	}
}

// unused notes which columns of a file the mapping does not name.
func (b *builder) unused(in *input, header []string) {
	for _, column := range header {
		if !slices.Contains(in.root.columns, column) && !slices.Contains(b.report.Unused[in.name], column) {
			b.report.Unused[in.name] = append(b.report.Unused[in.name], column)
		}
	}
}

// result completes the report.
func (b *builder) result() Report {
	r := b.report
	r.Flags, r.Unmapped = map[string]int{}, map[string][]UnmappedCode{}
	for f, n := range b.flagged {
		r.Flags[strings.TrimSuffix(f.code+":"+f.field, ":")] = n
	}
	r.Empty = maps.Clone(r.Empty)
	maps.DeleteFunc(r.Empty, func(_ string, columns []string) bool { return len(columns) == 0 })
	if len(b.faults) > 0 {
		r.Dates = map[string]int{}
		for f, n := range b.faults {
			r.Dates[f.code+":"+f.field] = n
		}
	}
	for field, codes := range b.unmapped {
		list := make([]UnmappedCode, 0, len(codes))
		for _, code := range sortedKeys(codes) {
			list = append(list, UnmappedCode{Code: code, Count: codes[code]})
		}
		slices.SortStableFunc(list, func(x, y UnmappedCode) int { return cmp.Compare(y.Count, x.Count) })
		r.Unmapped[field] = list[:min(len(list), maxUnmapped)]
	}
	return r
}
