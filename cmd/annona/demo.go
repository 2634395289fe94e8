package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/examples"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/synthetic"
	"github.com/annona-exchange/annona/vault"
)

// demoFile is where a demo writes its credentials.
const demoFile = "demo.json"

// demoAgreements are the agreements of the demo, demoPrograms its programs, as examples/ holds them.
var (
	demoAgreements = []string{"eligibility", "research", "programs", "casework"}
	demoPrograms   = []string{"household-transfer", "child-benefit", "girls-education"}
)

type demoCommand struct {
	Data        string `default:"annona-demo" type:"path" placeholder:"DIR" help:"Folder of the demo; made when it is missing."`
	Listen      string `default:"127.0.0.1:8080" help:"Address to listen on; loopback only."`
	Individuals int    `default:"20000" help:"Size of the synthetic country."`
	Seed        uint64 `default:"1" help:"The same seed gives the same country."`
}

// demo is what demo.json holds.
type demo struct {
	BaseURL     string           `json:"base_url"`
	Individuals int              `json:"individuals"`
	Households  int              `json:"households"`
	Credentials []demoCredential `json:"credentials"`
}

type demoCredential struct {
	Agreement string   `json:"agreement"`
	Purposes  []string `json:"purposes"`
	Key       string   `json:"key"`
	ID        string   `json:"id"`
	ExpiresAt string   `json:"expires_at"`
}

func (d demoCommand) Run(ctx context.Context, c console) error {
	listener, err := listenOnLoopback(d.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	made, err := d.prepare(ctx, c, "http://"+listener.Addr().String())
	if err != nil {
		return err
	}
	d.invite(c, made)
	return dataFlag{Data: d.Data}.with(ctx, func(f *folder) error {
		return serve(ctx, c, f, listener, serveOptions{exports: exportOptions{workers: 1}})
	})
}

// listenOnLoopback refuses every other address: a demo's keys are no secrets.
func listenOnLoopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, annona.Invalid("listen_malformed", "an address to listen on is written 127.0.0.1:8080").On("listen")
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, annona.Forbidden("demo_loopback_only", "a demo listens on a loopback address only, such as 127.0.0.1:8080").On("listen")
	}
	return listen(address)
}

// prepare makes the demo's folder, or takes the one that an earlier run finished.
func (d demoCommand) prepare(ctx context.Context, c console, baseURL string) (demo, error) {
	made, err := d.earlier()
	if err != nil {
		if made, err = d.make(ctx, c); err != nil {
			return made, err
		}
	}
	made.BaseURL = baseURL
	return made, d.write(made)
}

// earlier reads the demo.json of a run before; it is written last, so that its presence means
// that all the rest is there.
func (d demoCommand) earlier() (made demo, err error) {
	content, err := os.ReadFile(filepath.Join(d.Data, demoFile))
	if err != nil {
		return made, err
	}
	return made, json.Unmarshal(content, &made)
}

// write replaces demo.json in one step.
func (d demoCommand) write(made demo) error {
	content, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(d.Data, demoFile+".*") // for its owner only
	if err == nil {
		_, err = file.Write(append(content, '\n'))
		err = errors.Join(err, file.Close())
	}
	if err == nil {
		err = os.Rename(file.Name(), filepath.Join(d.Data, demoFile))
	}
	if err != nil {
		return annona.Invalid("folder_unusable", "the credentials of the demo cannot be written: %s", reason(err))
	}
	return nil
}

// make makes the demo, or goes on where a run before was interrupted: the same country loads
// once.
func (d demoCommand) make(ctx context.Context, c console) (made demo, err error) {
	if !exists(d.Data, sqlite.FileName) {
		if err := makeFolder(d.Data, vault.Demo, ""); err != nil {
			return made, err
		}
	}
	err = dataFlag{Data: d.Data}.with(ctx, func(f *folder) error {
		if !f.vault.Demo() {
			return annona.Forbidden("folder_not_demo", "this folder holds a real registry; choose another one for the demo")
		}
		if err := d.populate(ctx, c, f); err != nil {
			return err
		}
		if made.Individuals, made.Households, err = f.onFile(ctx); err != nil {
			return err
		}
		for _, name := range demoPrograms {
			if err := f.adopt(ctx, name); err != nil {
				return err
			}
		}
		for _, name := range demoAgreements {
			credential, err := f.agree(ctx, name)
			if err != nil {
				return err
			}
			made.Credentials = append(made.Credentials, credential)
		}
		return d.participate(ctx, f, made.Credentials)
	})
	return made, err
}

// demoBatch is how many records go into one transaction, about.
const demoBatch = 2000

// populate loads the synthetic country.
func (d demoCommand) populate(ctx context.Context, c console, f *folder) error {
	country, err := synthetic.New(f.gate.CurrentDictionary(), synthetic.Country{Individuals: d.Individuals, Seed: d.Seed})
	if err != nil {
		return err
	}
	load, err := f.gate.StartLoad(ctx, operator(), synthetic.Source, country.Areas())
	if err != nil {
		return err
	}
	bar := newProgress(c, int64(d.Individuals), "synthetic individuals")
	var houses, people []annona.Record
	put := func() error {
		_, err := load.Put(ctx, houses, people)
		bar.add(int64(len(people)))
		houses, people = houses[:0], people[:0]
		return err
	}
	for h := range country.Households() {
		houses, people = append(houses, h.Record), append(people, h.Members...)
		if len(people) < demoBatch {
			continue
		}
		if err := put(); err != nil {
			return err
		}
	}
	if err := put(); err != nil {
		return err
	}
	bar.done()
	_, err = load.Finish(ctx)
	return err
}

// participate reports what programs and the case system of the country keep, in the name of their partners.
// What an earlier run has brought stays as it is.
func (d demoCommand) participate(ctx context.Context, f *folder, credentials []demoCredential) error {
	country, err := synthetic.New(f.gate.CurrentDictionary(), synthetic.Country{Individuals: d.Individuals, Seed: d.Seed})
	if err != nil {
		return err
	}
	for _, of := range []struct{ part, dataset, agreement string }{
		{"enrollments", "enrollments", "programs"}, {"benefits", "benefits", "programs"}, {"cases", "cases", "casework"}, {"case-notes", "case_notes", "casework"},
	} {
		by := credentials[slices.IndexFunc(credentials, func(c demoCredential) bool { return c.Agreement == of.agreement })]
		caller, err := f.inTheNameOf(ctx, by.ID)
		if err != nil {
			return err
		}
		from, to := io.Pipe()
		go func() { to.CloseWithError(writePart(country, of.part, to)) }()
		w := &reporter{gate: f.gate, caller: caller, purpose: by.Purposes[0], source: synthetic.Source, dataset: of.dataset, refused: func(int, error) {}}
		err = w.read(ctx, from)
		from.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// adopt puts one of the example programs on file.
func (f *folder) adopt(ctx context.Context, name string) error {
	text, err := examples.Files.ReadFile("programs/" + name + "/program.yaml")
	if err != nil {
		return err
	}
	program, err := ingest.ParseProgram(bytes.NewReader(text))
	if err != nil {
		return err
	}
	_, _, err = f.gate.ApplyProgram(ctx, operator(), program)
	return err
}

// onFile counts what is on file.
func (f *folder) onFile(ctx context.Context) (individuals, households int, err error) {
	var counts [2]annona.Number
	for i, name := range []string{"individuals", "households"} {
		dataset, _ := f.gate.CurrentDictionary().Dataset(name)
		if counts[i], err = f.store.LastNumber(ctx, dataset); err != nil {
			return 0, 0, err
		}
	}
	return int(counts[0]), int(counts[1]), nil
}

// agree puts one of the example agreements in force and makes a key for it.
func (f *folder) agree(ctx context.Context, name string) (demoCredential, error) {
	text, err := examples.Files.ReadFile("agreements/" + name + ".yaml")
	if err != nil {
		return demoCredential{}, err
	}
	agreement, err := ingest.ParseAgreement(bytes.NewReader(text))
	if err != nil {
		return demoCredential{}, err
	}
	if _, err := f.gate.ApplyAgreement(ctx, operator(), agreement); err != nil {
		return demoCredential{}, err
	}
	key, client, err := f.createKey(ctx, name, "", "demo", 366, nil)
	if err != nil {
		return demoCredential{}, err
	}
	credential := demoCredential{Agreement: name, Key: key, ID: client.ID.String(), ExpiresAt: client.ExpiresAt.UTC().Format("2006-01-02T15:04:05Z")}
	for _, p := range agreement.Purposes {
		credential.Purposes = append(credential.Purposes, p.Code)
	}
	return credential, nil
}

// invite prints what to try first.
func (d demoCommand) invite(c console, made demo) {
	first := made.Credentials[0]
	fmt.Fprintf(c.out, `A synthetic country of %d individuals in %d households is at %s
Its people are invented; its keys are in %s.

Try:
  curl -H 'X-API-Key: %s' '%[3]s/v1/individuals?purpose=%[6]s&limit=3'
  curl -H 'X-API-Key: %[5]s' '%[3]s/v1/households/export?format=xml&purpose=%[6]s' | head -c 2000
  curl -H 'X-API-Key: %[5]s' -G '%[3]s/v1/individuals/export' -d format=csv -d purpose=%[6]s -d fields=individual_id,full_name,sex,date_of_birth --data-urlencode 'filter=household.poverty_score < 20 && age_on(individual.date_of_birth, as_of) < 5' -o children.csv

The reference of the API is at %[3]s/docs. Stop with Ctrl-C.
`, made.Individuals, made.Households, made.BaseURL, filepath.Join(d.Data, demoFile), first.Key, first.Purposes[0])
}
