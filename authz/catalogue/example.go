package catalogue

import _ "embed" // for Example

// Example is a commented catalogue file that shows every key.
//
//go:embed example.yaml
var Example []byte
