package ingest

import (
	"io"

	"github.com/goccy/go-yaml"

	"github.com/annona-exchange/annona"
)

// ParsePolicy reads a policy: what each role may do. It checks the form only: that its fields and
// conditions exist is checked when it is applied.
func ParsePolicy(r io.Reader) (annona.Policy, error) {
	var p annona.Policy
	err := decodeYAML(r, "policy", &p)
	return p, err
}

// ParseProgram reads a program with its cycles. It checks the form only.
func ParseProgram(r io.Reader) (annona.Program, error) {
	var p annona.Program
	err := decodeYAML(r, "program", &p)
	return p, err
}

// WritePolicy writes a policy as ParsePolicy reads it.
func WritePolicy(w io.Writer, p annona.Policy) error {
	if err := yaml.NewEncoder(w, yaml.Indent(2)).Encode(p); err != nil {
		return annona.Internal("write the policy", err)
	}
	return nil
}

// ParseIdentityProvider reads what the tokens of an identity provider count for. It checks the form only.
func ParseIdentityProvider(r io.Reader) (annona.IdentityProvider, error) {
	var p annona.IdentityProvider
	err := decodeYAML(r, "identity provider", &p)
	return p, err
}
