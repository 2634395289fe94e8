package intake

import (
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

// Unmapped lists the codes without a meaning that a reading has met. The empty code stands for those
// that the report does not name.
func Unmapped(source string, r ingest.Report) (met []annona.Unmapped) {
	for flag, times := range r.Flags {
		field, unmapped := strings.CutPrefix(flag, "code_unmapped:")
		if !unmapped {
			continue
		}
		rest := int64(times)
		for _, code := range r.Unmapped[field] {
			met = append(met, annona.Unmapped{Source: source, Field: field, Code: code.Code, Times: int64(code.Count)})
			rest -= int64(code.Count)
		}
		met = append(met, annona.Unmapped{Source: source, Field: field, Times: max(0, rest)})
	}
	return met
}
