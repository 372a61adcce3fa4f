package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/audit/verify"
)

// trail: what was recorded, and how that is proven. It looks at the refused refund.
func (t *tour) trail() []step {
	return []step{
		{"the trail verifies", "exit code 0, nothing found", t.verified},
		{"the refused refund, explained", "elevation refused", t.explained},
		{"proven offline, with the public key alone", "proven", t.proven},
		{"a proof with one letter changed", "refused", t.forged},
		{"one byte of the archive is changed", "exit code 1, it names the event", t.flipped},
		{"changed back", "exit code 0, nothing found", t.verified},
	}
}

// auditCommand runs a command as it is run by hand.
func (t *tour) auditCommand(ctx context.Context, arguments ...string) (output []byte, code int) {
	var out, complaints bytes.Buffer
	err := run(ctx, append([]string{"audit", "--config", t.config}, arguments...), &out, &complaints)
	if err != nil {
		return append(out.Bytes(), err.Error()...), exitCode(err)
	}
	return out.Bytes(), 0
}

// refund is the event of the refusal, once it is in the archive.
func (t *tour) refund(ctx context.Context) (*audit.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		output, code := t.auditCommand(ctx, "search", "--tool", "refund_payment", "--reason", "elevation.required", "--limit", "1", "--json")
		if event, err := audit.Parse(bytes.TrimSpace(output)); code == 0 && err == nil {
			return event, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the refused refund can't be found: %s", output)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (t *tour) verified(ctx context.Context) (string, error) {
	if _, err := t.refund(ctx); err != nil {
		return "", err
	}
	report, code, err := t.verify(ctx)
	if err != nil {
		return "", err
	}
	seen := fmt.Sprintf("exit code %d, nothing found", code)
	if report.Found > 0 || report.Events < 50 {
		seen = fmt.Sprintf("exit code %d, %d events, %d findings %v", code, report.Events, report.Found, report.Findings)
	}
	return seen, nil
}

func (t *tour) verify(ctx context.Context) (*verify.Report, int, error) {
	output, code := t.auditCommand(ctx, "verify", "--json")
	report := new(verify.Report)
	if err := json.NewDecoder(bytes.NewReader(output)).Decode(report); err != nil {
		return nil, code, fmt.Errorf("verify: %w: %s", err, output)
	}
	return report, code, nil
}

func (t *tour) explained(ctx context.Context) (string, error) {
	event, err := t.refund(ctx)
	if err != nil {
		return "", err
	}
	output, code := t.auditCommand(ctx, "explain", event.EventID)
	t.explanation = string(output)
	if code == 0 && strings.Contains(t.explanation, "elevation") && strings.Contains(t.explanation, "refused") {
		return "elevation refused", nil
	}
	return fmt.Sprintf("exit code %d: %s", code, output), nil
}

// prove writes the proof to a file and returns its name, and the public key's.
func (t *tour) prove(ctx context.Context) (proof, key string, err error) {
	event, err := t.refund(ctx)
	if err != nil {
		return "", "", err
	}
	proof, key = filepath.Join(t.dir, "proof.json"), filepath.Join(t.dir, "audit", "signing.key.pub")
	if err := os.Remove(proof); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", "", err
	}
	if output, code := t.auditCommand(ctx, "prove", event.EventID, "--output", proof); code != 0 {
		return "", "", fmt.Errorf("prove: %s", output)
	}
	return proof, key, nil
}

func (t *tour) proven(ctx context.Context) (string, error) {
	proof, key, err := t.prove(ctx)
	if err != nil {
		return "", err
	}
	if output, code := t.auditCommand(ctx, "check-proof", proof, "--key", key); code != 0 {
		return string(output), nil
	}
	return "proven", nil
}

func (t *tour) forged(ctx context.Context) (string, error) {
	proof, key, err := t.prove(ctx)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(proof)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(proof, bytes.Replace(text, []byte(`\"status\":\"deny\"`), []byte(`\"status\":\"demy\"`), 1), 0o600); err != nil { //nolint:gosec // in the demo's folder
		return "", err
	}
	if output, code := t.auditCommand(ctx, "check-proof", proof, "--key", key); code == 0 {
		return string(output), nil
	}
	return "refused", nil
}

// flipped changes one bit of the refusal's object, for as long as verify looks.
func (t *tour) flipped(ctx context.Context) (_ string, err error) {
	event, err := t.refund(ctx)
	if err != nil {
		return "", err
	}
	key, err := ledger.EventKey(event.EventID)
	if err != nil {
		return "", err
	}
	file := filepath.Join(t.dir, "audit", "archive", filepath.FromSlash(key))
	if err := flip(file); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, flip(file)) }()
	report, code, err := t.verify(ctx)
	if err != nil {
		return "", err
	}
	for _, f := range report.Findings {
		if f.Object == key && f.Events && f.From == event.Seq && f.To == event.Seq {
			t.finding = f.Message
			return fmt.Sprintf("exit code %d, it names the event", code), nil
		}
	}
	return fmt.Sprintf("exit code %d, %v", code, report.Findings), nil
}

// flip changes a bit in the middle of a file; a second time changes it back.
func flip(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	text[len(text)/2] ^= 1
	if err := os.Chmod(name, 0o600); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o600) //nolint:gosec // in the demo's folder
}

// epilogue shows what verify and explain said.
func (t *tour) epilogue() {
	fmt.Fprintf(t.out, "\nWhat verify said of the changed byte:\n\n  %s\n\nWhat explain said of the refused refund:\n\n", t.finding)
	for line := range strings.Lines(t.explanation) {
		fmt.Fprint(t.out, "  ", line)
	}
}
