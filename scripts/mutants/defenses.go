package main

import (
	"fmt"
	"os"
	"strings"
)

// defensesFile lists the mutants that no test can notice: something else behind them holds the same rule. A
// line for the mutant, as the tool prints it, and indented below it the reason.
const defensesFile = "scripts/mutants/second.txt"

// readDefenses returns the reasons by the keys of their mutants. An entry of a mutant that is not there is an
// error.
func readDefenses(mutants []*mutant) (map[string]string, error) {
	text, err := os.ReadFile(defensesFile)
	if err != nil {
		return nil, err
	}
	return parseDefenses(string(text), mutants)
}

func parseDefenses(text string, mutants []*mutant) (map[string]string, error) {
	known := map[string]bool{}
	for _, m := range mutants {
		known[m.key()] = true
	}
	reasons := map[string]string{}
	key := ""
	for line := range strings.Lines(text) {
		said := strings.TrimSpace(line)
		switch {
		case said == "" || strings.HasPrefix(said, "#"):
		case line[0] == ' ' || line[0] == '\t':
			reasons[key] = strings.TrimSpace(reasons[key] + " " + said)
		case !known[said]:
			return nil, fmt.Errorf("%s: there is no such decision any more: %s", defensesFile, said)
		default:
			if _, twice := reasons[said]; twice {
				return nil, fmt.Errorf("%s: it stands there twice: %s", defensesFile, said)
			}
			key, reasons[said] = said, ""
		}
	}
	for key, reason := range reasons {
		if reason == "" {
			return nil, fmt.Errorf("%s: it has no reason: %s", defensesFile, key)
		}
	}
	return reasons, nil
}
