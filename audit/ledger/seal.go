package ledger

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Layouts of an archive.
const (
	LayoutHybrid = "hybrid" // batches of everything, and an object for each event of class Single
	LayoutEvent  = "event"  // an object for each event, no batches
	LayoutBatch  = "batch"  // batches only
)

// Seal is a signed checkpoint of a writer's tree (C2SP tlog-checkpoint) that
// also says what the leaves since the one before it are and where they lie.
type Seal struct {
	Origin string `json:"-"`
	Size   uint64 `json:"-"` // of the tree
	Root   Hash   `json:"-"`

	First    uint64    `json:"first"`             // sequence of the first leaf since the seal before
	Time     time.Time `json:"time"`              // the writer's clock at the cut
	Layout   string    `json:"layout"`            // see the constants
	Batch    *Batch    `json:"batch,omitempty"`   // nil in layout "event"
	Singles  []int     `json:"singles,omitempty"` // layout "hybrid": which leaves have an object of their own, counted from First
	IDs      []byte    `json:"ids,omitempty"`     // layout "event": the ids of the leaves, 16 bytes each
	Frontier []Hash    `json:"frontier"`          // of the tree; see ResumeTree
	Leaves   []byte    `json:"leaves"`            // the first LeafMark bytes of each leaf's hash, to find the one that differs
}

// LeafMark is how many bytes of a leaf's hash a seal holds.
const LeafMark = 4

// Batch is an object with leaves.
type Batch struct {
	Key    string `json:"key"`
	SHA256 Hash   `json:"sha256"`
	Frames []int  `json:"frames"` // compressed sizes; each holds FrameEvents leaves, the last the rest
}

// Count is how many leaves the seal covers.
func (s *Seal) Count() int { return int(s.Size - s.First) } //nolint:gosec // checked on opening

// extension begins the line of a checkpoint that holds the rest of a Seal.
const extension = "sallyport/seal/v1 "

// Sign returns the seal as a signed note (C2SP signed-note).
func (s *Seal) Sign(signers ...note.Signer) ([]byte, error) {
	rest, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	root := base64.StdEncoding.EncodeToString(s.Root[:])
	text := fmt.Sprintf("%s\n%d\n%s\n%s%s\n", s.Origin, s.Size, root, extension, rest)
	return note.Sign(&note.Note{Text: text}, signers...)
}

// MaxSeal bounds what OpenSeal parses.
const MaxSeal = 900 << 10

// OpenSeal verifies the signatures of known keys, of which there must be one, and
// parses the seal. It returns the names and hashes of the keys that signed.
func OpenSeal(signed []byte, known note.Verifiers) (*Seal, []note.Signature, error) {
	if len(signed) > MaxSeal {
		return nil, nil, fmt.Errorf("a seal of %d bytes", len(signed))
	}
	n, err := note.Open(signed, known)
	if err != nil {
		return nil, nil, err
	}
	s, err := parseSeal(n.Text)
	if err != nil {
		return nil, nil, err
	}
	return s, n.Sigs, nil
}

// ReadSeal parses a seal without verifying who signed it: for a writer that
// reads its own, and to say which key is missing.
func ReadSeal(signed []byte) (*Seal, error) {
	if len(signed) > MaxSeal {
		return nil, fmt.Errorf("a seal of %d bytes", len(signed))
	}
	end := bytes.Index(signed, []byte("\n\n"))
	if end < 0 {
		return nil, errors.New("not a signed note")
	}
	return parseSeal(string(signed[:end+1]))
}

func parseSeal(text string) (*Seal, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 5 || lines[4] != "" || lines[0] == "" {
		return nil, fmt.Errorf("a checkpoint of %d lines, want origin, size, root and the seal", len(lines)-1)
	}
	rest, ok := strings.CutPrefix(lines[3], extension)
	if !ok {
		return nil, fmt.Errorf("the checkpoint's fourth line is no %s", strings.TrimSpace(extension))
	}
	s := &Seal{Origin: lines[0]}
	var err error
	if s.Size, err = strconv.ParseUint(lines[1], 10, 63); err != nil || strconv.FormatUint(s.Size, 10) != lines[1] {
		return nil, fmt.Errorf("the checkpoint's size is %.40q", lines[1])
	}
	if s.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return nil, fmt.Errorf("the checkpoint's root: %w", err)
	}
	decoder := json.NewDecoder(strings.NewReader(rest))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(s); err != nil {
		return nil, fmt.Errorf("the seal: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the seal: something follows it")
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, nil
}

// maxCount bounds the leaves of one seal.
const maxCount = 100_000

// check finds what can't be.
func (s *Seal) check() error {
	if s.Size <= s.First || s.Size-s.First > maxCount {
		return fmt.Errorf("the seal covers sequence %d up to %d", s.First, s.Size)
	}
	count := s.Count()
	tree, err := ResumeTree(s.Size, s.Frontier)
	if err != nil {
		return fmt.Errorf("the seal: %w", err)
	}
	if tree.Root() != s.Root {
		return errors.New("the seal's frontier has another root than its checkpoint")
	}
	if len(s.Leaves) != count*LeafMark {
		return fmt.Errorf("the seal marks %d bytes of leaves, want %d", len(s.Leaves), count*LeafMark)
	}
	for i, offset := range s.Singles {
		if offset < 0 || offset >= count || i > 0 && offset <= s.Singles[i-1] {
			return errors.New("the seal's singles are not in order")
		}
	}
	return s.checkLayout(count)
}

func (s *Seal) checkLayout(count int) error {
	switch s.Layout {
	case LayoutEvent:
		if s.Batch != nil || len(s.IDs) != 16*count {
			return errors.New("the seal of layout event names a batch, or not all ids")
		}
		return nil
	case LayoutHybrid, LayoutBatch:
	default:
		return fmt.Errorf("the seal has layout %.40q", s.Layout)
	}
	if s.Batch == nil || len(s.IDs) != 0 || s.Layout == LayoutBatch && len(s.Singles) != 0 {
		return fmt.Errorf("the seal of layout %s names no batch, or too much", s.Layout)
	}
	if len(s.Batch.Frames) != (count+FrameEvents-1)/FrameEvents {
		return fmt.Errorf("the seal names %d frames for %d events", len(s.Batch.Frames), count)
	}
	return nil
}

// ID is the id of a leaf by its offset, in layout "event".
func (s *Seal) ID(offset int) string {
	return ID(s.IDs[16*offset : 16*offset+16]).String()
}

// Marked reports whether the leaf at the offset has the hash that was sealed, as
// far as the mark tells.
func (s *Seal) Marked(offset int, leaf Hash) bool {
	return bytes.Equal(s.Leaves[offset*LeafMark:(offset+1)*LeafMark], leaf[:LeafMark])
}
