package ledger

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Key signs seals: Ed25519, in the form of C2SP signed-note.
type Key struct {
	note.Signer
	Public string // the verifier's key: name+hash+key
}

// GenerateKey returns a new key and its text, which is a secret.
func GenerateKey(name string) (*Key, string, error) {
	secret, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, "", fmt.Errorf("generate key: %w", err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, "", err
	}
	return &Key{Signer: signer, Public: public}, "# Signs Sallyport's audit trail. Keep it secret.\n# Public key: " + public + "\n" + secret + "\n", nil
}

// LoadKey reads a key from the file that GenerateKey's text was written to.
func LoadKey(file string) (*Key, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	lines := keyLines(string(text))
	if len(lines) != 1 {
		return nil, fmt.Errorf("signing key %s: want one line PRIVATE+KEY+…, found %d", file, len(lines))
	}
	signer, err := note.NewSigner(lines[0])
	if err != nil {
		return nil, fmt.Errorf("signing key %s: want a line PRIVATE+KEY+… as `sallyport audit key generate` writes it", file)
	}
	public, err := publicOf(lines[0])
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", file, err)
	}
	return &Key{Signer: signer, Public: public}, nil
}

// keyLines are the lines that are neither empty nor comments.
func keyLines(text string) (lines []string) {
	scanner := bufio.NewScanner(strings.NewReader(text))
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// ParsePublic returns the verifiers of a text with one public key per line;
// lines that begin with # are comments.
func ParsePublic(text string) ([]note.Verifier, error) {
	var verifiers []note.Verifier
	for _, line := range keyLines(text) {
		if strings.HasPrefix(line, "PRIVATE+KEY+") {
			return nil, errors.New("this is a private key; verifying needs the public one")
		}
		v, err := note.NewVerifier(line)
		if err != nil {
			return nil, fmt.Errorf("public key %.60q: %w", line, err)
		}
		verifiers = append(verifiers, v)
	}
	if len(verifiers) == 0 {
		return nil, errors.New("no public key")
	}
	return verifiers, nil
}

// publicOf derives the verifier's key of a secret one: PRIVATE+KEY+name+hash+data,
// where data is the algorithm's byte and the seed.
func publicOf(secret string) (string, error) {
	parts := strings.SplitN(secret, "+", 5)
	if len(parts) != 5 {
		return "", errors.New("not a private key")
	}
	data, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(data) != 1+ed25519.SeedSize {
		return "", errors.New("not an Ed25519 key")
	}
	public, ok := ed25519.NewKeyFromSeed(data[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("not an Ed25519 key")
	}
	return note.NewEd25519VerifierKey(parts[2], public)
}
