// Package cafile reads certificate authorities from files.
package cafile

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Read returns a pool of a file's certificates, which are in PEM form, alone: at
// least one.
func Read(name string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if err := Add(pool, name); err != nil {
		return nil, err
	}
	return pool, nil
}

// Add is Read into a pool.
func Add(pool *x509.CertPool, name string) error {
	pem, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", name)
	}
	return nil
}
