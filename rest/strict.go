package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// maxNesting bounds how deep a body may nest.
const maxNesting = 32

var errJSON = errors.New("not one JSON value in UTF-8 that has each member once")

// unmarshalStrictly reads JSON that means one thing only: a member that stands twice would be
// read differently by different readers.
func unmarshalStrictly(data []byte, into any) error {
	if !utf8.Valid(data) {
		return errJSON
	}
	tokens := json.NewDecoder(bytes.NewReader(data))
	tokens.UseNumber()
	if err := readValue(tokens, 0); err != nil {
		return err
	}
	if _, err := tokens.Token(); err != io.EOF {
		return errJSON
	}
	return json.Unmarshal(data, into)
}

// readValue reads one value and all that nests in it.
func readValue(tokens *json.Decoder, depth int) error {
	token, err := tokens.Token()
	if err != nil || depth > maxNesting {
		return errJSON
	}
	opening, nests := token.(json.Delim)
	if !nests {
		return nil
	}
	seen := map[string]bool{}
	for tokens.More() {
		if opening == '{' {
			if err := readName(tokens, seen); err != nil {
				return err
			}
		}
		if err := readValue(tokens, depth+1); err != nil {
			return err
		}
	}
	if _, err := tokens.Token(); err != nil {
		return errJSON
	}
	return nil
}

func readName(tokens *json.Decoder, seen map[string]bool) error {
	token, err := tokens.Token()
	if err != nil {
		return errJSON
	}
	name, _ := token.(string)
	if seen[name] {
		return errJSON
	}
	seen[name] = true
	return nil
}
