// Package webhook tells other systems of events by signed requests, as the Standard
// Webhooks specification describes them.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a notice.
const (
	IDHeader        = "Webhook-Id"        // the same in each attempt: receivers drop what they know
	TimestampHeader = "Webhook-Timestamp" // of the attempt, in Unix seconds
	SignatureHeader = "Webhook-Signature" // "v1,<base64>", several of them separated by spaces
)

// Tolerance is how far a notice's time may be from the receiver's.
const Tolerance = 5 * time.Minute

// Bounds of what is verified.
const (
	minKeyBytes       = 24 // as the specification demands; without, an empty key would verify
	maxIDBytes        = 256
	maxSignatureBytes = 2 << 10 // about forty signatures
)

// Errors of a notice that isn't to be believed.
var (
	// ErrHeaders: they are missing, there twice, or malformed.
	ErrHeaders = errors.New("webhook headers")
	// ErrTimestamp: it was sent too long ago, or is from the future: a replay, or clocks
	// that differ.
	ErrTimestamp = errors.New("webhook timestamp")
	// ErrSignature: none of the signatures is one of the keys over this id, time and body.
	ErrSignature = errors.New("webhook signature")
)

// Sign sets the headers of a notice, with one signature for each key: while keys are
// replaced, receivers with the old one and with the new one verify it.
func Sign(header http.Header, keys [][]byte, id string, at time.Time, body []byte) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	if err := checkID(id); err != nil {
		return err
	}
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, 0, len(keys))
	for _, key := range keys {
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac(key, id, timestamp, body)))
	}
	header.Set(IDHeader, id)
	header.Set(TimestampHeader, timestamp)
	header.Set(SignatureHeader, strings.Join(signatures, " "))
	return nil
}

// Verify reports whether a notice was signed with one of the keys, over exactly this
// body, at most tolerance ago. A receiver must also drop ids that it knows: within
// the tolerance a notice can be sent again by anybody who saw it.
func Verify(keys [][]byte, header http.Header, body []byte, now time.Time, tolerance time.Duration) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	id, timestamp, signatures, err := read(header)
	if err != nil {
		return err
	}
	if err := checkTimestamp(timestamp, now, tolerance); err != nil {
		return err
	}
	for _, key := range keys {
		want := mac(key, id, timestamp, body)
		for signature := range strings.SplitSeq(signatures, " ") {
			if verifies(signature, want) {
				return nil
			}
		}
	}
	return ErrSignature
}

// read takes the headers, each of which must be there once: with two, one reader may
// verify the first and another believe the second.
func read(header http.Header) (id, timestamp, signatures string, err error) {
	values := [3]string{}
	for i, name := range [...]string{IDHeader, TimestampHeader, SignatureHeader} {
		lines := header.Values(name)
		if len(lines) != 1 || lines[0] == "" {
			return "", "", "", fmt.Errorf("%w: %s is there %d times, not once", ErrHeaders, strings.ToLower(name), len(lines))
		}
		values[i] = lines[0]
	}
	if len(values[2]) > maxSignatureBytes {
		return "", "", "", fmt.Errorf("%w: %s has more than %d bytes", ErrHeaders, strings.ToLower(SignatureHeader), maxSignatureBytes)
	}
	return values[0], values[1], values[2], checkID(values[0])
}

func checkTimestamp(text string, now time.Time, tolerance time.Duration) error {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != text {
		return fmt.Errorf("%w: %s is no number of seconds", ErrHeaders, strings.ToLower(TimestampHeader))
	}
	const ages = 1 << 40 // seconds; beyond it the difference of two times would overflow
	if seconds < 0 || seconds > ages {
		return fmt.Errorf("%w: out of range", ErrTimestamp)
	}
	switch age := now.Sub(time.Unix(seconds, 0)); {
	case age > tolerance:
		return fmt.Errorf("%w: it is older than %v", ErrTimestamp, tolerance)
	case age < -tolerance:
		return fmt.Errorf("%w: it is more than %v in the future", ErrTimestamp, tolerance)
	}
	return nil
}

func verifies(signature string, want []byte) bool {
	text, ok := strings.CutPrefix(signature, "v1,")
	if !ok {
		return false // another version's: not an error, receivers may get several
	}
	got, err := base64.StdEncoding.Strict().DecodeString(text)
	return err == nil && hmac.Equal(got, want)
}

func mac(key []byte, id, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id + "." + timestamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("webhook keys: there is none")
	}
	for _, key := range keys {
		if len(key) < minKeyBytes {
			return fmt.Errorf("webhook keys: one has %d bytes, at least %d are needed", len(key), minKeyBytes)
		}
	}
	return nil
}

// checkID refuses the separator of what is signed: with it in an id, one signature
// would be good for two different notices.
func checkID(id string) error {
	if id == "" || len(id) > maxIDBytes {
		return fmt.Errorf("%w: the id must have 1 to %d characters", ErrHeaders, maxIDBytes)
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == '.' {
			return fmt.Errorf("%w: the id has a character that isn't allowed", ErrHeaders)
		}
	}
	return nil
}
