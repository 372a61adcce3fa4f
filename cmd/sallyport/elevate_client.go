package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport/sallyport/api"
	"github.com/sallyport/sallyport/internal/cafile"
)

// Bounds of what is read.
const (
	maxTokenBytes  = 64 << 10
	maxAnswerBytes = 8 << 20
	elevateTimeout = 30 * time.Second
)

// elevateClient speaks with the service's API.
type elevateClient struct {
	http  *http.Client
	base  *url.URL
	token string
}

func newElevateClient(f *elevateFlags, stdin io.Reader) (*elevateClient, error) {
	base, err := elevateURL(f.url)
	if err != nil {
		return nil, usage(err)
	}
	token, err := elevateToken(f.tokenFile, stdin)
	if err != nil {
		return nil, usage(err)
	}
	roots, err := elevateRoots(f.caFile)
	if err != nil {
		return nil, usage(err)
	}
	return &elevateClient{
		base: base, token: token,
		http: &http.Client{
			Timeout: elevateTimeout,
			Transport: &http.Transport{
				Proxy:           http.ProxyFromEnvironment,
				TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			},
			// The token is for the server that was named.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// elevateURL wants TLS, except on this machine: the token would be read on the way.
func elevateURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, errors.New("--url: it is required, or " + urlVariable)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--url: %w", err)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("--url: %q is not like https://mcp.example", text)
	case u.Scheme == "https" || u.Scheme == "http" && onThisMachine(u.Hostname()):
		return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
	}
	return nil, fmt.Errorf("--url: %q: it must be https, or http on loopback, as the token is sent there", text)
}

func onThisMachine(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// elevateToken reads the token from the file, or else takes the environment's.
func elevateToken(file string, stdin io.Reader) (string, error) {
	text := []byte(os.Getenv(tokenVariable))
	switch file {
	case "":
		if len(text) == 0 {
			return "", errors.New("there is no access token: name its file with --token-file, or set " + tokenVariable)
		}
	case "-":
		read, err := bounded(stdin, "standard input", maxTokenBytes)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		text = read
	default:
		read, err := readAtMost(file, maxTokenBytes)
		if err != nil {
			return "", fmt.Errorf("--token-file: %w", err)
		}
		text = read
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errors.New("what should be the access token is none") // it isn't repeated: it may be another secret
	}
	return token, nil
}

func readAtMost(name string, most int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return bounded(file, name, most)
}

// bounded reads all there is, if it isn't too much.
func bounded(from io.Reader, name string, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(from, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return text, err
}

func elevateRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	roots, err := cafile.Read(file)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	return roots, nil
}

// elevateProblem is a refusal of the service.
type elevateProblem struct {
	Status     int    `json:"status"`
	Type       string `json:"type"`
	Title      string `json:"title"`
	Detail     string `json:"detail"`
	State      string `json:"state"`
	DecisionID string `json:"decision_id"`

	retryIn time.Duration
}

func (p *elevateProblem) Error() string {
	text := strings.TrimSpace(p.Title + " " + p.Detail)
	if text == "" {
		text = fmt.Sprintf("the service answered with status %d", p.Status)
	}
	text += " (" + strings.TrimPrefix(p.Type, "urn:sallyport:problem:")
	if p.DecisionID != "" {
		text += ", decision " + p.DecisionID
	}
	return visible(text + ")")
}

// passes reports whether the same may be possible a little later.
func passes(err error) (after time.Duration, ok bool) {
	var p *elevateProblem
	if errors.As(err, &p) {
		return p.retryIn, p.Status == http.StatusTooManyRequests || p.Status >= 500
	}
	var network *url.Error
	return 0, errors.As(err, &network) && !errors.Is(err, context.Canceled)
}

// call sends one request and returns the JSON of a success.
func (c *elevateClient) call(ctx context.Context, method, path string, query url.Values, body any) (json.RawMessage, error) {
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		reader = bytes.NewReader(encoded)
	}
	u := *c.base
	u.Path, u.RawQuery = api.Prefix+path, query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), reader)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("User-Agent", "sallyport/"+version)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, problemOf(resp, text)
	}
	if !json.Valid(text) {
		return nil, errors.New("the answer is no JSON: is this Sallyport's URL?")
	}
	return text, nil
}

// problemOf reads an answer that is no success, which may be a proxy's.
func problemOf(resp *http.Response, text []byte) error {
	p := &elevateProblem{}
	_ = json.Unmarshal(text, p) // what isn't a problem leaves it empty
	p.Status = resp.StatusCode
	if p.Type == "" {
		p.Type = "not from Sallyport: is it running, and is this its URL?"
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.retryIn = min(time.Duration(seconds)*time.Second, time.Minute)
	}
	return p
}

// get fetches one request.
func (c *elevateClient) get(ctx context.Context, id string) (*elevateItem, error) {
	return itemOf(c.call(ctx, http.MethodGet, "elevations/"+url.PathEscape(id), nil, nil))
}

// page fetches one page of a list.
func (c *elevateClient) page(ctx context.Context, query url.Values) (items []*elevateItem, next string, err error) {
	text, err := c.call(ctx, http.MethodGet, "elevations", query, nil)
	if err != nil {
		return nil, "", err
	}
	var page struct {
		Elevations []json.RawMessage `json:"elevations"`
		Next       string            `json:"next"`
	}
	if err := json.Unmarshal(text, &page); err != nil {
		return nil, "", fmt.Errorf("read list: %w", err)
	}
	for _, raw := range page.Elevations {
		item, err := itemOf(raw, nil)
		if err != nil {
			return nil, "", err
		}
		items = append(items, item)
	}
	return items, page.Next, nil
}
