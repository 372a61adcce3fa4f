package identity

import (
	"context"
	"crypto/x509"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sallyport/sallyport/internal/devissuer"
)

// startIssuer runs a real issuer over TLS; the set trusts its certificate.
func startIssuer(t *testing.T, cfg devissuer.Config, edits ...func(*KeySetConfig)) (*devissuer.Issuer, *KeySet) {
	t.Helper()
	cfg.TLS = true
	issuer, err := devissuer.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := issuer.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(issuer.CertificatePEM()) {
		t.Fatal("the issuer has no certificate")
	}
	set := KeySetConfig{Name: "dev", Issuer: issuer.URL(), AllowPrivate: true, RootCAs: roots}
	for _, edit := range edits {
		edit(&set)
	}
	k, err := NewKeySet(set)
	if err != nil {
		t.Fatal(err)
	}
	return issuer, k
}

// verified checks a fresh token of the issuer as a request would.
func verified(t *testing.T, issuer *devissuer.Issuer, k *KeySet) error {
	t.Helper()
	raw, err := issuer.Mint(devissuer.TokenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = jwt.Parse(raw, func(token *jwt.Token) (any, error) {
		key, err := k.KeyWait(t.Context(), token.Header["kid"].(string), token.Method.Alg())
		return key.Public, err
	}, jwt.WithValidMethods([]string{"RS256"}))
	return err
}

// With a real issuer behind TLS: one fetch of metadata and keys serves 10,000
// requests, and the first token of a rotated key, hidden until then, is good
// within a second.
func TestRealIssuer(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/", "/realms/demo"} {
		t.Run("issuer path "+path, func(t *testing.T) {
			t.Parallel()
			issuer, k := startIssuer(t, devissuer.Config{Path: path, HideUntilUsed: true, OmitAlgorithm: path == "/"})
			if err := k.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			run(t, k)
			kid := issuer.KeyID()
			var requests sync.WaitGroup
			for range 20 {
				requests.Go(func() {
					for range 500 {
						if _, err := k.KeyWait(t.Context(), kid, "RS256"); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			requests.Wait()
			if got, want := issuer.Counts(), (devissuer.Counts{Discovery: 1, KeySets: 1}); got != want {
				t.Errorf("requests to the issuer: %+v, want %+v", got, want)
			}
			if err := verified(t, issuer, k); err != nil {
				t.Error(err)
			}
			for rotation := range 2 {
				if err := issuer.Rotate(); err != nil {
					t.Fatal(err)
				}
				// The first is seen at once; the second follows within a second
				// and has to wait for it to be over. Ten allow for a busy machine.
				again, deadline := time.NewTicker(20*time.Millisecond), time.Now().Add(10*time.Second)
				for err := verified(t, issuer, k); err != nil; err = verified(t, issuer, k) {
					if <-again.C; time.Now().After(deadline) {
						t.Fatalf("rotation %d: %v", rotation, err)
					}
				}
				again.Stop()
			}
			if got, want := issuer.Counts(), (devissuer.Counts{Discovery: 1, KeySets: 3}); got != want {
				t.Errorf("requests to the issuer: %+v, want %+v", got, want)
			}
			if k.Generation() != 3 {
				t.Errorf("generation %d after two rotations", k.Generation())
			}
		})
	}
}

// A real issuer that breaks: good tokens stay good, a restart finds the set on
// disk, and what strangers send meanwhile changes nothing.
func TestRealIssuerBreaks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keep := func(c *KeySetConfig) { c.CacheDir = dir }
	issuer, k := startIssuer(t, devissuer.Config{}, keep)
	if err := k.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, broken := range []string{"{}", `{"keys":[]}`, "<html>", " "} {
		issuer.ServeKeys([]byte(broken))
		if err := k.Load(t.Context()); err != nil {
			t.Errorf("%q: %v", broken, err)
		}
		if k.Status().LastError == "" {
			t.Errorf("%q is no failure", broken)
		}
		if err := verified(t, issuer, k); err != nil {
			t.Errorf("%q: %v", broken, err)
		}
	}
	issuer.ServeKeys(nil)
	issuer.SetDown(true)

	restarted, err := NewKeySet(k.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := restarted.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := verified(t, issuer, restarted); err != nil || !restarted.Status().FromDisk {
		t.Errorf("after a restart: %v, status %+v", err, restarted.Status())
	}
	for i := range 1000 {
		wantKey(t, restarted, fmt.Sprint("random-", i), UnknownKeyID)
	}
	if err := verified(t, issuer, restarted); err != nil {
		t.Error(err)
	}
	issuer.SetDown(false)
	if err := restarted.Load(t.Context()); err != nil || restarted.Status().FromDisk || restarted.Generation() != 1 {
		t.Errorf("the issuer is back: %v, status %+v", err, restarted.Status())
	}
}
