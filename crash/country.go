package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
)

// country is invented households. Every import writes some of them again under a mark of its
// own, into the household and into each of its members: whoever finds two marks in one
// household has found half of a transaction.
type country struct {
	households []household
	people     map[string]*person // by key
	others     []string           // all people but the first of each household
}

type household struct {
	key     string
	members []string // keys
	line    []byte   // of NDJSON, with places for the mark
}

type person struct {
	household int
	fullName  string
}

// A mark stands in sealed text and, as a number, in a field that filters use.
const (
	markPlace  = "@mark@"
	scorePlace = `"@score@"`
)

func markText(mark int) string { return fmt.Sprintf("m%07d", mark) }

// scoreText has two decimals at most and none too many, as a canonical decimal is written.
func scoreText(mark int) string {
	return strconv.FormatFloat(float64(mark%10000)/100, 'f', -1, 64)
}

// readCountry reads what the program's generator wrote.
func readCountry(in io.Reader) (*country, error) {
	c := &country{people: map[string]*person{}}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if err := c.add(lines.Bytes()); err != nil {
			return nil, err
		}
	}
	return c, lines.Err()
}

func (c *country) add(line []byte) error {
	var row map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&row); err != nil {
		return err
	}
	if !isInhabited(row) {
		return nil // it is on file and in no export
	}
	h := household{key: row["household_id"].(string)}
	row["locality"], row["poverty_score"] = h.key+" "+markPlace, "@score@"
	for i, m := range row["members"].([]any) {
		member := m.(map[string]any)
		key := member["individual_id"].(string)
		member["preferred_name"] = key + " " + markPlace
		name, _ := member["full_name"].(string)
		h.members = append(h.members, key)
		if i > 0 {
			c.others = append(c.others, key)
		}
		c.people[key] = &person{household: len(c.households), fullName: name}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(row); err != nil {
		return err
	}
	h.line = out.Bytes()
	c.households = append(c.households, h)
	return nil
}

// isInhabited reports whether somebody lives in a household: the dead belong to none.
func isInhabited(household map[string]any) bool {
	return slices.ContainsFunc(household["members"].([]any), func(m any) bool { return m.(map[string]any)["vital_status"] != "deceased" })
}

// write writes households under a mark into a file.
func (c *country) write(path string, households []int, mark int) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	for _, h := range households {
		line := bytes.ReplaceAll(c.households[h].line, []byte(markPlace), []byte(markText(mark)))
		if _, err := out.Write(bytes.Replace(line, []byte(scorePlace), []byte(scoreText(mark)), 1)); err != nil {
			return err
		}
	}
	return out.Flush()
}
