package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// keySource knows where the key set of one issuer is: at a configured URL, or
// where the issuer's metadata says (OpenID Connect Discovery 1.0 §4, or RFC
// 8414 §3 when the former isn't there). It is used by one refresh at a time and
// holds no lock.
type keySource struct {
	fetch    *documentFetcher
	issuer   string        // what the metadata must name as issuer, exactly
	metadata []string      // URLs of the metadata, tried in order; empty: jwks is configured
	recheck  time.Duration // age at which an address learnt from metadata is asked for again
	vouched  time.Duration // age at which it is not used any more

	jwks     string    // where the keys are; empty until discovered
	resolved time.Time // when the metadata last said so
	failed   bool      // the last get brought no keys

	metadataErr error // of the last get that asked the metadata and went on without
}

// newKeySource derives the addresses from a valid configuration.
func newKeySource(cfg KeySetConfig) *keySource {
	s := &keySource{
		fetch:   newDocumentFetcher(cfg.RootCAs, cfg.AllowHTTP, cfg.AllowPrivate),
		issuer:  cfg.DiscoveryIssuer,
		recheck: cfg.TTL / 2, // each refresh that is due, few of those that unknown kids ask for
		vouched: cfg.MaxStale,
	}
	switch {
	case cfg.JWKSURL != "":
		s.jwks = cfg.JWKSURL
	case cfg.DiscoveryURL != "":
		s.metadata = []string{cfg.DiscoveryURL}
	default:
		// Entra serves the metadata of all tenants under "common".
		s.metadata = metadataURLs(strings.Replace(cfg.Issuer, tenantPlaceholder, "common", 1))
	}
	return s
}

// metadataURLs are the two places where an issuer's metadata can be. OpenID
// Connect appends the well-known path to the issuer (without its trailing
// slash); RFC 8414 §3.1 inserts it between host and path.
func metadataURLs(issuer string) []string {
	urls := []string{strings.TrimRight(issuer, "/") + "/.well-known/openid-configuration"}
	if u, err := url.Parse(issuer); err == nil {
		u.Path = "/.well-known/oauth-authorization-server" + strings.TrimRight(u.Path, "/")
		u.RawPath = ""
		urls = append(urls, u.String())
	}
	return urls
}

// get fetches the key set. Before, it asks the metadata where the keys are now:
// if it doesn't know, if that was long ago, or if the last get failed. If the
// metadata can't be had, an address it gave within the last s.vouched is used
// once more: an outage of the metadata alone must not hide a rotation.
func (s *keySource) get(ctx context.Context, now time.Time) (parsedSet, error) {
	ask := len(s.metadata) > 0 && (s.jwks == "" || s.failed || now.Sub(s.resolved) >= s.recheck)
	s.failed, s.metadataErr = true, nil
	if ask {
		address, err := s.discover(ctx)
		switch {
		case err == nil:
			s.jwks, s.resolved = address, now
		case s.jwks == "" || now.Sub(s.resolved) > s.vouched:
			return parsedSet{}, fmt.Errorf("discover keys: %w", err)
		default:
			s.metadataErr = fmt.Errorf("discover keys: %w", err)
		}
	}
	raw, err := s.fetch.get(ctx, s.jwks)
	if err != nil {
		return parsedSet{}, errors.Join(s.metadataErr, fmt.Errorf("key set: %w", err))
	}
	set, err := parseKeySet(raw)
	if err != nil {
		return parsedSet{}, errors.Join(s.metadataErr, fmt.Errorf("%s: %w", s.jwks, err))
	}
	s.failed = false
	return set, nil
}

// discover reads the metadata and returns its jwks_uri.
func (s *keySource) discover(ctx context.Context) (string, error) {
	var errs []error
	for _, address := range s.metadata {
		raw, err := s.fetch.get(ctx, address)
		if err != nil {
			errs = append(errs, err)
			if notThere(err) {
				continue
			}
			break
		}
		jwks, err := parseMetadata(raw, s.issuer)
		if err != nil {
			return "", fmt.Errorf("%s: %w", address, err)
		}
		// The host may be another one than the issuer's (Entra, Cognito), the
		// rules for fetching are the same.
		if err := checkFetchURL(jwks, s.fetch.allowHTTP); err != nil {
			return "", fmt.Errorf("%s: jwks_uri: %w", address, err)
		}
		return jwks, nil
	}
	return "", errors.Join(errs...)
}

// notThere reports whether a server answered that it has no such document.
// Servers differ in how they say that; 429 is the client error that means later.
func notThere(err error) bool {
	var status statusError
	return errors.As(err, &status) && status >= 400 && status < 500 && status != http.StatusTooManyRequests
}

// parseMetadata takes jwks_uri from an issuer's metadata. The document must
// name exactly the issuer that is expected (OpenID Connect Discovery 1.0 §4.3,
// RFC 8414 §3.3), or anybody's metadata could stand in for it.
func parseMetadata(raw []byte, issuer string) (jwksURI string, err error) {
	members, err := jsonMembers(raw)
	if err != nil {
		return "", fmt.Errorf("metadata: %w", err)
	}
	var got string
	if err := json.Unmarshal(members["issuer"], &got); err != nil {
		return "", errors.New("metadata: issuer is missing or not a string")
	}
	if got != issuer {
		return "", fmt.Errorf("metadata: issuer is %.200q, expected %q", got, issuer)
	}
	if err := json.Unmarshal(members["jwks_uri"], &jwksURI); err != nil || jwksURI == "" {
		return "", errors.New("metadata: jwks_uri is missing or not a string")
	}
	return jwksURI, nil
}
