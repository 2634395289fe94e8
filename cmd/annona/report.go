package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

type reportCommand struct {
	Enrollments reportEnrollments `cmd:"" help:"Enrollments, each on a line, as POST /v1/enrollments takes them."`
	Benefits    reportBenefits    `cmd:"" help:"Benefits with their payments, as POST /v1/benefits takes them."`
	Payments    reportPayments    `cmd:"" help:"Payments of benefits that are on file, as POST /v1/payments takes them."`
	Cases       reportCases       `cmd:"" help:"Cases, as POST /v1/cases takes them."`
	CaseNotes   reportCaseNotes   `cmd:"" name:"case-notes" help:"Notes of cases, the oldest first: those of one case stand together, under its source_case_id."`
}

// reportFlags are those of every report.
type reportFlags struct {
	dataFlag
	Client  string `required:"" placeholder:"ID" help:"Client of the partner in whose name it is reported, by its id."`
	Purpose string `required:"" placeholder:"CODE" help:"Purpose of the partner's agreement."`
	Source  string `placeholder:"NAME" help:"Individuals and households are named by their keys in this source, in the place of their ids."`
	File    string `arg:"" help:"File of JSON objects, one on a line; - for standard input."`
}

type (
	reportEnrollments struct{ reportFlags }
	reportBenefits    struct{ reportFlags }
	reportPayments    struct{ reportFlags }
	reportCases       struct{ reportFlags }
	reportCaseNotes   struct{ reportFlags }
)

func (r reportEnrollments) Run(ctx context.Context, c console) error {
	return r.report(ctx, c, "enrollments")
}
func (r reportBenefits) Run(ctx context.Context, c console) error {
	return r.report(ctx, c, "benefits")
}
func (r reportPayments) Run(ctx context.Context, c console) error {
	return r.report(ctx, c, "payments")
}
func (r reportCases) Run(ctx context.Context, c console) error { return r.report(ctx, c, "cases") }
func (r reportCaseNotes) Run(ctx context.Context, c console) error {
	return r.report(ctx, c, "case_notes")
}

// report brings a file through the gate, as its partner would over HTTP.
func (r reportFlags) report(ctx context.Context, c console, dataset string) error {
	in := io.NopCloser(c.in)
	if r.File != "-" {
		file, err := os.Open(r.File)
		if err != nil {
			return annona.Invalid("file_unreadable", "the file cannot be read: %s", reason(err)).On("file")
		}
		in = file
	}
	defer in.Close()
	return r.with(ctx, func(f *folder) error {
		caller, err := f.inTheNameOf(ctx, r.Client)
		if err != nil {
			return err
		}
		w := &reporter{gate: f.gate, caller: caller, purpose: r.Purpose, source: r.Source, dataset: dataset, refused: func(line int, err error) { c.refusedLine(line, err) }}
		if err := w.read(ctx, in); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%d recorded, %d unchanged, %d refused.\n", w.recorded, w.unchanged, w.refusals)
		if w.refusals > 0 {
			return annona.Invalid("rows_refused", "rows were refused; mend these and report the file again: what is on file stays as it is")
		}
		return nil
	})
}

func (c console) refusedLine(line int, err error) {
	var known *annona.Error
	if errors.As(err, &known) {
		fmt.Fprintf(c.err, "line %d: %s %s\n", line, known.Code, known.Name)
	}
}

// The bounds of what is read at a time.
const (
	reportRows = 500
	reportLine = 1 << 20 // bytes
)

// reporter brings the lines of one file through the gate, some at a time.
type reporter struct {
	gate    *exchange.Exchange
	caller  annona.Caller
	purpose string
	source  string // of the keys that stand for ids; empty: ids do
	dataset string
	refused func(line int, err error)

	rows  []map[string]any
	lines []int           // of the rows
	names map[string]bool // of the rows: one name stands once in a request

	recorded, unchanged, refusals int
}

// read reports each line.
func (r *reporter) read(ctx context.Context, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), reportLine)
	r.names = map[string]bool{}
	for n := 1; lines.Scan(); n++ {
		row, ok := readRow(lines.Bytes())
		if !ok {
			r.refuse(n, annona.Invalid("row_malformed", "a row is one JSON object"))
			continue
		}
		if err := r.add(ctx, n, row); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return annona.Invalid("file_unreadable", "a line is longer than %d bytes, or the file cannot be read", reportLine).On("file")
	}
	return r.send(ctx)
}

func readRow(line []byte) (row map[string]any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&row); err != nil || row == nil {
		return nil, false
	}
	_, err := d.Token()
	return row, err == io.EOF
}

func (r *reporter) refuse(line int, err error) {
	r.refusals++
	r.refused(line, err)
}

// add takes up a row. What is full goes to the gate, and what names the same once more comes behind it.
func (r *reporter) add(ctx context.Context, line int, row map[string]any) error {
	name, _ := row[map[string]string{"enrollments": "source_enrollment_id", "benefits": "source_benefit_id", "cases": "source_case_id", "case_notes": "source_note_id"}[r.dataset]].(string)
	if len(r.rows) == reportRows || name != "" && r.names[name] {
		if err := r.send(ctx); err != nil {
			return err
		}
	}
	r.rows, r.lines, r.names[name] = append(r.rows, row), append(r.lines, line), true
	return nil
}

// send brings the rows through the gate.
func (r *reporter) send(ctx context.Context) error {
	if len(r.rows) == 0 {
		return nil
	}
	if err := r.identify(ctx); err != nil {
		return err
	}
	if err := r.report(ctx); err != nil {
		return err
	}
	r.rows, r.lines = r.rows[:0], r.lines[:0]
	clear(r.names)
	return nil
}

// identify puts ids in the place of keys. A key of nobody becomes an id of nobody, which the gate refuses.
func (r *reporter) identify(ctx context.Context) error {
	if r.source == "" {
		return nil
	}
	operator := annona.Caller{Strength: annona.StrengthOperator, Operator: r.caller.Operator}
	for member, dataset := range map[string]string{"individual_id": "individuals", "household_id": "households"} {
		var keys []string
		for _, row := range r.rows {
			if key, ok := row[member].(string); ok {
				keys = append(keys, key)
			}
		}
		if len(keys) == 0 {
			continue
		}
		ids, err := r.gate.IDsByKey(ctx, operator, r.caller.Agreement, dataset, r.source, keys)
		if err != nil {
			return err
		}
		for _, row := range r.rows {
			if key, ok := row[member].(string); ok {
				row[member] = ids[key]
				if ids[key] == "" {
					row[member] = "-"
				}
			}
		}
	}
	return nil
}

func (r *reporter) report(ctx context.Context) error {
	switch r.dataset {
	case "cases":
		verdicts, err := r.gate.PutCases(ctx, r.caller, r.purpose, r.rows)
		for n, v := range verdicts {
			r.count(r.lines[n], v.Verdict, v.Reason)
		}
		return err
	case "case_notes":
		return r.notes(ctx)
	}
	report := r.gate.ReportEnrollments
	switch r.dataset {
	case "benefits":
		report = r.gate.ReportBenefits
	case "payments":
		report = r.gate.ReportPayments
	}
	verdicts, err := report(ctx, r.caller, r.purpose, r.rows, false)
	for n, v := range verdicts {
		r.count(r.lines[n], v.Verdict, v.Reason)
	}
	return err
}

func (r *reporter) count(line int, verdict string, err error) {
	switch verdict {
	case exchange.VerdictRefused:
		r.refuse(line, err)
	case exchange.VerdictUnchanged:
		r.unchanged++
	default:
		r.recorded++
	}
}

// notes adds notes to cases that are named as their system names them. A case that is reported by its name
// alone stays as it is, and says its id.
func (r *reporter) notes(ctx context.Context) error {
	var cases []map[string]any
	at := map[any]int{}
	for _, row := range r.rows {
		name := row["source_case_id"]
		if _, known := at[name]; !known {
			at[name] = len(cases)
			cases = append(cases, map[string]any{"source_case_id": name})
		}
	}
	found, err := r.gate.PutCases(ctx, r.caller, r.purpose, cases)
	if err != nil {
		return err
	}
	for n, row := range r.rows {
		of := found[at[row["source_case_id"]]]
		if of.Verdict != exchange.VerdictUnchanged {
			r.refuse(r.lines[n], annona.NotFound("no case of the partner has this name").On("source_case_id"))
			continue
		}
		if err := r.note(ctx, r.lines[n], of.ID, row); err != nil {
			return err
		}
	}
	return nil
}

func (r *reporter) note(ctx context.Context, line int, id string, row map[string]any) error {
	delete(row, "source_case_id")
	text, err := json.Marshal(row)
	if err != nil {
		return err
	}
	var note exchange.CaseNote
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(&note) != nil {
		r.refuse(line, annona.Invalid("row_malformed", "a note has kind, text, supersedes, confidential, author and source_note_id"))
		return nil
	}
	v, err := r.gate.AddCaseNote(ctx, r.caller, r.purpose, id, note)
	if err != nil {
		if kind := annona.KindOf(err); kind == annona.KindInternal || kind == annona.KindUnavailable {
			return err
		}
		v.Verdict = exchange.VerdictRefused
	}
	r.count(line, v.Verdict, err)
	return nil
}
