package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// Endpoint is where notices are sent.
type Endpoint struct {
	URL  string
	Keys [][]byte // all of them sign
}

// Name is what an endpoint is called where its URL, in which there may be a secret, is
// not to be read: in the outbox and in the log.
func (e *Endpoint) Name() string {
	sum := sha256.Sum256([]byte(e.URL))
	return hex.EncodeToString(sum[:8])
}

// Validate reports whether notices can be sent there. loopbackHTTP allows plain http
// to an address of this machine.
func (e *Endpoint) Validate(loopbackHTTP bool) error {
	u, err := url.Parse(e.URL)
	switch {
	case err != nil:
		return errors.New("webhook URL: it can't be read") // the error repeats it
	case u.Scheme == "http" && !loopbackHTTP, u.Scheme != "http" && u.Scheme != "https":
		return errors.New("webhook URL: it must be https")
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("webhook URL: it must have a host, and neither a user nor a fragment")
	}
	return checkKeys(e.Keys)
}

// Bounds of one attempt.
const (
	attemptTimeout = 10 * time.Second // from dialling to the answer
	dialTimeout    = 5 * time.Second
	maxHeaderBytes = 16 << 10
	maxAnswerBytes = 4 << 10 // read to keep the connection; beyond it, it is closed
)

// result is how an attempt ended.
type result struct {
	delivered bool
	gone      bool          // 410: the receiver wants no more of it
	answered  bool          // there was an answer, so that others may fare better
	retryIn   time.Duration // asked for by the receiver; 0: not said
	problem   string        // what went wrong; never the URL
}

// client sends one attempt at a time.
type client struct {
	http         *http.Client
	loopbackHTTP bool
	now          func() time.Time
}

// newClient builds a client that follows no redirect, uses no proxy of the
// environment, and speaks http to loopback addresses at most; an address is checked
// when it is dialled, so that it is the one that the name stands for then.
func newClient(roots *x509.CertPool, loopbackHTTP bool, now func() time.Time) *client {
	plain := &net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		return checkLoopback(address)
	}}
	return &client{
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:       nil, // the address check would see the proxy's
				DialContext: plain.DialContext,
				DialTLSContext: (&tls.Dialer{
					NetDialer: &net.Dialer{Timeout: dialTimeout},
					Config:    &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
				}).DialContext,
				DisableCompression:     true,
				MaxResponseHeaderBytes: maxHeaderBytes,
				MaxIdleConnsPerHost:    1,
				IdleConnTimeout:        30 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		loopbackHTTP: loopbackHTTP,
		now:          now,
	}
}

// checkLoopback wants an address of this machine.
func checkLoopback(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if !at.Addr().Unmap().IsLoopback() {
		return errors.New("http is sent to loopback addresses only")
	}
	return nil
}

// send makes one attempt.
func (c *client) send(ctx context.Context, to *Endpoint, id string, body []byte) result {
	if err := to.Validate(c.loopbackHTTP); err != nil {
		return result{problem: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL, bytes.NewReader(body))
	if err != nil {
		return result{problem: "the request can't be built"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "sallyport")
	if err := Sign(req.Header, to.Keys, id, c.now(), body); err != nil {
		return result{problem: err.Error()}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return result{problem: withoutURL(err)}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswerBytes)) // what it says beside its status is its own affair
	return judge(resp, c.now())
}

// withoutURL is an error of the HTTP client without the URL, in which there may be a
// secret.
func withoutURL(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		if wrapped.Timeout() {
			return "no answer in time"
		}
		return wrapped.Err.Error()
	}
	return err.Error()
}

// judge judges an answer. Redirects aren't followed: a notice is for whom the operator
// named.
func judge(resp *http.Response, now time.Time) result {
	r := result{answered: true, problem: "status " + strconv.Itoa(resp.StatusCode)}
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return result{answered: true, delivered: true}
	case resp.StatusCode == http.StatusGone:
		r.gone = true
	default:
		r.retryIn = retryAfter(resp.Header.Get("Retry-After"), now)
	}
	return r
}

// retryAfter reads the header's two forms (RFC 9110 §10.2.3); 0 for neither.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
