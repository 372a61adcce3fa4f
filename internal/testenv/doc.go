// Package testenv runs real components, on loopback and on free ports, for
// tests, benchmarks and the demo.
//
// Nothing that it starts outlives the process that started it.
package testenv
