package main

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// metadata is as much of CSV on the Web as a reader needs to check a file.
type metadata struct {
	metadataTable
	Tables []metadataTable
}

type metadataTable struct {
	URL         string
	TableSchema struct {
		Columns     []metadataColumn
		PrimaryKey  any
		ForeignKeys []struct {
			ColumnReference string
			Reference       struct{ Resource, ColumnReference string }
		}
	}
}

type metadataColumn struct {
	Name, Separator string
	Datatype        json.RawMessage
	Required        bool

	base   string
	format *regexp.Regexp // of texts
}

// readByMetadata reads files as their metadata says: these columns in this order, every cell of
// its datatype, keys unique and foreign keys met.
func readByMetadata(t *testing.T, document []byte, files map[string]table) {
	t.Helper()
	var m metadata
	if err := json.Unmarshal(document, &m); err != nil {
		t.Fatal(err)
	}
	if m.Tables == nil {
		m.Tables = []metadataTable{m.metadataTable}
	}
	if len(m.Tables) != len(files) {
		t.Errorf("%d files, %d described", len(files), len(m.Tables))
	}
	for _, described := range m.Tables {
		file, ok := files[described.URL]
		if !ok {
			t.Errorf("%s is described and not there", described.URL)
			continue
		}
		if err := described.check(file); err != nil {
			t.Errorf("%s: %v", described.URL, err)
		}
		for _, key := range described.TableSchema.ForeignKeys {
			if err := refers(file, key.ColumnReference, files[key.Reference.Resource], key.Reference.ColumnReference); err != nil {
				t.Errorf("%s: %v", described.URL, err)
			}
		}
	}
}

func (m metadataTable) check(file table) error {
	columns := m.TableSchema.Columns
	var names []string
	for i := range columns {
		if err := columns[i].compile(); err != nil {
			return err
		}
		names = append(names, columns[i].Name)
	}
	if !slices.Equal(names, file.header) {
		return fmt.Errorf("the header is %v, described is %v", file.header, names)
	}
	key, keys := -1, map[string]bool{}
	if name, ok := m.TableSchema.PrimaryKey.(string); ok {
		key = file.column(name)
	}
	for n, row := range file.rows {
		for i, cell := range row {
			if err := columns[i].read(cell); err != nil {
				return fmt.Errorf("row %d, column %s: %w", n+2, columns[i].Name, err)
			}
		}
		if key < 0 {
			continue
		}
		if keys[row[key]] {
			return fmt.Errorf("row %d has a primary key that is there already", n+2)
		}
		keys[row[key]] = true
	}
	return nil
}

func (c *metadataColumn) compile() error {
	if json.Unmarshal(c.Datatype, &c.base) == nil {
		return nil
	}
	var of struct{ Base, Format string }
	if err := json.Unmarshal(c.Datatype, &of); err != nil {
		return err
	}
	c.base = of.Base
	if of.Base != "string" || of.Format == "" {
		return nil
	}
	format, err := regexp.Compile("^(?:" + of.Format + ")$")
	c.format = format
	return err
}

func (c *metadataColumn) read(cell string) error {
	if cell == "" {
		if c.Required {
			return fmt.Errorf("nothing in a required column")
		}
		return nil
	}
	values := []string{cell}
	if c.Separator != "" {
		values = strings.Split(cell, c.Separator)
	}
	for _, value := range values {
		if !c.holds(value) {
			return fmt.Errorf("a value is no %s", c.base)
		}
	}
	return nil
}

func (c *metadataColumn) holds(value string) bool {
	var err error
	switch c.base {
	case "string":
		return c.format == nil || c.format.MatchString(value)
	case "integer", "long", "int":
		_, err = strconv.ParseInt(value, 10, 64)
	case "decimal":
		_, ok := new(big.Rat).SetString(value)
		return ok && !strings.ContainsAny(value, "eE/")
	case "boolean":
		return value == "true" || value == "false"
	case "date":
		_, err = time.Parse(time.DateOnly, value)
	case "dateTime", "dateTimeStamp":
		_, err = time.Parse(time.RFC3339, value)
	default:
		return false
	}
	return err == nil
}

// refers holds that each value of a column is in the column of the other file.
func refers(file table, column string, other table, otherColumn string) error {
	from, to := file.column(column), other.column(otherColumn)
	if from < 0 || to < 0 {
		return fmt.Errorf("the key %s has no column on both sides", column)
	}
	have := map[string]bool{"": true}
	for _, row := range other.rows {
		have[row[to]] = true
	}
	for n, row := range file.rows {
		if !have[row[from]] {
			return fmt.Errorf("row %d refers to nothing by %s", n+2, column)
		}
	}
	return nil
}
