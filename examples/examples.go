// Package examples holds the mappings, agreements and small files that the documentation
// speaks of, so that the program carries those that its demo uses.
package examples

import "embed"

// Files are the agreements and the programs.
//
//go:embed agreements/*.yaml programs/*/program.yaml
var Files embed.FS
