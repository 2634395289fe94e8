package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
)

// The readers here are the standard library's: they know nothing of the encoders.

// item is a record, or an item of a group, as a reader finds it.
type item struct {
	values map[string]string // several values joined by a semicolon
	groups map[string][]item
}

func newItem() item { return item{map[string]string{}, map[string][]item{}} }

// records reads an export in one of the nested formats.
func records(t testing.TB, format, dataset string, body []byte) iter.Seq[item] {
	read := map[string]func([]byte, string, func(item) bool) error{"json": readJSON, "ndjson": readNDJSON, "xml": readXML}[format]
	return func(yield func(item) bool) {
		if err := read(body, dataset, yield); err != nil {
			t.Errorf("%s as %s: %v", dataset, format, err)
		}
	}
}

// readJSON reads one object whose only list is the records.
func readJSON(body []byte, dataset string, yield func(item) bool) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return errors.New("the document is no object")
	}
	lists := 0
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		token, err := d.Token()
		if err != nil {
			return err
		}
		if token != json.Delim('[') {
			continue
		}
		if lists++; name != dataset || lists > 1 {
			return fmt.Errorf("a top-level list is named %v", name)
		}
		for d.More() {
			var object map[string]any
			if err := d.Decode(&object); err != nil {
				return err
			}
			if !yield(itemOf(object)) {
				return nil
			}
		}
		if _, err := d.Token(); err != nil {
			return err
		}
	}
	if token, err := d.Token(); err != nil || token != json.Delim('}') {
		return errors.New("the object has no end")
	}
	if _, err := d.Token(); err != io.EOF || lists != 1 {
		return errors.New("there is more than one object, or no list")
	}
	return nil
}

func readNDJSON(body []byte, _ string, yield func(item) bool) error {
	if len(body) > 0 && body[len(body)-1] != '\n' {
		return errors.New("the last line has no end")
	}
	for line := range bytes.Lines(body) {
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		var object map[string]any
		if err := d.Decode(&object); err != nil {
			return err
		}
		if !yield(itemOf(object)) {
			return nil
		}
	}
	return nil
}

func itemOf(object map[string]any) item {
	r := newItem()
	for name, value := range object {
		list, isList := value.([]any)
		if !isList {
			r.values[name] = fmt.Sprint(value)
			continue
		}
		var texts []string
		for _, element := range list {
			if nested, isObject := element.(map[string]any); isObject {
				r.groups[name] = append(r.groups[name], itemOf(nested))
			} else {
				texts = append(texts, fmt.Sprint(element))
			}
		}
		if texts != nil {
			r.values[name] = strings.Join(texts, ";")
		}
	}
	return r
}

// element is an element of XML with all in it.
type element struct {
	name     string
	text     strings.Builder
	children []*element
}

// readXML reads a root whose children are the records; only they have their name.
func readXML(body []byte, dataset string, yield func(item) bool) error {
	noun := strings.TrimSuffix(dataset, "s")
	d := xml.NewDecoder(bytes.NewReader(body))
	var open []*element
	for {
		token, err := d.Token()
		if err == io.EOF && len(open) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if isRecord := len(open) == 1; isRecord != (token.Name.Local == noun) || len(open) == 0 && token.Name.Local != dataset {
				return fmt.Errorf("an element %s at depth %d", token.Name.Local, len(open))
			}
			e := &element{name: token.Name.Local}
			if len(open) > 1 {
				parent := open[len(open)-1]
				parent.children = append(parent.children, e)
			}
			open = append(open, e)
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text.Write(token)
			}
		case xml.EndElement:
			e := open[len(open)-1]
			open = open[:len(open)-1]
			if len(open) == 1 && !yield(e.item()) {
				return nil
			}
		}
	}
}

func (e *element) item() item {
	r := newItem()
	for _, field := range e.children {
		var texts []string
		for _, c := range field.children {
			if c.name == "value" && len(c.children) == 0 {
				texts = append(texts, c.text.String())
			} else {
				r.groups[field.name] = append(r.groups[field.name], c.item())
			}
		}
		switch {
		case texts != nil:
			r.values[field.name] = strings.Join(texts, ";")
		case field.children == nil:
			r.values[field.name] = field.text.String()
		}
	}
	return r
}
