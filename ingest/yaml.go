package ingest

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// maxYAML is the largest mapping, dictionary or agreement that is read.
const maxYAML = 8 << 20

// decodeYAML reads one YAML document strictly: an unknown or repeated key is refused, with its
// line.
func decodeYAML(r io.Reader, what string, v any) error {
	text, err := io.ReadAll(io.LimitReader(r, maxYAML+1))
	if err != nil {
		return annona.Internal("read the "+what, err)
	}
	if len(text) > maxYAML {
		return annona.TooLarge("file_too_large", "the %s is larger than 8 MiB", what)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)), yaml.Strict())
	switch err := decoder.Decode(v); {
	case errors.Is(err, io.EOF):
		return annona.Invalid("file_empty", "the %s is empty", what)
	case err != nil:
		return yamlFault(what, err)
	}
	var more ast.Node
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return annona.Invalid("file_malformed", "the %s holds more than one YAML document", what)
	}
	return nil
}

// yamlFault turns an error of the YAML library into ours, keeping the line.
func yamlFault(what string, err error) error {
	var known *annona.Error
	if errors.As(err, &known) {
		return known
	}
	var fault yaml.Error
	if !errors.As(err, &fault) || fault.GetToken() == nil {
		return annona.Invalid("file_malformed", "the %s is not valid YAML", what)
	}
	line := fault.GetToken().Position.Line
	return annona.Invalid("file_malformed", "line %d of the %s: %s", line, what, inOurWords(fault)).AtPosition(line)
}

// inOurWords says what the YAML library found wrong without the names of our types.
func inOurWords(fault yaml.Error) string {
	var value *yaml.TypeError
	var node *yaml.UnexpectedNodeTypeError
	if errors.As(fault, &value) || errors.As(fault, &node) {
		return "what stands here is not of the kind that this key takes (one word, a list or a table)"
	}
	if key, ok := strings.CutPrefix(fault.GetMessage(), "unknown field "); ok {
		return "there is no key " + key + " here"
	}
	return fault.GetMessage()
}

// lineOf is the line on which a node stands.
func lineOf(node ast.Node) int { return node.GetToken().Position.Line }

// pairs returns the keys and values of a mapping node in order.
func pairs(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// scalarText returns a scalar as it is written, so that 007 and yes stay what they are; null
// is the empty text.
func scalarText(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.NullNode:
		return "", true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return node.GetToken().Value, true
	case *ast.MappingKeyNode:
		return scalarText(n.Value)
	}
	return "", false
}

// text is a scalar as it is written, whatever YAML would make of it.
type text string

func (t *text) UnmarshalYAML(node ast.Node) error {
	s, ok := scalarText(node)
	if !ok {
		return malformed(lineOf(node), "a single text is expected")
	}
	*t = text(s)
	return nil
}

// texts is one text or a list of them.
type texts []string

func (t *texts) UnmarshalYAML(node ast.Node) error {
	nodes := []ast.Node{node}
	if list, ok := node.(*ast.SequenceNode); ok {
		nodes = list.Values
	}
	for _, n := range nodes {
		text, ok := scalarText(n)
		if !ok {
			return malformed(lineOf(n), "a name or a list of names is expected")
		}
		*t = append(*t, text)
	}
	return nil
}

// words is a table from what the source writes to what it means.
type words map[string]string

func (w *words) UnmarshalYAML(node ast.Node) error {
	entries, ok := pairs(node)
	if !ok {
		return malformed(lineOf(node), "a table from the source's words to ours is expected")
	}
	*w = make(words, len(entries))
	for _, entry := range entries {
		from, okFrom := scalarText(entry.Key)
		to, okTo := scalarText(entry.Value)
		if !okFrom || !okTo {
			return malformed(lineOf(entry.Key), "each line of the table is one word, a colon and one word")
		}
		if _, twice := (*w)[from]; twice {
			return malformed(lineOf(entry.Key), "the word stands twice in the table")
		}
		(*w)[from] = to
	}
	return nil
}

func malformed(line int, format string, args ...any) *annona.Error {
	e := annona.Invalid("mapping_malformed", format, args...).AtPosition(line)
	e.Message = "line " + strconv.Itoa(line) + ": " + e.Message
	return e
}

// decodeNode decodes part of a document as strictly as the whole.
func decodeNode(node ast.Node, v any) error {
	return yaml.NodeToValue(node, v, yaml.Strict())
}
