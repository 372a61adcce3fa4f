package testenv

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// certificateLife is enough for a test run or a demo, and no longer.
const certificateLife = 24 * time.Hour

// Authority is a certificate authority whose certificates only tests and the
// demo trust. It is safe for concurrent use.
type Authority struct {
	// CAFile is its own certificate, as PEM.
	CAFile string

	dir         string
	key         crypto.Signer
	certificate *x509.Certificate
}

// NewAuthority makes an authority that writes its files to dir, which exists.
func NewAuthority(dir string) (*Authority, error) {
	a := &Authority{CAFile: filepath.Join(dir, "ca.pem"), dir: dir}
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "test authority"},
		IsCA:     true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	key, der, err := a.sign(template)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	a.key = key
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	if err := writePEM(a.CAFile, "CERTIFICATE", der); err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	return a, nil
}

// Issue makes a certificate for servers and clients alike and writes it, with
// its key, to name.pem and name.key. Each identity is a DNS name, an IP address
// or a URI such as spiffe://mesh/envoy.
func (a *Authority) Issue(name string, identities ...string) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	if err := a.issue(name, identities, certFile, keyFile); err != nil {
		return "", "", fmt.Errorf("issue certificate for %s: %w", name, err)
	}
	return certFile, keyFile, nil
}

func (a *Authority) issue(name string, identities []string, certFile, keyFile string) error {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if err := identify(template, identities); err != nil {
		return err
	}
	key, der, err := a.sign(template)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(keyFile, "PRIVATE KEY", private); err != nil {
		return err
	}
	return writePEM(certFile, "CERTIFICATE", der)
}

// sign makes a key and its certificate, signed by the authority or, if that has
// no certificate yet, by the key itself.
func (a *Authority) sign(template *x509.Certificate) (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	// The real clock: whoever checks the certificate uses it too.
	now := time.Now()
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(certificateLife)
	template.BasicConstraintsValid = true
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	return key, der, err
}

// identify puts each identity into the certificate's field for its kind.
func identify(certificate *x509.Certificate, identities []string) error {
	for _, identity := range identities {
		if ip := net.ParseIP(identity); ip != nil {
			certificate.IPAddresses = append(certificate.IPAddresses, ip)
			continue
		}
		if !strings.Contains(identity, "://") {
			certificate.DNSNames = append(certificate.DNSNames, identity)
			continue
		}
		uri, err := url.Parse(identity)
		if err != nil {
			return err
		}
		certificate.URIs = append(certificate.URIs, uri)
	}
	return nil
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
