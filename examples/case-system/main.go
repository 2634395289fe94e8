// Command case-system is a small outside case system. Its workers take their caseload along, work without a
// network, and come back with edits of what was there in the morning. It shows what becomes of those: an edit
// is merged where others have changed something else, and is a conflict with both values where they have
// changed the same. A conflict is kept until somebody resolves it.
//
// It speaks to a registry by package client alone, and keeps what a device holds in a file of its own.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/annona-exchange/annona/client"
)

func main() {
	demo := flag.String("demo", "build/demo/demo.json", "the file that annona demo has written")
	flag.Parse()
	if err := run(context.Background(), *demo, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "case-system:", err)
		os.Exit(1)
	}
}

const purpose = "case-management"

// registry opens the connection of the welfare office.
func registry(path string) (*client.Client, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var demo struct {
		BaseURL     string `json:"base_url"`
		Credentials []struct{ Agreement, Key string }
	}
	if err := json.Unmarshal(text, &demo); err != nil {
		return nil, err
	}
	for _, c := range demo.Credentials {
		if c.Agreement == "casework" {
			return client.New(demo.BaseURL, client.APIKey(c.Key), nil)
		}
	}
	return nil, errors.New("the demo has no key of the welfare office; make it anew")
}

// run plays a day of two workers, Ama and Ben, who share a case.
func run(ctx context.Context, demo string, out io.Writer) error {
	office, err := registry(demo)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "case-system-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	ama, ben := &device{path: filepath.Join(folder, "ama.json")}, &device{path: filepath.Join(folder, "ben.json")}

	fmt.Fprintln(out, "Morning. Both devices take the caseload along.")
	var shared string
	for _, d := range []*device{ama, ben} {
		if err := d.take(ctx, office); err != nil {
			return err
		}
		shared = d.Cases[0].ID
	}
	fmt.Fprintf(out, "  %d open cases; they share %v.\n", len(ama.Cases), ama.Cases[0].Fields["case_number"])

	fmt.Fprintln(out, "Noon. Nobody has a network. Ama sets the priority, Ben plans the next review.")
	priority, review := other(ama.Cases[0], "priority", "high", "critical"), other(ben.Cases[0], "next_review_date", "2027-03-01", "2027-03-02")
	if err := errors.Join(ama.edit(shared, "priority", priority), ben.edit(shared, "next_review_date", review)); err != nil {
		return err
	}
	fmt.Fprintln(out, "Evening. Both are back. Other parts of the case: the late edit is merged.")
	if err := errors.Join(ama.send(ctx, office, "Ama", out), ben.send(ctx, office, "Ben", out)); err != nil {
		return err
	}

	fmt.Fprintln(out, "The next day they set the same date, and not to the same.")
	for _, d := range []*device{ama, ben} {
		if err := d.take(ctx, office); err != nil {
			return err
		}
	}
	first, second := other(ama.Cases[0], "due_date", "2027-04-01", "2027-04-03"), other(ama.Cases[0], "due_date", "2027-04-02", "2027-04-04")
	if err := errors.Join(ama.edit(shared, "due_date", first), ben.edit(shared, "due_date", second)); err != nil {
		return err
	}
	if err := errors.Join(ama.send(ctx, office, "Ama", out), ben.send(ctx, office, "Ben", out)); err != nil {
		return err
	}
	fmt.Fprintln(out, "Ben looks at what is kept of his edit, and decides: his value holds.")
	return ben.resolve(ctx, office, "Ben", out)
}

// other is a value that the case does not have yet.
func other(of client.Case, field, first, second string) string {
	if of.Fields[field] == first {
		return second
	}
	return first
}

// device is what a worker carries: cases as they were read, and edits that wait for a network. It lies in a
// file, so that it outlives the day.
type device struct {
	Cases []client.Case
	Edits []edit

	path string
}

// edit is a change of a case that a worker has made without a network.
type edit struct {
	Key   string // of the request: the edit takes effect once, however often it is sent
	Case  client.Case
	Patch map[string]any
	// Conflict is the id of what is kept of an edit that has clashed; empty: it has not been sent, or has not clashed.
	Conflict string
}

// carried is how many cases a device takes along.
const carried = 5

// take reads the caseload, each case with the ETag of the version that is read.
func (d *device) take(ctx context.Context, office *client.Client) error {
	all, err := office.Caseload(ctx, purpose, "")
	if err != nil {
		return err
	}
	d.Cases = nil
	for _, c := range all[:min(carried, len(all))] {
		read, err := office.Case(ctx, purpose, c.ID)
		if err != nil {
			return err
		}
		d.Cases = append(d.Cases, read)
	}
	if len(d.Cases) == 0 {
		return errors.New("the office has no open cases")
	}
	return d.save()
}

// edit changes a case on the device alone.
func (d *device) edit(id, field string, value any) error {
	at := slices.IndexFunc(d.Cases, func(c client.Case) bool { return c.ID == id })
	if at < 0 {
		return errors.New("the device does not carry this case")
	}
	d.Edits = append(d.Edits, edit{Key: fmt.Sprintf("%s-%d", filepath.Base(d.path), time.Now().UnixNano()), Case: d.Cases[at], Patch: map[string]any{field: value}})
	return d.save()
}

// send sends the edits that wait. One that is a conflict stays, until it is resolved.
func (d *device) send(ctx context.Context, office *client.Client, who string, out io.Writer) error {
	var left []edit
	for _, e := range d.Edits {
		done, err := office.EditCase(ctx, purpose, e.Case, e.Key, e.Patch)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s: %s\n", who, done.Verdict)
		for _, c := range done.Conflicts {
			fmt.Fprintf(out, "    %s was %v; theirs is %v, yours is %v\n", c.Field, c.Read, c.Theirs, c.Yours)
		}
		if done.Verdict == "conflict" {
			e.Conflict = done.Conflict
			left = append(left, e)
		}
	}
	d.Edits = left
	return d.save()
}

// resolve decides the worker's conflicts for the worker's own values: what is kept of each is shown, and takes effect.
func (d *device) resolve(ctx context.Context, office *client.Client, who string, out io.Writer) error {
	for len(d.Edits) > 0 {
		e := d.Edits[0]
		open, err := office.OpenConflicts(ctx, purpose, e.Case.ID)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(open, func(c client.KeptConflict) bool { return c.ID == e.Conflict })
		if at < 0 {
			return errors.New("somebody else has resolved the conflict")
		}
		for _, p := range open[at].Parts {
			fmt.Fprintf(out, "    %s: %v since %s; wanted is %v\n", p.Field, p.Now, p.Since.Format(time.TimeOnly), p.After)
		}
		state, err := office.Resolve(ctx, purpose, open[at], e.Key+"-resolved", "approve", "seen_document")
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s: %s\n", who, state)
		d.Edits = d.Edits[1:]
	}
	return d.save()
}

// save replaces the file in one step.
func (d *device) save() error {
	text, err := json.Marshal(d)
	if err == nil {
		err = os.WriteFile(d.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(d.path+".new", d.path)
	}
	return err
}
