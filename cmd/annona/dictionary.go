package main

import (
	"context"
	"fmt"
	"os"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/schema"
)

type dictionaryCommand struct {
	Print dictionaryPrint `cmd:"" default:"withargs" help:"Print every field: the standard's, or a registry's with --data."`
	Apply dictionaryApply `cmd:"" help:"Declare a country's attributes, code lists, authorities and identifier types."`
}

type dictionaryPrint struct {
	Data     string `type:"path" placeholder:"DIR" help:"Data folder, to see its declared attributes too."`
	Database string `placeholder:"URL" help:"PostgreSQL database of the registry, beside its data folder."`
	databaseFlags
	Markdown bool `help:"Print docs/spec/dictionary.md."`
}

func (p dictionaryPrint) Run(ctx context.Context, c console) error {
	if p.Data == "" {
		return p.print(c, annona.Standard())
	}
	return dataFlag{p.Data, p.Database, p.databaseFlags}.with(ctx, func(f *folder) error { return p.print(c, f.gate.CurrentDictionary()) })
}

func (p dictionaryPrint) print(c console, d *annona.Dictionary) error {
	if p.Markdown {
		return schema.Markdown(c.out, d)
	}
	return schema.Text(c.out, d)
}

type dictionaryApply struct {
	dataFlag
	File string `arg:"" type:"existingfile" help:"Declared attributes, as YAML; see examples/ghana-glss/dictionary.yaml."`
}

func (a dictionaryApply) Run(ctx context.Context, c console) error {
	file, err := os.Open(a.File)
	if err != nil {
		return annona.Invalid("file_unreadable", "the dictionary file cannot be read: %s", reason(err))
	}
	defer file.Close()
	extension, err := ingest.ParseDictionary(file)
	if err != nil {
		return err
	}
	return a.with(ctx, func(f *folder) error {
		before := f.gate.CurrentDictionary()
		extended, err := f.gate.Declare(ctx, operator(), extension)
		if err != nil {
			return err
		}
		if extended == before {
			_, err = fmt.Fprintf(c.out, "Nothing changed: the dictionary declares all of it already; the schema version is %d.\n", extended.Version)
			return err
		}
		_, err = fmt.Fprintf(c.out, "The dictionary has %d attributes and %d code lists of %s; the schema version is %d.\n",
			len(extension.Fields), len(extension.CodeLists), extension.Country, extended.Version)
		if n := len(extension.IdentifierTypes); err == nil && n > 0 {
			_, err = fmt.Fprintf(c.out, "It declares %d identifier types; records are checked when their sources report them again.\n", n)
		}
		return err
	})
}
