package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	assertionLife = 5 * time.Minute
	fewestRSABits = 2048
)

// signer signs what proves that we are a client (private_key_jwt).
type signer struct {
	key        crypto.Signer
	method     jwt.SigningMethod
	kid        string // empty: none
	thumbprint string // of the certificate, x5t#S256; empty: none
}

// readSigner reads the key, and its certificate if there is one, from their files.
func readSigner(cfg *OAuthConfig) (*signer, error) {
	key, err := readKey(cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	s := &signer{key: key, kid: cfg.KeyID}
	if s.method, err = methodFor(key, cfg.Algorithm, cfg.CertificateFile != ""); err != nil {
		return nil, err
	}
	if cfg.CertificateFile != "" {
		s.thumbprint, err = readThumbprint(cfg.CertificateFile, key)
	}
	return s, err
}

func readPEM(name string) (*pem.Block, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s isn't PEM", name)
	}
	return block, nil
}

func readKey(name string) (crypto.Signer, error) {
	block, err := readPEM(name)
	if err != nil {
		return nil, err
	}
	// The errors of the parsers say nothing about the key itself.
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no private key in PKCS #8, PKCS #1 or SEC 1, or an encrypted one", name)
	}
	if signer, ok := key.(crypto.Signer); ok {
		return signer, nil
	}
	return nil, fmt.Errorf("the key in %s can't sign", name)
}

func methodFor(key crypto.Signer, algorithm string, certificate bool) (jwt.SigningMethod, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		switch {
		case key.N.BitLen() < fewestRSABits:
			return nil, fmt.Errorf("an RSA key of %d bits is too short: %d are the fewest", key.N.BitLen(), fewestRSABits)
		case algorithm == "RS256" || algorithm == "" && !certificate:
			return jwt.SigningMethodRS256, nil
		case algorithm == "PS256" || algorithm == "":
			return jwt.SigningMethodPS256, nil
		}
		return nil, fmt.Errorf("algorithm %s isn't RS256 or PS256, those of an RSA key", clip(algorithm))
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() && (algorithm == "" || algorithm == "ES256") {
			return jwt.SigningMethodES256, nil
		}
		return nil, errors.New("of elliptic curves only P-256 with algorithm ES256 is known")
	}
	return nil, errors.New("the key is neither RSA nor P-256")
}

func readThumbprint(name string, key crypto.Signer) (string, error) {
	block, err := readPEM(name)
	if err != nil {
		return "", err
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("%s doesn't begin with a certificate", name)
	}
	public, ok := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return "", fmt.Errorf("the certificate in %s is that of another key", name)
	}
	sum := sha256.Sum256(certificate.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// assertion says who we are to one token endpoint, once (RFC 7523 section 3).
func (s *signer) assertion(clientID, audience string, now time.Time) (string, error) {
	token := jwt.NewWithClaims(s.method, jwt.MapClaims{
		"iss": clientID, "sub": clientID, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if s.kid != "" {
		token.Header["kid"] = s.kid
	}
	if s.thumbprint != "" {
		token.Header["x5t#S256"] = s.thumbprint
	}
	return token.SignedString(s.key)
}
