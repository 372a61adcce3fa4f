package verify

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sallyport/sallyport/audit/ledger"
)

// timeFormat is that of times in reports.
const timeFormat = time.RFC3339Nano

// Evidence proves that an event is in a log: its audit path (RFC 6962 §2.1.1) to
// the root of a signed checkpoint.
type Evidence struct {
	Event      string        `json:"event"` // the leaf, byte for byte
	Log        string        `json:"log"`   // origin
	Seq        uint64        `json:"seq"`
	Checkpoint string        `json:"checkpoint"` // the signed seal
	Hashes     []ledger.Hash `json:"proof"`      // base64, from the leaf's sibling on
}

// Proof proves one event to whoever has the log's public key, and nothing else.
type Proof struct {
	Evidence
	// Rotations prove the announcements that lead from a known key to the one that
	// signed the checkpoint, in order.
	Rotations []Evidence `json:"rotations,omitempty"`
	// TLogProof is the same proof for other tools (C2SP tlog-proof); its entry is
	// the event.
	TLogProof string `json:"tlog_proof,omitempty"`
}

// Checked is what a proof proves.
type Checked struct {
	Log     string          `json:"log"`
	Seq     uint64          `json:"seq"`
	EventID string          `json:"event_id"`
	Event   json.RawMessage `json:"event"`
	Size    uint64          `json:"size"` // of the log then
	Sealed  time.Time       `json:"sealed"`
	Key     string          `json:"key"` // that signed, name+hash
}

// MaxProof bounds what ParseProof reads.
const MaxProof = 16 << 20

// ParseProof reads a proof as it is encoded in JSON. It doesn't check it.
func ParseProof(text []byte) (*Proof, error) {
	if len(text) > MaxProof {
		return nil, fmt.Errorf("proof: it has more than %d bytes", MaxProof)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	p := new(Proof)
	if err := decoder.Decode(p); err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("proof: something follows it")
	}
	if len(p.Rotations) > maxRotations {
		return nil, fmt.Errorf("proof: it has more than %d rotations", maxRotations)
	}
	return p, nil
}

// Check verifies the proof with nothing but public keys. The error says which part
// is wrong.
func (p *Proof) Check(keys []note.Verifier) (*Checked, error) {
	if len(keys) == 0 {
		return nil, errors.New("proof: no public key to trust")
	}
	ring := newRing(keys)
	var size uint64
	for i := range p.Rotations {
		rotation := &p.Rotations[i]
		checked, err := rotation.check(ring.known())
		if err != nil {
			return nil, fmt.Errorf("proof: rotation %d: %w", i, err)
		}
		public, ok := announcedKey([]byte(rotation.Event))
		if !ok || rotation.Log != p.Log || checked.Size < size {
			return nil, fmt.Errorf("proof: rotation %d: its event announces no key of this log, or comes too late", i)
		}
		if err := ring.open([]byte(rotation.Checkpoint)); err != nil {
			return nil, fmt.Errorf("proof: rotation %d: %w", i, err)
		}
		if err := ring.announced([]byte(rotation.Checkpoint), public); err != nil {
			return nil, fmt.Errorf("proof: rotation %d: it %w", i, err)
		}
		size = checked.Size
	}
	checked, err := p.check(ring.known())
	if err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	if err := ring.open([]byte(p.Checkpoint)); err != nil {
		return nil, fmt.Errorf("proof: checkpoint: %w", err)
	}
	if checked.Size < size {
		return nil, errors.New("proof: rotations: they are later than the checkpoint")
	}
	if p.TLogProof != "" && p.TLogProof != p.tlogProof() {
		return nil, errors.New("proof: tlog_proof: it is not the same proof")
	}
	checked.Key = ring.current
	return checked, nil
}

// check verifies everything but whether the key was announced.
func (e *Evidence) check(known note.Verifiers) (*Checked, error) {
	seal, _, err := ledger.OpenSeal([]byte(e.Checkpoint), known)
	if err != nil {
		if unverified := (*note.UnverifiedNoteError)(nil); errors.As(err, &unverified) {
			err = fmt.Errorf("%w, but %s", errUntrusted, signers(unverified.Note.UnverifiedSigs))
		}
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if seal.Origin != e.Log {
		return nil, fmt.Errorf("log: the checkpoint is of %s", seal.Origin)
	}
	leaf := []byte(e.Event)
	if len(leaf) > ledger.MaxLeaf {
		return nil, fmt.Errorf("event: it has more than %d bytes", ledger.MaxLeaf)
	}
	if origin, seq, ok := ledger.Place(leaf); !ok || origin != e.Log || seq != e.Seq {
		return nil, fmt.Errorf("event: it doesn't say that it is event %d of this log", e.Seq)
	}
	if e.Seq >= seal.Size || seal.Size > math.MaxInt64 {
		return nil, fmt.Errorf("seq: the checkpoint is of %d events", seal.Size)
	}
	err = tlog.CheckRecord(e.Hashes, int64(seal.Size), seal.Root, int64(e.Seq), ledger.LeafHash(leaf)) //nolint:gosec // compared above
	if err != nil {
		return nil, errors.New("event or proof: the hashes don't lead from this event to the root of the checkpoint")
	}
	if !json.Valid(leaf) || !utf8.Valid(leaf) { // or encoding the proof would change it
		return nil, errors.New("event: it isn't JSON in UTF-8")
	}
	return &Checked{Log: e.Log, Seq: e.Seq, EventID: ledger.LeafID(leaf), Event: leaf, Size: seal.Size, Sealed: seal.Time.UTC()}, nil
}

// tlogProof is the proof in the text form of c2sp.org/tlog-proof.
func (e *Evidence) tlogProof() string {
	var b strings.Builder
	fmt.Fprintf(&b, "c2sp.org/tlog-proof@v1\nindex %d\n", e.Seq)
	for _, h := range e.Hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n" + e.Checkpoint)
	return b.String()
}

// announcedKey is the public key that the event announces.
func announcedKey(leaf []byte) (string, bool) {
	h, ok := parseHead(leaf)
	if !ok || !h.own {
		return "", false
	}
	var c content
	if err := c.own(leaf, h, 0); err != nil || len(c.announced) == 0 {
		return "", false
	}
	return c.announced[0].public, true
}
