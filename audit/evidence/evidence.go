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
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/ledger"
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

// Counts is the population of one day.
type Counts struct {
	Day    string         `json:"day"`
	Events int            `json:"events"`
	By     map[string]int `json:"by"` // event type and status
}

// bundle is a zip file that is being written.
type bundle struct {
	zip   *zip.Writer
	files map[string]string // SHA-256 by name
	at    time.Time
}

// Write writes the bundle, a zip file. The report is what verifying found; it may
// hold findings, which are no error.
func Write(ctx context.Context, w io.Writer, in Input) (*verify.Report, error) {
	b := &bundle{zip: zip.NewWriter(w), files: make(map[string]string), at: in.Now}
	report, err := verify.Verify(ctx, in.Store, in.Verify)
	if err != nil {
		return report, fmt.Errorf("verify: %w", err)
	}
	population, err := read(ctx, in)
	if err != nil {
		return report, err
	}
	checkpoints, err := verify.Latest(ctx, in.Store, in.Keys)
	if err != nil {
		return report, err
	}
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
	for _, c := range checkpoints {
		if err := b.add("checkpoints/"+c.Writer+".txt", []byte(c.Signed)); err != nil {
			return report, err
		}
	}
	if err := b.samples(ctx, in, population); err != nil {
		return report, err
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

// samples proves some events, and says how their objects are locked.
func (b *bundle) samples(ctx context.Context, in Input, p *population) error {
	type sample struct {
		Event string        `json:"event"`
		Seal  string        `json:"seal"`
		Lock  *archive.Lock `json:"lock,omitempty"` // of the seal
	}
	var list []sample
	for _, s := range p.sampled {
		proof, err := verify.Prove(ctx, in.Store, in.Keys, s.id)
		if err != nil {
			return fmt.Errorf("prove %s: %w", s.id, err)
		}
		if err := b.add("samples/"+s.id+".json", proof); err != nil {
			return err
		}
		entry := sample{Event: s.id, Seal: s.seal}
		if in.Store.WORM() {
			lock, err := in.Store.Lock(ctx, s.seal, "")
			if err != nil {
				return fmt.Errorf("lock of %s: %w", s.seal, err)
			}
			entry.Lock = &lock
		}
		list = append(list, entry)
	}
	return b.add("samples.json", list)
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

// population is what was recorded in the period.
type population struct {
	byDay          map[string]*Counts
	administration bytes.Buffer // acts of operators and the service, as recorded
	sampled        []sampled
	seen           int
	chance         *rand.Rand
}

type sampled struct{ id, seal string }

func (p *population) days() []Counts {
	list := make([]Counts, 0, len(p.byDay))
	for _, day := range slices.Sorted(maps.Keys(p.byDay)) {
		list = append(list, *p.byDay[day])
	}
	return list
}

// read reads every event of the period once.
func read(ctx context.Context, in Input) (*population, error) {
	p := &population{byDay: make(map[string]*Counts), chance: rand.New(rand.NewPCG(in.Seed, in.Seed))}
	codec, err := ledger.NewCodec()
	if err != nil {
		return nil, err
	}
	defer codec.Close()
	for seal, err := range seals(ctx, in.Store) {
		if err != nil {
			return nil, err
		}
		if outside(in, seal.Time) {
			continue
		}
		leaves, err := archive.Leaves(ctx, in.Store, codec, seal)
		if err != nil {
			return nil, err
		}
		_, writer, _ := cutLast(seal.Origin)
		for _, leaf := range leaves {
			event, err := audit.Parse(leaf)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", seal.Origin, err)
			}
			if covers(in, event.Timestamp) {
				p.count(in, event, ledger.SealKey(writer, seal.Size))
			}
		}
	}
	return p, nil
}

func cutLast(origin string) (before, after string, found bool) {
	i := strings.LastIndexByte(origin, '/')
	if i < 0 {
		return "", origin, false
	}
	return origin[:i], origin[i+1:], true
}

// outside reports whether what was sealed then can't be of the period: events are
// sealed within a day, or a journal has filled.
func outside(in Input, sealed time.Time) bool {
	from, to := in.Verify.From, in.Verify.To
	return !from.IsZero() && sealed.Before(from.UTC().Truncate(24*time.Hour)) || !to.IsZero() && sealed.After(to.UTC().AddDate(0, 0, 8))
}

// covers reports whether the time is on one of the period's days.
func covers(in Input, t time.Time) bool {
	day := t.UTC().Truncate(24 * time.Hour)
	from, to := in.Verify.From, in.Verify.To
	return (from.IsZero() || !day.Before(from.UTC().Truncate(24*time.Hour))) && (to.IsZero() || !day.After(to.UTC()))
}

// count counts the event, and may choose it as a sample: each with the same chance,
// however many there are (reservoir sampling).
func (p *population) count(in Input, e *audit.Event, seal string) {
	day := e.Timestamp.Format(time.DateOnly)
	c := p.byDay[day]
	if c == nil {
		c = &Counts{Day: day, By: make(map[string]int)}
		p.byDay[day] = c
	}
	c.Events++
	c.By[strings.TrimSuffix(e.EventType+" "+e.Status, " ")]++
	if e.EventType == "operator" || e.EventType == "service" {
		p.administration.Write(e.Raw)
		p.administration.WriteByte('\n')
	}
	p.seen++
	if len(p.sampled) < in.Samples {
		p.sampled = append(p.sampled, sampled{e.EventID, seal})
	} else if i := p.chance.IntN(p.seen); i < in.Samples {
		p.sampled[i] = sampled{e.EventID, seal}
	}
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
Events: %d in the period, %d verified, of %d logs
Verification: %s (verify.txt, verify.json)

population.json       every event of the period, counted by day, type and status
administration.ndjson every act of an administrator and of the service, as recorded
checkpoints/          the newest signed checkpoint of each log: keep them elsewhere, and
                      name them to "sallyport audit verify --anchor" next time
keys.txt              the public keys; compare them with those that you were given before
samples/              %d events chosen at random (seed %d), each with its proof:
                      sallyport audit check-proof FILE --key keys.txt
settings.json         retention and lock, as configured
SHA256SUMS.signed     the hashes of these files, signed with the key of the log
`, in.Now.UTC().Format(time.RFC3339), r.Store, worm, r.From, r.To, p.seen, r.Events, len(r.Logs), verdict, len(p.sampled), in.Seed)
}
