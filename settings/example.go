package settings

import _ "embed"

// Example is a commented configuration file with every key. It is only read.
//
//go:embed example.yaml
var Example []byte
