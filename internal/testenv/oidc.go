package testenv

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
)

//go:embed node/oidc.mjs
var oidcProvider []byte

// OIDCOptions say what an OpenID provider knows.
type OIDCOptions struct {
	Client    string    `json:"client"`    // id of the one client, for client credentials
	Secret    string    `json:"secret"`    // of the client, by client_secret_basic
	Scopes    []string  `json:"scopes"`    // that it may ask for
	Algorithm string    `json:"algorithm"` // of its access tokens: RS256, PS256 or ES256
	Log       io.Writer `json:"-"`         // its output; nil: only kept for errors
}

// OIDCProvider is a running OpenID provider on loopback, of another make than
// internal/devissuer: a certified one. Its access tokens are JWTs for the
// resource that the client names (RFC 8707); its key set also holds keys that
// can't verify them. It is safe for concurrent use.
type OIDCProvider struct {
	*Process
	url string
}

var issuerLine = regexp.MustCompile(`(?m)^issuer (http://\S+)$`)

// StartOIDCProvider starts a provider and returns when it listens. ctx bounds
// the start only.
func StartOIDCProvider(ctx context.Context, options OIDCOptions) (*OIDCProvider, error) {
	settings, err := json.Marshal(options) //nolint:gosec // the secret of a test, for the process that needs it
	if err != nil {
		return nil, fmt.Errorf("start OpenID provider: %w", err)
	}
	// ctx bounds the start, not the life.
	cmd, err := nodeScript(context.Background(), oidcProvider, "OIDC_PROVIDER="+string(settings))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	process, err := StartProcess(cmd, options.Log)
	if err != nil {
		return nil, err
	}
	provider := &OIDCProvider{Process: process}
	announced := func(context.Context) error {
		line := issuerLine.FindStringSubmatch(process.Tail())
		if line == nil {
			return errors.New("it hasn't named its issuer yet")
		}
		provider.url = line[1]
		return nil
	}
	if err := process.AwaitReady(ctx, announced); err != nil {
		return nil, errors.Join(err, process.Kill())
	}
	return provider, nil
}

// URL is the issuer identifier.
func (p *OIDCProvider) URL() string { return p.url }

// TokenURL is the token endpoint.
func (p *OIDCProvider) TokenURL() string { return p.url + "/token" }
