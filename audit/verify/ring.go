package verify

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit/ledger"
)

// ring are the keys that may sign one log: those that were given, and those that
// the log announced under one of these.
//
// Only one of them signs at a time: when a key was announced, its predecessor is
// done, so that whoever gets hold of an old key can't go on with the log.
type ring struct {
	keys    []note.Verifier
	current string // the key that signs now; empty: not known yet
}

func newRing(keys []note.Verifier) *ring {
	r := &ring{}
	for _, k := range keys {
		r.add(k)
	}
	return r
}

func (r *ring) add(k note.Verifier) {
	same := func(known note.Verifier) bool { return keyName(known) == keyName(k) }
	if !slices.ContainsFunc(r.keys, same) {
		r.keys = append(r.keys, k)
	}
}

func keyName(k interface {
	Name() string
	KeyHash() uint32
}) string {
	return fmt.Sprintf("%s+%08x", k.Name(), k.KeyHash())
}

func signatureName(s note.Signature) string { return fmt.Sprintf("%s+%08x", s.Name, s.Hash) }

func (r *ring) known() note.Verifiers { return note.VerifierList(r.keys...) }

// errUntrusted: the key that signed is not one that may.
var errUntrusted = errors.New("no trusted key signed it")

// open verifies the next seal of the log.
func (r *ring) open(signed []byte) error {
	_, signatures, err := ledger.OpenSeal(signed, r.known())
	if unverified := (*note.UnverifiedNoteError)(nil); errors.As(err, &unverified) {
		return fmt.Errorf("%w, but %s", errUntrusted, signers(unverified.Note.UnverifiedSigs))
	}
	if err != nil {
		return fmt.Errorf("the seal is not what was signed: %w", err)
	}
	if r.current == "" {
		r.current = signatureName(signatures[0])
	}
	if !slices.ContainsFunc(signatures, func(s note.Signature) bool { return signatureName(s) == r.current }) {
		return fmt.Errorf("%w: %s did, while the log's key is %s", errUntrusted, signers(signatures), r.current)
	}
	return nil
}

func signers(signatures []note.Signature) string {
	names := ""
	for i, s := range signatures {
		if i > 0 {
			names += " and "
		}
		names += signatureName(s)
	}
	return names
}

// announced makes the key the log's one, if it co-signed the seal of its
// announcement. The event must have been verified.
func (r *ring) announced(signed []byte, public string) error {
	k, err := note.NewVerifier(public)
	if err != nil {
		return fmt.Errorf("announces a key that is none: %.80q", public)
	}
	if _, _, err := ledger.OpenSeal(signed, note.VerifierList(k)); err != nil {
		return fmt.Errorf("announces the key %s, which didn't sign the announcement", keyName(k))
	}
	r.add(k)
	r.current = keyName(k)
	return nil
}

// signatures is how many lines of signatures a seal has: of an announcement at
// least two.
func signatures(signed []byte) int { return bytes.Count(signed, []byte("\n— ")) }
