package ingest

import (
	"io"
	"strings"

	"github.com/annona-exchange/annona"
)

// ParseCrosswalk reads what the codes of a source mean (docs/spec/mapping.md). A code of the source
// that stands twice is refused with its line. That the codes are those of the list is checked when
// it is applied.
func ParseCrosswalk(r io.Reader) (annona.Crosswalk, error) {
	var doc struct {
		Source  text  `yaml:"source"`
		List    text  `yaml:"list"`
		Version int   `yaml:"version"`
		Codes   words `yaml:"codes"`
	}
	if err := decodeYAML(r, "crosswalk", &doc); err != nil {
		return annona.Crosswalk{}, err
	}
	c := annona.Crosswalk{Source: string(doc.Source), List: string(doc.List), Version: doc.Version, Codes: make(map[string]string, len(doc.Codes))}
	for from, to := range doc.Codes {
		code := strings.TrimSpace(from)
		if _, twice := c.Codes[code]; twice || code == "" {
			return c, annona.Invalid("crosswalk_malformed", "a code of the source is not empty and stands once, whatever spaces are around it").On(code)
		}
		c.Codes[code] = to
	}
	return c, nil
}
