package filter

import (
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/parser"

	"github.com/annona-exchange/annona"
)

// parserDepth bounds the parser's own recursion. It leaves room for the parentheses, lists and
// field names around conditions that are MaxDepth deep.
const parserDepth = 3 * MaxDepth

// parse reads text into CEL's syntax tree. It bounds the work before it begins.
func parse(text string) (ast.Expr, source, error) {
	switch {
	case len(text) > MaxLength:
		return nil, source{}, annona.TooLarge("filter_too_large", "a filter has at most %d bytes", MaxLength)
	case !utf8.ValidString(text):
		return nil, source{}, annona.Invalid("filter_malformed", "a filter is written in UTF-8").AtPosition(1)
	case strings.TrimSpace(text) == "":
		return nil, source{}, annona.Invalid("filter_malformed", "the filter is empty; leave it out to choose every row").AtPosition(1)
	}
	p, err := parser.NewParser(
		parser.EnablePrattParser(true),          // its work grows with the text only, whatever the text is
		parser.EnableVariadicOperatorASTs(true), // a chain of && or || is one node, however long
		parser.EnableIdentEscapeSyntax(false),
		parser.MaxRecursionDepth(parserDepth),
		parser.ExpressionSizeCodePointLimit(MaxLength),
		parser.ErrorRecoveryLimit(1),
		parser.ErrorReportingLimit(1),
	)
	if err != nil {
		return nil, source{}, annona.Internal("set up the filter's parser", err)
	}
	tree, faults := p.Parse(oneLine{common.NewTextSource(text)})
	if found := faults.GetErrors(); len(found) > 0 {
		return nil, source{}, malformed(found[0])
	}
	return tree.Expr(), source{text: []rune(text), info: tree.SourceInfo()}, nil
}

// malformed says where the parser stumbled. What it says itself stays here: it repeats the text.
func malformed(fault *common.Error) error {
	if fault.Location == common.NoLocation {
		return tooDeep()
	}
	return annona.Invalid("filter_malformed", "the filter cannot be read from here on; look for a missing quote, bracket or operator (equal is ==, and is &&, or is ||, not is !)").AtPosition(fault.Location.Column() + 1)
}

func tooDeep() *annona.Error {
	return annona.TooLarge("filter_too_large", "the conditions of a filter stand at most %d deep inside one another", MaxDepth)
}

// oneLine is a text whose characters all count as of one line: a column is then a position in
// the text, and the parser need not search the lines for the place of each token, which costs
// most in a text of many short lines.
type oneLine struct{ common.Source }

func (oneLine) LineOffsets() []int32 { return nil }

func (oneLine) OffsetLocation(offset int32) (common.Location, bool) {
	return common.NewLocation(1, int(offset)), true
}

// source is the text of the filter and where in it each expression stands.
type source struct {
	text []rune
	info *ast.SourceInfo
}

// position returns where an expression begins, from 1. An expression with an operator is
// looked for at its operator.
func (s source) position(e ast.Expr) int {
	switch {
	case e.Kind() == ast.SelectKind:
		return s.position(e.AsSelect().Operand())
	case e.Kind() == ast.CallKind && e.AsCall().IsMemberFunction():
		return s.position(e.AsCall().Target())
	case e.Kind() == ast.CallKind && !isOperator(e.AsCall().FunctionName()):
		return s.beforeParenthesis(e)
	}
	return s.offset(e) + 1
}

func isOperator(function string) bool {
	_, ok := operators.FindReverse(function)
	return ok
}

// beforeParenthesis returns the position of a function's name; the parser notes the
// parenthesis behind it.
func (s source) beforeParenthesis(e ast.Expr) int {
	at := s.offset(e)
	for at > 0 && strings.ContainsRune(" \t\r\n\f", s.text[at-1]) {
		at--
	}
	return max(at-len(e.AsCall().FunctionName()), 0) + 1
}

// numeral returns a number as it was written, so that no digit passes through a float.
func (s source) numeral(e ast.Expr) string {
	at, _ := s.info.GetOffsetRange(e.ID())
	word := string(s.text[at.Start:at.Stop])
	if word != "-" {
		return word
	}
	rest := s.text[at.Stop:]
	end := 0
	for end < len(rest) && strings.ContainsRune("0123456789.eE", rest[end]) {
		end++
	}
	return word + string(rest[:end])
}

func (s source) offset(e ast.Expr) int {
	at, _ := s.info.GetOffsetRange(e.ID())
	return int(at.Start)
}
