package main

import (
	"context"
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gocloud.dev/blob"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/client"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/jobs"
	"github.com/annona-exchange/annona/synthetic"
	"github.com/annona-exchange/annona/vault"
)

// What every kit has beside what its specification says.
var (
	//go:embed kit/check.py
	kitCheck []byte
	//go:embed kit/README.md
	kitReadme string
)

type kitCommand struct {
	dataFlag
	Name    string `arg:"" help:"Name of the specification."`
	Version int    `help:"Its version; the latest one when left out."`
	Out     string `required:"" type:"path" placeholder:"DIR" help:"Folder for the kit; it must not be there yet."`
}

// kitHouseholds is how many households a kit has at least, where the filter chooses that many; mostKit is
// how many are invented for that.
const (
	kitHouseholds = 500
	mostKit       = 4000
)

// Run writes a kit. The rows in it are what the registry itself would send of invented people: they come
// from a registry that is made for that, under the same agreement and specification, and thrown away.
func (k kitCommand) Run(ctx context.Context, c console) error {
	if _, err := os.Lstat(k.Out); err == nil {
		return errOverwrite.On("out")
	}
	kit := &kit{out: k.Out + ".partial"}
	if err := k.with(ctx, func(f *folder) error { return kit.terms(ctx, f, k.Name, k.Version) }); err != nil {
		return err
	}
	place, err := os.MkdirTemp("", "annona-kit-")
	if err != nil {
		return annona.Invalid("folder_unusable", "no temporary folder can be made: %s", reason(err))
	}
	defer os.RemoveAll(place)
	if err := errors.Join(os.RemoveAll(kit.out), os.MkdirAll(filepath.Join(kit.out, "data"), 0o755)); err != nil {
		return errOutput(err)
	}
	defer os.RemoveAll(kit.out) // when it has not got its name
	registry := filepath.Join(place, "registry")
	if err := makeFolder(registry, vault.Demo, ""); err != nil {
		return err
	}
	if err := (dataFlag{Data: registry}).with(ctx, func(f *folder) error { return kit.make(ctx, f) }); err != nil {
		return err
	}
	if err := os.Rename(kit.out, k.Out); err != nil {
		return errOutput(err)
	}
	_, err = fmt.Fprintf(c.out, "The kit for %s is in %s: %d invented rows. python3 %s\n", kit.spec.Name, k.Out, kit.expected.Rows, filepath.Join(k.Out, "check.py"))
	return err
}

// kit is a kit that is being written.
type kit struct {
	out        string
	spec       annona.ExportSpec // as it is on file
	agreement  annona.Agreement
	dictionary *annona.Dictionary
	shape      *annona.Shape

	registry *folder // the one that is thrown away
	bucket   *blob.Bucket
	caller   annona.Caller
	expected expectations
}

// terms reads the specification and the agreement.
func (k *kit) terms(ctx context.Context, f *folder, name string, version int) (err error) {
	if k.spec, err = f.gate.ShowExportSpec(ctx, operator(), name, version); err != nil {
		return err
	}
	if k.shape, err = f.gate.CheckExportSpec(ctx, operator(), k.spec); err != nil {
		return err
	}
	agreement, err := f.store.Agreement(ctx, k.spec.Agreement)
	if err != nil {
		return err
	}
	k.agreement, k.dictionary = *agreement, f.gate.CurrentDictionary()
	return nil
}

// make fills the throwaway registry, exports, and writes the kit.
func (k *kit) make(ctx context.Context, f *folder) (err error) {
	k.registry = f
	if k.bucket, err = f.exportFiles(ctx, ""); err != nil {
		return err
	}
	defer k.bucket.Close()
	if err := k.agree(ctx); err != nil {
		return err
	}
	twin, err := k.populate(ctx)
	if err != nil {
		return err
	}
	if k.expected, err = expect(&k.spec, twin); err != nil {
		return err
	}
	real := k.spec
	real.Recipient, real.Compression = "", "none"
	job, err := k.export(ctx, real)
	if err != nil {
		return err
	}
	if err := k.data(ctx, job); err != nil {
		return err
	}
	return k.papers(twin)
}

// agree puts the agreement in force, without what is about real people: areas, conditions on rows, consent.
func (k *kit) agree(ctx context.Context) error {
	if err := k.declare(ctx); err != nil {
		return err
	}
	a := k.agreement
	a.Areas, a.Imports, a.RowCeiling, a.Floor, a.Status = nil, nil, 0, "api_key", "active"
	a.APIKey = &annona.CredentialTerms{SpecialFields: true, Reason: "A contract kit: nobody in it is real."}
	a.ValidFrom, a.ValidUntil = "2020-01-01", "2099-12-31"
	a.Purposes = slices.Clone(a.Purposes)
	for i := range a.Purposes {
		if a.Purposes[i].Basis == annona.BasisConsent {
			a.Purposes[i].Basis = annona.BasisPublicInterest
		}
	}
	datasets := map[string]annona.DatasetTerms{}
	for name, terms := range a.Datasets {
		terms.Condition = ""
		datasets[name] = terms
	}
	a.Datasets = datasets
	if _, err := k.registry.gate.ApplyAgreement(ctx, operator(), a); err != nil {
		return err
	}
	_, holder, err := k.registry.createKey(ctx, a.Name, "", "kit", 1, nil)
	k.caller = annona.Caller{Client: holder.ID, Agreement: a.Name, Strength: annona.StrengthAPIKey}
	return err
}

// declare gives the throwaway registry the attributes of the country.
func (k *kit) declare(ctx context.Context) error {
	x := annona.Extension{}
	for d := range k.dictionary.Datasets() {
		for _, f := range d.Fields {
			if f.Country != "" && f.Aspect == annona.AspectValue {
				own := *f
				own.Base, own.Authority = nil, ""
				x.Country, x.Fields = f.Country, append(x.Fields, own)
			}
		}
	}
	for _, name := range k.dictionary.CodeLists() {
		if l, ok := k.dictionary.CodeList(name); ok && l.Country != "" && name != "area" {
			x.Country, x.CodeLists = l.Country, append(x.CodeLists, *l)
		}
	}
	if x.Country == "" {
		return nil
	}
	_, err := k.registry.gate.Declare(ctx, operator(), x)
	return err
}

// populate invents households until the specification chooses enough of them, and returns what it chooses
// as NDJSON.
func (k *kit) populate(ctx context.Context) (twin []byte, err error) {
	country, err := synthetic.New(k.registry.gate.CurrentDictionary(), synthetic.Country{Individuals: 20 * mostKit, Seed: 1})
	if err != nil {
		return nil, err
	}
	load, err := k.registry.gate.StartLoad(ctx, operator(), synthetic.Source, country.Areas())
	if err != nil {
		return nil, err
	}
	next, stop := iter.Pull(country.Households())
	defer stop()
	lines := k.spec
	lines.Name, lines.Format, lines.Layout, lines.Profile, lines.Recipient, lines.Compression, lines.PartRows = "twin", "ndjson", "", "", "", "none", 0
	for more, all := kitHouseholds, 0; all < mostKit; more = all {
		if err := invent(ctx, load, next, more); err != nil {
			return nil, err
		}
		all += more
		job, err := k.export(ctx, lines)
		if err != nil {
			return nil, err
		}
		if twin, err = k.read(ctx, job, 0); err != nil {
			return nil, err
		}
		if job.Rows >= kitHouseholds {
			break
		}
	}
	_, err = load.Finish(ctx)
	return twin, err
}

// invent puts that many more households on file.
func invent(ctx context.Context, load *exchange.Loading, next func() (synthetic.Household, bool), households int) error {
	var houses, people []annona.Record
	for n := range households {
		h, _ := next()
		houses, people = append(houses, h.Record), append(people, h.Members...)
		if len(people) < demoBatch && n < households-1 {
			continue
		}
		if _, err := load.Put(ctx, houses, people); err != nil {
			return err
		}
		houses, people = nil, nil
	}
	return nil
}

// export makes an export by a specification, here and now.
func (k *kit) export(ctx context.Context, spec annona.ExportSpec) (annona.ExportJob, error) {
	f := k.registry
	if _, _, err := f.gate.PutExportSpec(ctx, operator(), spec); err != nil {
		return annona.ExportJob{}, err
	}
	job, _, err := f.gate.StartExport(ctx, k.caller, exchange.ExportRequest{Spec: spec.Name})
	if err != nil {
		return job, err
	}
	w := &jobs.Worker{
		Gate: f.gate, Jobs: f.store, Queue: f.store, Vault: f.vault, Checkpoints: f.store, Files: k.bucket, Log: slog.New(slog.DiscardHandler),
		Base: "https://registry.example/v1/",
	}
	if _, err := w.Next(ctx); err != nil {
		return job, err
	}
	if job, err = f.gate.ExportStatus(ctx, operator(), job.ID.String()); err == nil && job.State != annona.ExportComplete {
		err = annona.Conflict("export_ended", "the rows of the kit could not be made: %s", stateOf(&job))
	}
	return job, err
}

// read returns a file of an export.
func (k *kit) read(ctx context.Context, job annona.ExportJob, part int) ([]byte, error) {
	parts, err := k.registry.store.ExportParts(ctx, job.ID)
	if err != nil || part >= len(parts) {
		return nil, err
	}
	files := &jobs.Files{Bucket: k.bucket, Vault: k.registry.vault}
	from, err := files.Open(ctx, &job, &parts[part], "")
	if err != nil {
		return nil, err
	}
	return io.ReadAll(from)
}

// data writes the folder that annona pull would leave.
func (k *kit) data(ctx context.Context, job annona.ExportJob) error {
	parts, err := k.registry.store.ExportParts(ctx, job.ID)
	if err != nil {
		return err
	}
	for n, part := range parts {
		text, err := k.read(ctx, job, n)
		if err != nil {
			return err
		}
		if err := k.put(filepath.Join("data", part.Name), text); err != nil {
			return err
		}
	}
	manifest, err := k.registry.gate.ExportManifest(ctx, operator(), job.ID.String())
	if err != nil {
		return err
	}
	keys, err := k.registry.vault.ManifestKeys()
	if err != nil {
		return err
	}
	return errors.Join(
		k.put(filepath.Join("data", client.ManifestFile), []byte(manifest)),
		k.putJSON(filepath.Join("data", client.SpecificationFile), k.spec),
		k.put("kit.key", []byte(strings.Join(keys, "\n")+"\n")),
	)
}

// papers writes what describes the rows, and what checks them.
func (k *kit) papers(twin []byte) error {
	replace := strings.NewReplacer("{name}", k.spec.Name, "{version}", fmt.Sprint(k.spec.Version), "{rows}", fmt.Sprint(k.expected.Rows))
	if err := errors.Join(
		k.put("rows.ndjson", twin),
		k.put("check.py", kitCheck),
		k.put("README.md", []byte(replace.Replace(kitReadme))),
		k.putJSON("expected.json", k.expected),
		k.putJSON("record.schema.json", recordSchema(k.shape)),
		k.columns(),
	); err != nil {
		return err
	}
	return k.codeLists()
}

func (k *kit) put(name string, text []byte) error {
	if err := os.WriteFile(filepath.Join(k.out, name), text, 0o644); err != nil {
		return errOutput(err)
	}
	return nil
}

func (k *kit) putJSON(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return k.put(name, append(text, '\n'))
}

// fieldsOf yields the columns of a shape and of the groups in it, each with the names of the groups before
// its own.
func fieldsOf(shape *annona.Shape, prefix string, yield func(path string, f *annona.Field)) {
	for _, f := range shape.Columns {
		yield(prefix+f.Code, f)
	}
	for _, g := range shape.Groups {
		fieldsOf(g.Shape, prefix+g.Field.Code+".", yield)
	}
}

// columns writes what each column means.
func (k *kit) columns() error {
	var text strings.Builder
	w := csv.NewWriter(&text)
	_ = w.Write([]string{"column", "field", "type", "several", "code_list", "unit", "label", "definition"})
	fieldsOf(k.shape, "", func(path string, f *annona.Field) {
		of := f.Shows()
		field := of.Dataset + "." + of.Code
		if f.Rule != nil {
			field = "derived"
		}
		_ = w.Write([]string{path, field, string(f.Type), fmt.Sprint(f.Many), f.CodeList, f.Unit, of.Label, of.Definition})
	})
	w.Flush()
	return k.put("columns.csv", []byte(text.String()))
}

// codeLists writes a file for each code list that the columns have, with the recipient's own codes.
func (k *kit) codeLists() error {
	theirs := map[string]map[string]string{}
	for _, f := range k.spec.Fields {
		if len(f.Codes) > 0 {
			theirs[f.Field] = f.Codes
		}
	}
	var failed error
	fieldsOf(k.shape, "", func(path string, f *annona.Field) {
		of := f.Shows()
		list, ok := k.dictionary.CodeList(of.CodeList)
		if !ok || list.Name == "area" || failed != nil {
			return
		}
		group := path[:strings.LastIndex(path, ".")+1]
		var text strings.Builder
		w := csv.NewWriter(&text)
		_ = w.Write([]string{"code", "in_the_file", "label"})
		for _, code := range list.Codes {
			written := code.Code
			if own, ok := theirs[group+of.Code][code.Code]; ok {
				written = own
			}
			_ = w.Write([]string{code.Code, written, code.Label})
		}
		w.Flush()
		failed = errors.Join(os.MkdirAll(filepath.Join(k.out, "code-lists"), 0o755), k.put(filepath.Join("code-lists", path+".csv"), []byte(text.String())))
	})
	return failed
}
