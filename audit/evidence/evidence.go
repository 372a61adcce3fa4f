// Package evidence writes what an auditor asks for: the whole population of events
// of a period, counted, verified and sampled, in one signed file.
package evidence

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/verify"
)

// Input says what the bundle is about.
type Input struct {
	Store    archive.Store
	Keys     []note.Verifier
	Public   []string       // the same keys, as text
	Verify   verify.Options // how to verify; From and To are the period, in whole days
	Samples  int            // events that are proven one by one
	Seed     uint64         // chooses them: the same seed, the same events
	Signers  []note.Signer  // sign the list of files; none: it isn't signed
	Settings map[string]any // what the operator says of retention and lock
	Now      time.Time
}

// bundle is a zip file that is being written.
type bundle struct {
	zip   *zip.Writer
	files map[string]string // SHA-256 by name
	at    time.Time
}

// Write writes the bundle, a zip file. The report is what verifying found: findings
// are no error, nor are events that can't be read. An error says that the bundle
// isn't complete.
func Write(ctx context.Context, w io.Writer, in Input) (*verify.Report, error) {
	b := &bundle{zip: zip.NewWriter(w), files: make(map[string]string), at: in.Now}
	report, err := verify.Verify(ctx, in.Store, in.Verify)
	if err != nil && (report.Started.IsZero() || errors.Is(err, verify.ErrNoLogs)) {
		return report, fmt.Errorf("verify: %w", err)
	}
	population, err := read(ctx, in)
	if err != nil {
		return report, err
	}
	checkpoints, invalid := verify.Latest(ctx, in.Store, in.Keys)
	var human bytes.Buffer
	if err := report.WriteHuman(&human); err != nil {
		return report, err
	}
	for _, part := range []struct {
		name    string
		content any
	}{
		{"README.txt", readme(in, report, population)},
		{"verify.txt", human.Bytes()},
		{"verify.json", report},
		{"population.json", population.days()},
		{"administration.ndjson", population.administration.Bytes()},
		{"checkpoints.json", checkpoints},
		{"keys.txt", []byte(strings.Join(in.Public, "\n") + "\n")},
		{"settings.json", in.Settings},
	} {
		if err := b.add(part.name, part.content); err != nil {
			return report, err
		}
	}
	if err := b.checkpoints(checkpoints, invalid); err != nil {
		return report, err
	}
	if err := b.samples(ctx, in, population); err != nil {
		return report, err
	}
	if err := ctx.Err(); err != nil {
		return report, err // what couldn't be read for that says nothing
	}
	return report, b.close(in.Signers)
}

// add adds a file: bytes as they are, anything else as JSON.
func (b *bundle) add(name string, content any) error {
	text, ok := content.([]byte)
	if !ok {
		var err error
		if text, err = json.MarshalIndent(content, "", "  "); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		text = append(text, '\n')
	}
	sum := sha256.Sum256(text)
	b.files[name] = hex.EncodeToString(sum[:])
	f, err := b.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: b.at})
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return err
}

// checkpoints adds the newest seals, and why those of some logs aren't there.
func (b *bundle) checkpoints(list []verify.Checkpoint, invalid error) error {
	for _, c := range list {
		if err := b.add("checkpoints/"+c.Writer+".txt", []byte(c.Signed)); err != nil {
			return err
		}
	}
	if invalid == nil {
		return nil
	}
	return b.add("checkpoints/missing.txt", []byte(invalid.Error()+"\n"))
}

// sample is an event that was chosen, and what came of proving it.
type sample struct {
	Event string        `json:"event"`
	Seal  string        `json:"seal"`
	Lock  *archive.Lock `json:"lock,omitempty"` // of the seal
	Error string        `json:"error,omitempty"`
}

// samples proves some events, and says how their objects are locked.
func (b *bundle) samples(ctx context.Context, in Input, p *population) error {
	for i := range p.sampled {
		s := &p.sampled[i]
		proof, failed := verify.Prove(ctx, in.Store, in.Keys, s.Event)
		if failed == nil {
			if err := b.add("samples/"+s.Event+".json", proof); err != nil {
				return err
			}
		}
		if in.Store.WORM() {
			lock, err := in.Store.Lock(ctx, s.Seal, "")
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("lock of %s: %w", s.Seal, err))
			} else {
				s.Lock = &lock
			}
		}
		if failed != nil {
			s.Error = failed.Error()
		}
	}
	return b.add("samples.json", p.sampled)
}

// close adds the list of files with their hashes, signed, and ends the bundle.
func (b *bundle) close(signers []note.Signer) error {
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		fmt.Fprintf(&list, "%s  %s\n", b.files[name], name)
	}
	text, name := []byte(list.String()), "SHA256SUMS"
	if len(signers) > 0 {
		signed, err := note.Sign(&note.Note{Text: list.String()}, signers...)
		if err != nil {
			return err
		}
		text, name = signed, "SHA256SUMS.signed"
	}
	if err := b.add(name, text); err != nil {
		return err
	}
	return b.zip.Close()
}

func readme(in Input, r *verify.Report, p *population) []byte {
	verdict := map[int]string{0: "all is well", 1: "something was tampered with or is missing", 2: "something has not arrived yet", 3: "it could not be found out"}[r.ExitCode()]
	worm := "The archive is locked storage (WORM)."
	if !r.WORM {
		worm = "The archive is a folder and NOT locked storage: it prevents nothing."
	}
	return fmt.Appendf(nil, `Evidence of Sallyport's audit trail, made %s

Archive: %s
%s
Period: %s to %s (UTC, whole days; empty: all)
Events: %d in the period, %d more that can't be read; %d verified, of %d logs
Verification: %s (verify.txt, verify.json)

population.json       every event of the period, counted by day, type and status, and
                      where events are unread, with the objects that are missing or
                      not as they were sealed
administration.ndjson every act of an administrator and of the service, as recorded
checkpoints/          the newest signed checkpoint of each log: keep them elsewhere, and
                      name them to "sallyport audit verify --anchor" next time
keys.txt              the public keys; compare them with those that you were given before
samples/              %d events chosen at random (seed %d), each with its proof
                      (samples.json says so where there is none):
                      sallyport audit check-proof FILE --key keys.txt
settings.json         retention and lock, as configured
SHA256SUMS.signed     the hashes of these files, signed with the key of the log
`, in.Now.UTC().Format(time.RFC3339), r.Store, worm, r.From, r.To, p.seen, p.unread, r.Events, len(r.Logs), verdict, len(p.sampled), in.Seed)
}
