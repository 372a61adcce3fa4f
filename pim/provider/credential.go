package provider

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// credential is what a provider knows us by.
type credential interface {
	// value is what stands in the header Authorization.
	value(ctx context.Context) (string, error)
	// refused is told of a value that the provider took for none of ours any more, and
	// returns whether there can be another.
	refused(value string) bool
}

const longestSecret = 16 << 10

// readSecret reads one line from a file. It is read for each use: it may be replaced
// at any time, and a copy that was read half is gone with the next.
func readSecret(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, longestSecret+1))
	if err != nil {
		return "", err
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 || len(text) > longestSecret {
		return "", fmt.Errorf("%s has %d bytes: 1 to %d are expected", name, len(text), longestSecret)
	}
	for _, b := range text {
		if b < ' ' || b == 0x7f {
			return "", fmt.Errorf("%s has more than one line, or control characters", name)
		}
	}
	return string(text), nil
}

// noCredential is for providers that know us by something else, such as the network.
type noCredential struct{}

func (noCredential) value(context.Context) (string, error) { return "", nil }
func (noCredential) refused(string) bool                   { return false }

// bearerFile is a bearer token from a file.
type bearerFile string

func (name bearerFile) value(context.Context) (string, error) {
	token, err := readSecret(string(name))
	if err != nil {
		return "", fmt.Errorf("read the bearer token: %w", err)
	}
	return "Bearer " + token, nil
}

// refused: the file may have been replaced just now.
func (name bearerFile) refused(value string) bool {
	now, err := name.value(context.Background())
	return err == nil && now != value
}

// LogonConfig is a user of CyberArk's PVWA.
type LogonConfig struct {
	// Method of authentication: CyberArk, LDAP or RADIUS. Default CyberArk.
	Method string
	User   string
	// PasswordFile holds the password. Secret.
	PasswordFile string
}

// logonPause is how long a refused user and password aren't tried again: the Vault
// suspends a user after a few of those.
const logonPause = 5 * time.Minute

// logon is a session of PVWA.
type logon struct {
	client *client
	url    string
	user   string
	file   string
	now    func() time.Time

	turn     chan struct{} // who has it logs on; a channel, so that waiting ends with the context
	mu       sync.Mutex    // guards what follows
	token    string
	password string    // that was refused
	again    time.Time // when it may be tried again
}

func newLogon(cfg *LogonConfig, endpoint string, c *client, now func() time.Time) (*logon, error) {
	method := cmp.Or(cfg.Method, "CyberArk")
	switch {
	case method != "CyberArk" && method != "LDAP" && method != "RADIUS":
		return nil, fmt.Errorf("method: %s is none of CyberArk, LDAP, RADIUS", clip(method))
	case cfg.User == "":
		return nil, errors.New("user: is missing")
	}
	if _, err := readSecret(cfg.PasswordFile); err != nil {
		return nil, fmt.Errorf("password_file: %w", err)
	}
	return &logon{
		client: c, url: endpoint + "/PasswordVault/API/auth/" + method + "/Logon",
		user: cfg.User, file: cfg.PasswordFile, now: now, turn: make(chan struct{}, 1),
	}, nil
}

// value returns the token of the session, and logs on if there is none. One caller does
// that for all.
func (l *logon) value(ctx context.Context) (string, error) {
	if token := l.current(); token != "" {
		return token, nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return "", fmt.Errorf("wait for a logon to PVWA: %w", ctx.Err())
	}
	if token := l.current(); token != "" {
		return token, nil
	}
	token, err := l.begin(ctx)
	if err != nil {
		return "", fmt.Errorf("log on to PVWA as %s: %w", l.user, err)
	}
	return token, nil
}

func (l *logon) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token
}

func (l *logon) refused(value string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == value {
		l.token = ""
	}
	return true
}

func (l *logon) begin(ctx context.Context) (string, error) {
	password, err := readSecret(l.file)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if err := l.mayTry(password); err != nil {
		return "", err
	}
	var token string
	body := map[string]any{"username": l.user, "password": password, "concurrentSession": true}
	err = l.client.call(ctx, http.MethodPost, l.url, nil, body, &token)
	if answer := (*Error)(nil); errors.As(err, &answer) && strings.Contains(answer.Message, password) {
		answer.Message = "" // it repeats the password
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case isStatus(err, http.StatusUnauthorized) || isStatus(err, http.StatusForbidden):
		l.password, l.again = password, l.now().Add(logonPause)
		return "", err
	case err != nil:
		return "", err
	case !isHeaderValue(token):
		return "", fmt.Errorf("%w: it isn't a token", ErrAnswer)
	}
	l.token, l.password = token, ""
	return token, nil
}

// mayTry refuses a password that was refused a moment ago.
func (l *logon) mayTry(password string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if password == l.password && l.now().Before(l.again) {
		return &Error{Status: http.StatusUnauthorized, Message: "the user and the password were refused and aren't tried again for some minutes, so that the Vault doesn't suspend the user"}
	}
	return nil
}

func isHeaderValue(text string) bool {
	for _, b := range []byte(text) {
		if b <= ' ' || b >= 0x7f {
			return false
		}
	}
	return text != "" && len(text) <= longestSecret
}

// CredentialConfig is what the provider knows us by: one of these.
type CredentialConfig struct {
	// BearerFile holds a bearer token; it may be replaced at any time. Secret.
	BearerFile string
	// OAuth are client credentials (RFC 6749 section 4.4).
	OAuth *OAuthConfig
	// Logon is a session of CyberArk's PVWA.
	Logon *LogonConfig
}

func newCredential(cfg *CredentialConfig, endpoint string, c *client, now func() time.Time) (credential, error) {
	switch {
	case cfg.BearerFile != "" && cfg.OAuth == nil && cfg.Logon == nil:
		b := bearerFile(cfg.BearerFile)
		_, err := b.value(context.Background())
		return b, inField("bearer_file", err)
	case cfg.Logon != nil && cfg.OAuth == nil && cfg.BearerFile == "":
		l, err := newLogon(cfg.Logon, endpoint, c, now)
		return l, inField("logon", err)
	case cfg.OAuth != nil && cfg.Logon == nil && cfg.BearerFile == "":
		o, err := newOAuth(cfg.OAuth, c, now)
		return o, inField("oauth", err)
	}
	return nil, errors.New("must be one of bearer_file, oauth and logon")
}
