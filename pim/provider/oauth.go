package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	tokenUnsaid  = time.Minute      // how long a token without expires_in is used
	tokenLongest = time.Hour        // how long any is used
	tokenMargin  = 90 * time.Second // before its end, a token isn't used any more
	tokenPause   = 5 * time.Second  // after what we are known by was refused
)

// OAuthConfig is how we get access tokens: the client credentials grant (RFC 6749
// section 4.4), with a secret or with a signed assertion (RFC 7523).
type OAuthConfig struct {
	TokenURL string
	ClientID string
	Scope    string // separated by spaces; may be empty
	// SecretFile holds the client's secret. Secret. Conflicts with KeyFile.
	SecretFile string
	// KeyFile is a private key in PEM, RSA of 2048 bits or more, or P-256. Secret.
	// Conflicts with SecretFile.
	KeyFile string
	// KeyID is the kid of the assertion's header, with KeyFile. Empty: none.
	KeyID string
	// CertificateFile is the key's certificate in PEM, for providers that know keys by
	// the thumbprint of it (Entra ID). Empty: none.
	CertificateFile string
	// Algorithm is RS256, PS256 or ES256. Default: ES256 of a P-256 key, PS256 of an RSA
	// key with a certificate, otherwise RS256.
	Algorithm string
}

// Validate reports everything that is wrong with it.
func (c *OAuthConfig) Validate() error {
	errs := []error{inField("token_url", checkAddress(c.TokenURL))}
	if c.ClientID == "" {
		errs = append(errs, errors.New("client_id: is missing"))
	}
	return errors.Join(append(errs, c.checkSecret())...)
}

// checkSecret reads the files once, so that what is wrong with them is known at the start.
func (c *OAuthConfig) checkSecret() error {
	switch {
	case c.SecretFile == "" && c.KeyFile == "":
		return errors.New("secret_file: is missing, and so is key_file")
	case c.SecretFile != "" && c.KeyFile != "":
		return errors.New("secret_file: conflicts with key_file")
	case c.SecretFile != "" && (c.KeyID != "" || c.CertificateFile != "" || c.Algorithm != ""):
		return errors.New("secret_file: key_id, certificate_file and algorithm go with key_file")
	case c.SecretFile != "":
		_, err := readSecret(c.SecretFile)
		return inField("secret_file", err)
	}
	_, err := readSigner(c)
	return inField("key_file", err)
}

// oauth keeps an access token and gets another before it ends.
type oauth struct {
	cfg    OAuthConfig
	client *client
	now    func() time.Time
	turn   chan struct{} // who has it gets a token; a channel, so that waiting ends with the context

	mu       sync.Mutex // guards what follows
	token    string
	until    time.Time // when it isn't used any more
	attempts uint64    // that have ended
	failure  error     // of the last attempt; nil: it succeeded
	again    time.Time // when the next may be made
}

func newOAuth(cfg *OAuthConfig, c *client, now func() time.Time) (*oauth, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &oauth{cfg: *cfg, client: c, now: now, turn: make(chan struct{}, 1)}, nil
}

// value returns "Bearer" with a token. One caller gets it for all who wait.
func (o *oauth) value(ctx context.Context) (string, error) {
	token, attempts := o.current()
	if token != "" {
		return token, nil
	}
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return "", fmt.Errorf("wait for an access token: %w", ctx.Err())
	}
	token, later := o.current()
	if token != "" {
		return token, nil
	}
	if failure := o.failed(later != attempts); failure != nil {
		return "", failure
	}
	return o.renew(ctx)
}

func (o *oauth) current() (token string, attempts uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.now().Before(o.until) {
		return "", o.attempts
	}
	return o.token, o.attempts
}

// failed returns the error of the last attempt for whoever waited for that: a provider
// that fails isn't asked by each of them in turn. What was refused as such isn't tried
// again by others for some seconds either.
func (o *oauth) failed(waited bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if waited || o.now().Before(o.again) {
		return o.failure
	}
	return nil
}

// refused forgets a token unless there is another already.
func (o *oauth) refused(value string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.token == value {
		o.token, o.until = "", time.Time{}
	}
	return true
}

// renew gets a token. The caller has the turn.
func (o *oauth) renew(ctx context.Context) (string, error) {
	asked := o.now() // a token is at least as old as its question
	token, lasts, err := o.ask(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("get an access token: %w", err)
		// A caller that gave up says nothing about the provider.
		if ctx.Err() == nil {
			o.attempts, o.failure = o.attempts+1, err
		}
		if isStatus(err, http.StatusBadRequest) || isStatus(err, http.StatusUnauthorized) {
			o.again = o.now().Add(tokenPause)
		}
		return "", err
	}
	o.attempts, o.failure = o.attempts+1, nil
	o.token, o.until = token, asked.Add(lasts-min(tokenMargin, lasts/4))
	return token, nil
}

func (o *oauth) ask(ctx context.Context) (token string, lasts time.Duration, err error) {
	form, err := o.form()
	if err != nil {
		return "", 0, err
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		TokenType   string  `json:"token_type"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if err := o.client.call(ctx, http.MethodPost, o.cfg.TokenURL, nil, form, &answer); err != nil {
		return "", 0, err
	}
	switch {
	case !strings.EqualFold(answer.TokenType, "Bearer"):
		return "", 0, fmt.Errorf("%w: it has a token of another type than Bearer (tokens bound by DPoP can't be used)", ErrAnswer)
	case !isHeaderValue(answer.AccessToken):
		return "", 0, fmt.Errorf("%w: it has no access token", ErrAnswer)
	case answer.ExpiresIn < 0:
		return "", 0, fmt.Errorf("%w: its token has ended", ErrAnswer)
	}
	lasts = tokenUnsaid
	if answer.ExpiresIn > 0 {
		lasts = time.Duration(min(answer.ExpiresIn, tokenLongest.Seconds()) * float64(time.Second))
	}
	return "Bearer " + answer.AccessToken, lasts, nil
}

// form reads the secret from its file: it may have been replaced.
func (o *oauth) form() (url.Values, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {o.cfg.ClientID}}
	if o.cfg.Scope != "" {
		form.Set("scope", o.cfg.Scope)
	}
	if o.cfg.SecretFile != "" {
		secret, err := readSecret(o.cfg.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("read the client's secret: %w", err)
		}
		form.Set("client_secret", secret)
		return form, nil
	}
	signer, err := readSigner(&o.cfg)
	if err != nil {
		return nil, fmt.Errorf("read the client's key: %w", err)
	}
	assertion, err := signer.assertion(o.cfg.ClientID, o.cfg.TokenURL, o.now())
	if err != nil {
		return nil, fmt.Errorf("sign the assertion: %w", err)
	}
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", assertion)
	return form, nil
}
