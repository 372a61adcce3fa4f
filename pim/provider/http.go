package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/internal/cafile"
)

const (
	longestAnswer     = 1 << 20          // bytes of a body
	longestHeader     = 64 << 10         // bytes of all headers of an answer together
	longestVendorText = 512              // bytes of a code or a message out of an answer
	callTimeout       = 15 * time.Second // of one call, whatever the caller waits
	longestRetry      = 24 * time.Hour
	callConnections   = 16 // kept open to one host
)

// client asks for JSON and gets it, or an error without secrets in it.
type client struct {
	http *http.Client
	now  func() time.Time
}

// newClient trusts the system's roots, or only those in caFile (PEM) if it is given.
func newClient(caFile string, now func() time.Time) (*client, error) {
	roots, err := readRoots(caFile)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // or the limit wouldn't be one of what is sent
		MaxResponseHeaderBytes: longestHeader,
		MaxIdleConnsPerHost:    callConnections,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    callTimeout,
	}
	// A redirect would take the token to where nobody meant to send it.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{http: &http.Client{Transport: transport, CheckRedirect: stay}, now: now}, nil
}

func readRoots(caFile string) (*x509.CertPool, error) {
	if caFile == "" {
		return nil, nil
	}
	return cafile.Read(caFile)
}

// checkAddress refuses what tokens mustn't be sent to.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("isn't a URL")
	}
	loopback := false
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		loopback = ip.IsLoopback()
	}
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback):
		return fmt.Errorf("%q must begin with https:// (http:// only with a loopback address)", u.Redacted())
	case u.Hostname() == "":
		return fmt.Errorf("%q has no host", u.Redacted())
	case u.User != nil:
		return errors.New("must not have a user or a password in it")
	case u.Fragment != "":
		return fmt.Errorf("%q has a fragment", u.Redacted())
	}
	return nil
}

// call sends body as JSON (url.Values: as a form; nil: none) and reads the JSON of the
// answer (nil: not wanted). Statuses other than 2xx are an *Error, and what isn't the
// JSON that was expected is an ErrAnswer. A call that has a body isn't repeated.
func (c *client) call(ctx context.Context, method, address string, header http.Header, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request, err := newCall(ctx, method, address, header, body)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", nameOf(request), withoutURL(err))
	}
	defer response.Body.Close()
	text, err := readAnswer(response)
	if response.StatusCode < 200 || response.StatusCode > 299 {
		// A body that can't be read doesn't change that.
		failure := &Error{Status: response.StatusCode, RetryIn: c.retryIn(response)}
		failure.Code, failure.Message = vendorError(text, secretsOf(header, body))
		return fmt.Errorf("%s: %w", nameOf(request), failure)
	}
	if err == nil && answer != nil {
		err = decodeAnswer(response, text, answer)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", nameOf(request), err)
	}
	return nil
}

func newCall(ctx context.Context, method, address string, header http.Header, body any) (*http.Request, error) {
	if err := checkAddress(address); err != nil {
		return nil, fmt.Errorf("address of the provider: %w", err)
	}
	content, contentType, err := encodeBody(body)
	if err != nil {
		return nil, fmt.Errorf("write the body: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return nil, errors.New("make the request: bad method or URL") // its text has the URL
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "sallyport")
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	return request, nil
}

func encodeBody(body any) (content io.Reader, contentType string, err error) {
	switch body := body.(type) {
	case nil:
		return nil, "", nil
	case url.Values:
		return strings.NewReader(body.Encode()), "application/x-www-form-urlencoded", nil
	}
	text, err := json.Marshal(body)
	return bytes.NewReader(text), "application/json", err
}

// nameOf is how errors call a request. Its query is about people and stays out.
func nameOf(r *http.Request) string {
	return fmt.Sprintf("%s %s%s", r.Method, r.URL.Host, r.URL.EscapedPath())
}

func withoutURL(err error) error {
	var whole *url.Error
	if errors.As(err, &whole) {
		return whole.Err
	}
	return err
}

func readAnswer(r *http.Response) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r.Body, longestAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer: %w", err)
	case len(text) > longestAnswer:
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrAnswer, longestAnswer)
	}
	return text, nil
}

func decodeAnswer(r *http.Response, text []byte, answer any) error {
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || contentType != "application/json" && !strings.HasSuffix(contentType, "+json") {
		return fmt.Errorf("%w: its content type isn't JSON", ErrAnswer)
	}
	// Its errors may quote what is in the answer, a token for instance.
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%w: it isn't the JSON that was expected", ErrAnswer)
	}
	return nil
}

// retryIn is how long the provider wants to be left alone: Retry-After in seconds or
// as a date, or the second at which a limit is lifted. Times of the provider are
// compared with its own clock if it tells that.
func (c *client) retryIn(r *http.Response) time.Duration {
	now := c.now()
	if date, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		now = date
	}
	after, reset := r.Header.Get("Retry-After"), r.Header.Get("X-Rate-Limit-Reset")
	var wait time.Duration
	if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(after); err == nil {
		wait = date.Sub(now)
	} else if seconds, err := strconv.ParseInt(reset, 10, 63); err == nil && r.StatusCode == http.StatusTooManyRequests {
		wait = time.Unix(seconds, 0).Sub(now)
	}
	return min(max(wait, 0), longestRetry)
}

// vendorError reads the code and the message of an error in the forms that providers
// use: OData, OAuth (RFC 6749 section 5.2), Okta, CyberArk and problem details
// (RFC 9457). JSON member names match whatever their case.
func vendorError(text []byte, secrets []string) (code, message string) {
	type members struct {
		Error            json.RawMessage `json:"error"`
		ErrorDescription json.RawMessage `json:"error_description"`
		ErrorCode        json.RawMessage `json:"errorCode"`
		ErrorSummary     json.RawMessage `json:"errorSummary"`
		ErrorMessage     json.RawMessage `json:"errorMessage"`
		Code             json.RawMessage `json:"code"`
		Message          json.RawMessage `json:"message"`
		Title            json.RawMessage `json:"title"`
		Detail           json.RawMessage `json:"detail"`
	}
	var outer, inner members
	// Whatever can't be read is left out.
	_ = json.Unmarshal(text, &outer)
	_ = json.Unmarshal(outer.Error, &inner)
	code = firstText(inner.Code, outer.Error, outer.ErrorCode, outer.Code, outer.Title)
	message = firstText(inner.Message, outer.ErrorDescription, outer.ErrorSummary, outer.ErrorMessage, outer.Message, outer.Detail)
	return publicText(code, secrets), publicText(message, secrets)
}

// firstText is the first that is a string or a number.
func firstText(values ...json.RawMessage) string {
	for _, value := range values {
		var text string
		var number json.Number
		if json.Unmarshal(value, &text) == nil && text != "" {
			return text
		}
		if json.Unmarshal(value, &number) == nil && number != "" {
			return number.String()
		}
	}
	return ""
}

// publicText is a text of the provider, cut short, without what we sent in confidence.
func publicText(text string, secrets []string) string {
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "[secret]")
	}
	if len(text) <= longestVendorText {
		return text
	}
	end := longestVendorText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// secretsOf are the credentials in a call, lest a provider's error repeats them.
func secretsOf(header http.Header, body any) (secrets []string) {
	add := func(text string) {
		if text != "" {
			secrets = append(secrets, text)
		}
	}
	for _, value := range header.Values("Authorization") {
		_, credentials, found := strings.Cut(value, " ")
		if !found {
			credentials = value // some providers take a token without a scheme
		}
		add(credentials)
	}
	switch body := body.(type) {
	case url.Values:
		add(body.Get("client_secret"))
		add(body.Get("client_assertion"))
	case map[string]any:
		password, _ := body["password"].(string)
		add(password)
	}
	return secrets
}
