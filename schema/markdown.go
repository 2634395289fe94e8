package schema

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/annona-exchange/annona"
)

const markdownIntroduction = `# The dictionary

This file is generated: ` + "`annona dictionary --markdown`" + ` prints it. Version %d.

Each field is described once, here, and every schema, header, filter and grant comes from it.

- **Type**: dec with the digits after its point; code with its list; group with the dataset of its rows; *several* for a list of values.
- **Sensitivity**: public, personal, identifier, or special (a special category of personal data, or treated as one).
- **At rest**: clear, sealed, or sealed+index, which exact look-up can reach.
- **Filter**: range when conditions may name the field, lookup when only look-up reaches it.
- **Also**: what stands beside the field. source = ` + "`{field}_source_code`" + `, the code as the source wrote it;
  reason = ` + "`{field}_nil_reason`" + `, why it is absent; as_of = ` + "`{field}_as_of`" + `, when it was observed.
  *derived* fields are computed by the exchange and cannot be imported.

An open code list takes any code; somebody else keeps it, or the country fills it.
`

// Markdown writes the dictionary as docs/spec/dictionary.md.
func Markdown(w io.Writer, d *annona.Dictionary) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, markdownIntroduction, d.Version)
	for s := range d.Datasets() {
		fmt.Fprintf(out, "\n## %s\n\n", s.Name)
		fmt.Fprint(out, "| Field | Type | Sensitivity | At rest | Filter | Also | Definition |\n|---|---|---|---|---|---|---|\n")
		for _, f := range s.Fields {
			row(out, "`"+f.Code+"`", markdownType(f), string(f.Sensitivity), string(f.AtRest), filterText(f), alsoText(f), describe(f)+originText(f))
		}
	}
	fmt.Fprint(out, "\n## Code lists\n")
	for _, name := range d.CodeLists() {
		l, _ := d.CodeList(name)
		markdownList(out, l)
	}
	return out.Flush()
}

func row(out io.Writer, cells ...string) {
	for _, c := range cells {
		fmt.Fprintf(out, "| %s ", strings.NewReplacer("|", `\|`, "\n", " ").Replace(c))
	}
	fmt.Fprint(out, "|\n")
}

func markdownType(f *annona.Field) string {
	if f.Type == annona.TypeCode {
		return strings.Replace(typeText(f), f.CodeList, "["+f.CodeList+"](#"+f.CodeList+")", 1)
	}
	if f.Type == annona.TypeGroup {
		return "group [" + f.Group + "](#" + f.Group + ")"
	}
	return typeText(f)
}

func filterText(f *annona.Field) string {
	if f.Filter == annona.FilterNone {
		return ""
	}
	return string(f.Filter)
}

func alsoText(f *annona.Field) string {
	var also []string
	for _, a := range []struct {
		yes  bool
		word string
	}{{f.Derived, "*derived*"}, {f.Crosswalked, "source"}, {f.NilReason, "reason"}, {f.AssessmentInput, "as_of"}} {
		if a.yes {
			also = append(also, a.word)
		}
	}
	return strings.Join(also, ", ")
}

func originText(f *annona.Field) string {
	if f.Country == "" {
		return ""
	}
	return " Declared by " + f.Country + "."
}

func markdownList(out io.Writer, l *annona.CodeList) {
	fmt.Fprintf(out, "\n### %s\n\nVersion %d", l.Name, l.Version)
	if l.Open {
		fmt.Fprint(out, ", open")
	}
	if l.Country != "" {
		fmt.Fprintf(out, ", of %s", l.Country)
	}
	fmt.Fprint(out, ".\n")
	if len(l.Codes) == 0 {
		return
	}
	fmt.Fprint(out, "\n| Code | Label | DCI |\n|---|---|---|\n")
	for _, c := range l.Codes {
		row(out, "`"+c.Code+"`", labelOf(&c), c.DCI)
	}
}
