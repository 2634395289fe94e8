package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// flatTable returns the name of a table in the registry's database that holds the same columns of
// the same rows, made from our own CSV once per data set.
func (b *bench) flatTable(ctx context.Context, set *dataset) (string, error) {
	table := "public.flat_" + fingerprint()
	found, err := set.cluster.query(ctx, set.database(), "SELECT to_regclass('"+table+"') IS NOT NULL")
	if err != nil || found == "t" {
		return table, err
	}
	note("making %s of %s, once", table, set.database())
	err = b.received(ctx, set, func(csv string) error { return set.cluster.loadFlat(ctx, csv, set, table) })
	if err != nil {
		return "", err
	}
	return table, set.cluster.settle(ctx, set.database())
}

// types are those that a database gives the columns that are not text.
var types = map[string]string{
	"registration_date": "date", "as_of": "date", "date_of_birth": "date", "in_school": "boolean", "is_disabled": "boolean",
	"last_updated": "timestamptz",
}

// loadFlat makes the table of a CSV file in one transaction and checks that every row arrived.
func (c *cluster) loadFlat(ctx context.Context, csv string, set *dataset, table string) error {
	file, err := os.Open(csv)
	if err != nil {
		return err
	}
	defer file.Close()
	header, err := bufio.NewReader(file).ReadString('\n')
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, 0); err != nil {
		return err
	}
	var typed []string
	for _, column := range strings.Split(strings.TrimSpace(header), ",") {
		kind, other := types[column]
		if !other {
			kind = "text"
		}
		typed = append(typed, column+" "+kind)
	}
	if len(typed) != len(columns) {
		return fmt.Errorf("the export has %d columns, not %d", len(typed), len(columns))
	}
	load := c.psql(ctx, set.database(), "--single-transaction", "-c", "CREATE TABLE "+table+" ("+strings.Join(typed, ", ")+")",
		"-c", "COPY "+table+" FROM STDIN (FORMAT csv, HEADER)", "-c", "SELECT count(*) FROM "+table)
	load.Stdin = file
	out, err := output(load)
	if got := string(lastLine(out)); err == nil && got != fmt.Sprint(set.size) {
		return fmt.Errorf("the CSV export has %s rows, not %d", got, set.size)
	}
	return err
}

// copyOut has psql write the table as CSV into nowhere.
func (c *cluster) copyOut(ctx context.Context, set *dataset, table string) (time.Duration, error) {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer nowhere.Close()
	cmd := c.psql(ctx, set.database(), "-c", "COPY (SELECT * FROM "+table+") TO STDOUT (FORMAT csv, HEADER)")
	cmd.Stdout, cmd.Stderr = nowhere, os.Stderr
	started := time.Now()
	err = cmd.Run()
	return time.Since(started), err
}

// overCopy compares the wall time of a download from a store with that of COPY writing the same
// columns of the same rows as CSV from a flat table: the median ratio.
func (b *bench) overCopy(store, format string) measurement {
	return func(ctx context.Context) (float64, error) {
		beside, err := b.dataset(ctx, country{postgres, large})
		if err != nil {
			return 0, err
		}
		table, err := b.flatTable(ctx, beside)
		if err != nil {
			return 0, err
		}
		return b.compare(ctx, country{store, large}, format, "COPY", func() (time.Duration, error) {
			return beside.cluster.copyOut(ctx, beside, table)
		})
	}
}
