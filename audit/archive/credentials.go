package archive

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// keyFiles gives the keys that two files hold. They are read for every request, so
// that a rotated key counts at once.
type keyFiles struct{ access, secret string }

func (k keyFiles) Retrieve(context.Context) (aws.Credentials, error) {
	access, err := readKey(k.access)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("access key: %w", err)
	}
	secret, err := readKey(k.secret)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("secret key: %w", err)
	}
	return aws.Credentials{AccessKeyID: access, SecretAccessKey: secret, Source: "files"}, nil
}

// readKey reads a file of one line. Its errors don't quote it.
func readKey(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	const limit = 1024
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return "", err
	}
	key, err := parseKey(string(text))
	if err != nil || len(text) > limit {
		return "", fmt.Errorf("%s: want one line of printable characters without spaces", name)
	}
	return key, nil
}

func parseKey(text string) (string, error) {
	key := strings.TrimSpace(text)
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("not a key")
	}
	return key, nil
}
