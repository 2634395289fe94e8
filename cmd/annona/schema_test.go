package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func validateXSD(t *testing.T, schema, document []byte) {
	t.Helper()
	xmllint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Log("xmllint is not installed: the XSD was not used")
		return
	}
	folder := t.TempDir()
	for name, content := range map[string][]byte{"schema.xsd": schema, "document.xml": document} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := exec.Command(xmllint, "--noout", "--nonet", "--huge", "--schema", "schema.xsd", "document.xml")
	check.Dir = folder
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("xmllint: %v: %.600s", err, out)
	}
}

func validateJSON(t *testing.T, schema, document []byte) {
	t.Helper()
	source, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("schema.json", source); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(instance); err != nil {
		t.Errorf("the export does not follow the JSON Schema: %.600s", err)
	}
}
