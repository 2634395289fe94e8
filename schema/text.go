package schema

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/annona-exchange/annona"
)

// Text writes the dictionary as tables for a terminal: every field, then every code list.
func Text(w io.Writer, d *annona.Dictionary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "Dictionary, version %d\n", d.Version)
	for s := range d.Datasets() {
		fmt.Fprintf(t, "\n%s\nFIELD\tTYPE\tSENSITIVITY\tAT REST\tFILTER\tLABEL\n", s.Name)
		for _, f := range s.Fields {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", f.Code, typeText(f), f.Sensitivity, f.AtRest, f.Filter, f.Label)
		}
	}
	fmt.Fprint(t, "\nCode lists\nLIST\tVERSION\tCODES\n")
	for _, name := range d.CodeLists() {
		l, _ := d.CodeList(name)
		fmt.Fprintf(t, "%s\t%d\t%s\n", l.Name, l.Version, sizeText(l))
	}
	return t.Flush()
}

// typeText is the type of a field with what makes it precise: "code sex", "dec 2", "date".
func typeText(f *annona.Field) string {
	text := string(f.Type)
	switch f.Type {
	case annona.TypeCode:
		text += " " + f.CodeList
	case annona.TypeDec:
		text += fmt.Sprintf(" %d", f.Scale)
	case annona.TypeGroup:
		text += " " + f.Group
	}
	if f.Many {
		text += ", several"
	}
	return text
}

func sizeText(l *annona.CodeList) string {
	switch {
	case !l.Open:
		return fmt.Sprint(len(l.Codes))
	case len(l.Codes) > 0:
		return fmt.Sprintf("%d, open", len(l.Codes))
	default:
		return "open"
	}
}
