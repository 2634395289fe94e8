package ingest

import (
	"io"

	"github.com/annona-exchange/annona"
)

// ParseExportSpec reads an export specification. It checks the form only: fields, filter and agreement
// are checked when it is put on file.
func ParseExportSpec(r io.Reader) (annona.ExportSpec, error) {
	var s annona.ExportSpec
	if err := decodeYAML(r, "export specification", &s); err != nil {
		return annona.ExportSpec{}, err
	}
	for name, value := range map[string]string{"name": s.Name, "agreement": s.Agreement, "purpose": s.Purpose, "dataset": s.Dataset, "format": s.Format} {
		if value == "" {
			return annona.ExportSpec{}, annona.Invalid("spec_malformed", "a specification says its name, agreement, purpose, dataset, format and fields").On(name)
		}
	}
	return s, nil
}
