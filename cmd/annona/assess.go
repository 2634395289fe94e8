package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/client"
	"github.com/annona-exchange/annona/client/assess"
	"github.com/annona-exchange/annona/ingest"
)

type assessCommand struct {
	registryFlags
	Export     string `arg:"" type:"path" help:"Folder that annona pull has made, or a file in NDJSON, JSON or CSV under the names of the dictionary."`
	Rules      string `required:"" type:"existingfile" placeholder:"FILE" help:"Rules of the program, as YAML; see examples/programs."`
	Out        string `type:"path" placeholder:"FILE" help:"File for the decisions, as NDJSON; standard output when left out, unless they are sent."`
	Send       bool   `help:"Send the decisions back to the registry."`
	Dataset    string `default:"households" enum:"households,individuals" help:"Of a file: what its records are."`
	AsOf       string `placeholder:"DAY" help:"Of a file: the day on which ages are read and on which is decided, as 2026-07-01."`
	Purpose    string `placeholder:"CODE" help:"Of a file that is sent back: the purpose for which it was received."`
	Dictionary string `type:"path" placeholder:"FILE" help:"Declared attributes of the country, as annona dictionary apply takes them, when rules or exports name some."`
	JSON       bool   `name:"json" help:"Print what was decided, in numbers, as JSON."`
}

// assessed says what was decided, in numbers.
type assessed struct {
	Export    string       `json:"export,omitempty"`
	AsOf      annona.Date  `json:"as_of"`
	Decisions int          `json:"decisions"`
	Statuses  assess.Tally `json:"statuses"`
	Recorded  int          `json:"recorded"`
	Unchanged int          `json:"unchanged"`
	Refused   int          `json:"refused"`
}

// Run assesses an export.
func (a assessCommand) Run(ctx context.Context, c console) (err error) {
	what, err := a.prepare()
	if err != nil {
		return err
	}
	out, err := a.output(c)
	if err != nil {
		return err
	}
	defer out.discard()
	lines := bufio.NewWriter(out)
	told := &assessed{Export: what.Export, AsOf: what.AsOf, Statuses: assess.Tally{}}
	sending := &sending{ctx: ctx, console: c, purpose: what.purpose, told: told}
	if a.Send {
		if sending.to, err = a.connect(); err != nil {
			return err
		}
	}
	encoder := json.NewEncoder(lines)
	take := func(d client.Decision) error {
		told.Decisions++
		told.Statuses[d.Status]++
		if err := encoder.Encode(d); err != nil {
			return err
		}
		return sending.take(d)
	}
	for _, file := range what.files {
		if err := what.read(file, take); err != nil {
			return err
		}
	}
	if err := errors.Join(sending.flush(), lines.Flush(), out.sync()); err != nil {
		return err
	}
	if err := out.publish(); err != nil {
		return err
	}
	return a.report(c, told)
}

// output is where decisions go: a file, standard output, or nowhere when they are sent.
func (a assessCommand) output(c console) (*outputFile, error) {
	switch {
	case a.Out != "":
		return createOutput(a.Out, "out")
	case a.Send || a.JSON:
		return &outputFile{to: io.Discard}, nil
	}
	return &outputFile{to: c.out}, nil
}

func (a assessCommand) report(c console, told *assessed) error {
	if a.JSON {
		if err := json.NewEncoder(c.out).Encode(told); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.err, "%d decisions as of %s:", told.Decisions, told.AsOf)
		for _, status := range slices.Sorted(maps.Keys(told.Statuses)) {
			fmt.Fprintf(c.err, " %d %s", told.Statuses[status], status)
		}
		fmt.Fprintln(c.err)
		if a.Send {
			fmt.Fprintf(c.err, "The registry has recorded %d; %d were on file already, %d were refused.\n", told.Recorded, told.Unchanged, told.Refused)
		}
	}
	if told.Refused > 0 {
		return annona.Conflict("decisions_refused", "%d of %d decisions were refused; the lines above say which and why. The others are on file", told.Refused, told.Decisions)
	}
	return nil
}

// assessing is an export that is about to be assessed.
type assessing struct {
	*assess.Assessment
	purpose string
	files   []string
}

// prepare reads the rules and what the export looks like, and holds one against the other.
func (a assessCommand) prepare() (*assessing, error) {
	text, err := os.Open(a.Rules)
	if err != nil {
		return nil, unreadable(a.Rules, err)
	}
	defer text.Close()
	rules, err := assess.ReadRules(text)
	if err != nil {
		return nil, err
	}
	dictionary, err := a.dictionary()
	if err != nil {
		return nil, err
	}
	what := &assessing{Assessment: &assess.Assessment{Rules: &rules, Software: "annona/" + version}, purpose: a.Purpose}
	if info, err := os.Stat(a.Export); err != nil {
		return nil, unreadable(a.Export, err)
	} else if info.IsDir() {
		err = what.pulled(a.Export, dictionary)
		if err != nil {
			return nil, err
		}
	} else if err := what.file(a, dictionary); err != nil {
		return nil, err
	}
	if a.Send && what.purpose == "" {
		return nil, annona.Invalid("purpose_missing", "say with --purpose for which purpose the file was received")
	}
	return what, what.Check()
}

func (a assessCommand) dictionary() (*annona.Dictionary, error) {
	if a.Dictionary == "" {
		return annona.Standard(), nil
	}
	file, err := os.Open(a.Dictionary)
	if err != nil {
		return nil, unreadable(a.Dictionary, err)
	}
	defer file.Close()
	extension, err := ingest.ParseDictionary(file)
	if err != nil {
		return nil, err
	}
	return annona.Standard().Extend(extension)
}

// pulled takes in a folder that annona pull has made.
func (w *assessing) pulled(folder string, d *annona.Dictionary) error {
	signed, err := os.ReadFile(filepath.Join(folder, client.ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return annona.Invalid("manifest_missing", "the folder is none that annona pull has made: it has no manifest").On(filepath.Base(folder))
	}
	if err != nil {
		return unreadable(folder, err)
	}
	m, err := client.ReadManifest(string(signed))
	if err != nil {
		return partners(err)
	}
	text, err := os.ReadFile(filepath.Join(folder, client.SpecificationFile))
	if err != nil {
		return unreadable(client.SpecificationFile, err)
	}
	var spec annona.ExportSpec
	if err := json.Unmarshal(text, &spec); err != nil {
		return annona.Invalid("file_malformed", "the specification beside the manifest cannot be read; pull the export again").On(client.SpecificationFile)
	}
	if w.Shape, err = assess.Specified(d, &spec); err != nil {
		return err
	}
	w.AsOf, w.Export, w.purpose = annona.Date(m.AsOf), m.Export, m.Purpose
	for _, name := range m.Documents() {
		w.files = append(w.files, filepath.Join(folder, name))
	}
	return nil
}

// file takes in a file under the names of the dictionary.
func (w *assessing) file(a assessCommand, d *annona.Dictionary) error {
	day := annona.Date(a.AsOf)
	if _, err := annona.ParseDate(a.AsOf); err != nil || day > annona.DateOf(time.Now().AddDate(0, 0, 1)) {
		return annona.Invalid("as_of_missing", "say with --as-of on which day ages are read and decided, as 2026-07-01; it does not lie ahead")
	}
	begins := make([]byte, 64<<10)
	file, err := os.Open(a.Export)
	if err != nil {
		return unreadable(a.Export, err)
	}
	defer file.Close()
	n, err := io.ReadFull(file, begins)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return unreadable(a.Export, err)
	}
	format, layout := assess.FormatOf(a.Export, begins[:n])
	if w.Shape, err = assess.Plain(d, a.Dataset, format, layout); err != nil {
		return err
	}
	w.AsOf, w.files = day, []string{a.Export}
	return nil
}

func (w *assessing) read(path string, take func(client.Decision) error) error {
	file, err := os.Open(path)
	if err != nil {
		return unreadable(path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return unreadable(path, err)
	}
	return w.Read(filepath.Base(path), file, info.Size(), take)
}

// sending sends decisions back, a thousand at a time.
type sending struct {
	console
	ctx     context.Context
	to      *client.Client // nil: nothing is sent
	purpose string
	waiting []client.Decision
	sent    int
	told    *assessed
}

func (s *sending) take(d client.Decision) error {
	if s.to == nil {
		return s.ctx.Err()
	}
	s.waiting = append(s.waiting, d)
	if len(s.waiting) < 1000 {
		return nil
	}
	return s.flush()
}

// flush sends what waits. Of what is refused it says the line and the reason, not whom it is about.
func (s *sending) flush() error {
	if len(s.waiting) == 0 {
		return nil
	}
	verdicts, err := s.to.Decide(s.ctx, s.purpose, s.waiting)
	for _, v := range verdicts {
		switch v.Verdict {
		case "recorded":
			s.told.Recorded++
		case "unchanged":
			s.told.Unchanged++
		default:
			s.told.Refused++
			fmt.Fprintf(s.err, "decision %d: %s %s\n", s.sent+v.Line, v.Code, v.Field)
		}
	}
	s.sent += len(s.waiting)
	s.waiting = s.waiting[:0]
	return partners(err)
}
