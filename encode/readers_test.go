package encode

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/annona-exchange/annona"
)

// The readers of the standard library share no code with the writers under test. Each reads a
// document back into items.

func readJSON(document []byte, shape *annona.Shape) ([]item, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(document, &top); err != nil {
		return nil, err
	}
	var records []map[string]any
	d := json.NewDecoder(bytes.NewReader(top[shape.Dataset.Name]))
	d.UseNumber()
	if err := d.Decode(&records); err != nil {
		return nil, err
	}
	return itemsOfJSON(records), nil
}

func readNDJSON(document []byte) ([]item, error) {
	var records []map[string]any
	for line := range bytes.Lines(document) {
		var r map[string]any
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&r); err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return itemsOfJSON(records), nil
}

func itemsOfJSON(records []map[string]any) []item {
	items := []item{}
	for _, r := range records {
		it := item{}
		for name, value := range r {
			it[name] = valueOfJSON(value)
		}
		items = append(items, it)
	}
	return items
}

func valueOfJSON(value any) any {
	list, ok := value.([]any)
	if !ok {
		return fmt.Sprint(value) // string, json.Number or bool
	}
	if _, groups := list[0].(map[string]any); !groups {
		var values []string
		for _, v := range list {
			values = append(values, v.(string))
		}
		return values
	}
	var records []map[string]any
	for _, v := range list {
		records = append(records, v.(map[string]any))
	}
	return itemsOfJSON(records)
}

// element is any XML element.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Elements []element  `xml:",any"`
	Text     string     `xml:",chardata"`
}

func readXML(document []byte, shape *annona.Shape) ([]item, error) {
	var root element
	if err := xml.Unmarshal(document, &root); err != nil {
		return nil, err
	}
	if root.XMLName.Local != shape.Dataset.Name || root.XMLName.Space != "" {
		return nil, fmt.Errorf("the root element is %v", root.XMLName)
	}
	return itemsOfXML(root.Elements, shape.Dataset.Noun, shape)
}

func itemsOfXML(elements []element, name string, shape *annona.Shape) ([]item, error) {
	items := []item{}
	for _, e := range elements {
		if e.XMLName.Local != name {
			return nil, fmt.Errorf("an element %s among %s", e.XMLName.Local, name)
		}
		it := item{}
		for _, field := range e.Elements {
			code := field.XMLName.Local
			value, err := valueOfXML(field, shape)
			if err != nil {
				return nil, err
			}
			it[code] = value
		}
		items = append(items, it)
	}
	return items, nil
}

func valueOfXML(e element, shape *annona.Shape) (any, error) {
	code := e.XMLName.Local
	if i := shape.Group(code); i >= 0 {
		g := shape.Groups[i]
		return itemsOfXML(e.Elements, g.Field.Item(), g.Shape)
	}
	i := shape.Column(code)
	if i < 0 {
		return nil, errors.New("an element of no field: " + code)
	}
	if !shape.Columns[i].Many {
		return e.Text, nil
	}
	var values []string
	for _, v := range e.Elements {
		values = append(values, v.Text)
	}
	return values, nil
}

// readCSV reads one file; columns says what is in it.
func readCSV(document []byte, columns []*annona.Field) ([]item, error) {
	r := csv.NewReader(bytes.NewReader(document))
	header, err := r.Read()
	if err != nil {
		return nil, err
	}
	if len(header) != len(columns) {
		return nil, fmt.Errorf("%d columns instead of %d", len(header), len(columns))
	}
	items := []item{}
	for {
		cells, err := r.Read()
		if err == io.EOF {
			return items, nil
		}
		if err != nil {
			return nil, err
		}
		it := item{}
		for i, f := range columns {
			switch {
			case cells[i] == "":
			case f.Many:
				it[header[i]] = strings.Split(cells[i], string(annona.ListMark))
			default:
				it[header[i]] = cells[i]
			}
		}
		items = append(items, it)
	}
}

// asGoReadsCSV is what encoding/csv makes of a value: it joins CR LF inside quotes into LF.
func asGoReadsCSV(items []item) []item {
	out := []item{}
	for _, it := range items {
		read := item{}
		for name, value := range it {
			switch v := value.(type) {
			case string:
				read[name] = strings.ReplaceAll(v, "\r\n", "\n")
			case []string:
				joined := strings.ReplaceAll(strings.Join(v, ";"), "\r\n", "\n")
				read[name] = strings.Split(joined, ";")
			}
		}
		out = append(out, read)
	}
	return out
}

// only returns the items without what is not among the columns.
func only(items []item, columns []*annona.Field) []item {
	out := []item{}
	for _, it := range items {
		kept := item{}
		for _, f := range columns {
			if v, ok := it[f.Code]; ok {
				kept[f.Code] = v
			}
		}
		out = append(out, kept)
	}
	return out
}
