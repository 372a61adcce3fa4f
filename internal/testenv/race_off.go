//go:build !race

package testenv

// raceDetector says whether this process was built with the race detector.
const raceDetector = false
