package ingest

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// plain turns what was parsed into what encoding/json makes of the same text.
func plain(v *jsonValue) any {
	switch v.kind {
	case jsonFalse, jsonTrue:
		return v.kind == jsonTrue
	case jsonNumber:
		return json.Number(v.text)
	case jsonString:
		return v.text
	case jsonList:
		list := []any{}
		for item := v.first; item != nil; item = item.next {
			list = append(list, plain(item))
		}
		return list
	case jsonObject:
		object := map[string]any{}
		for member := v.first; member != nil; member = member.next {
			object[member.name] = plain(member)
		}
		return object
	}
	return nil
}

// reference parses a line with encoding/json.
func reference(line []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	var object map[string]any
	if decoder.Decode(&object) != nil || object == nil {
		return nil
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil
	}
	return object
}

func compareWithReference(t *testing.T, p *jsonParser, line []byte) {
	t.Helper()
	if !utf8.Valid(line) {
		return // refused before it is parsed
	}
	var got any
	if v := p.parse(string(line)); v != nil {
		got = plain(v)
	}
	if want := reference(line); !reflect.DeepEqual(got, want) {
		t.Errorf("%q: got %v, want %v", line, got, want)
	}
}

const jsonSample = ` {"a":"x","b":[1,-0.5e+7,0,true,false,null,{"c":"dé\n\"q\""},[]],"a":"later","n":{"a":{},"":"empty name"},"z":12345678901234567890.10,"é":"` + "\u2028" + `"} `

var jsonLines = []string{
	``, ` `, `{}`, `[]`, `"x"`, `null`, `{} {}`, `{}x`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":[1,]}`, `{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`,
	`{"a":1e}`, `{"a":+1}`, `{"a":nul}`, `{"a":truex}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\ud800"}`, `{"a":"` + "\x01" + `"}`, `{"a":"open`, `{"a":"open\"`,
	`{"a":1 "b":2}`, `{"a":1;"b":2}`, `{a:1}`, `{"a":{"b":[{"c":null}]}}`, `{"a":1,"a":null}`, `{"\u0061":1,"a":2}`, `{"ab":1,"Ca":2,"ab":3,"b":4}`, jsonSample,
}

func TestJSONIsReadAsTheLibraryReadsIt(t *testing.T) {
	p := &jsonParser{}
	for _, line := range jsonLines {
		compareWithReference(t, p, []byte(line))
	}
	random := rand.New(rand.NewPCG(3, 4))
	const pieces = `{}[]",:\ntfu0123e.-+ax` + "\x00"
	for range 200_000 {
		line := []byte(jsonSample)
		for range 1 + random.IntN(3) {
			at := random.IntN(len(line))
			switch random.IntN(3) {
			case 0:
				line[at] = pieces[random.IntN(len(pieces))]
			case 1:
				line = append(line[:at], line[at+1:]...)
			default:
				line = append(line[:at], append([]byte{pieces[random.IntN(len(pieces))]}, line[at:]...)...)
			}
		}
		compareWithReference(t, p, line)
	}
}

func FuzzJSON(f *testing.F) {
	for _, line := range jsonLines {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.Count(line, []byte("[")) < maxDepth && bytes.Count(line, []byte("{")) < maxDepth {
			compareWithReference(t, &jsonParser{}, line)
		}
	})
}

// A line that opens more brackets than anybody needs is refused, and does no harm.
func TestJSONHasADepth(t *testing.T) {
	p := &jsonParser{}
	if p.parse(`{"a":`+strings.Repeat("[", 900)+strings.Repeat("]", 900)+`}`) == nil {
		t.Error("900 lists in each other were refused")
	}
	if p.parse(`{"a":`+strings.Repeat("[", 4<<20)+`}`) != nil {
		t.Error("four million open brackets were taken")
	}
}

// Members are found in whatever order they are asked for.
func TestMembersAreFoundInAnyOrder(t *testing.T) {
	v := (&jsonParser{}).parse(`{"a":1,"b":2,"c":null,"d":4}`)
	for _, name := range strings.Split("a b c d d c b a x d a a c x b d", " ") {
		want := map[string]string{"a": "1", "b": "2", "d": "4"}[name]
		if got := jsonText(v.member(name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
