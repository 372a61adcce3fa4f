package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// GenericConfig is a service that speaks our own small protocol (docs/providers.md).
type GenericConfig struct {
	Endpoint string // base URL
	// TokenFile holds a bearer token; it may be replaced at any time. Secret. Empty: none.
	TokenFile string
	// CAFile (PEM) has the only roots that are trusted. Empty: the system's.
	CAFile string
}

// Generic asks POST {endpoint}/check-elevation, and files requests where the service
// takes them.
type Generic struct {
	client     *client
	endpoint   string
	credential credential
	now        func() time.Time
}

// NewGeneric makes the provider that a configuration names.
func NewGeneric(cfg *GenericConfig, now func() time.Time) (*Generic, error) {
	endpoint, err := baseURL(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("provider generic: endpoint: %w", err)
	}
	c, err := newClient(cfg.CAFile, now)
	if err != nil {
		return nil, fmt.Errorf("provider generic: %w", err)
	}
	g := &Generic{client: c, endpoint: endpoint, credential: noCredential{}, now: now}
	if cfg.TokenFile == "" {
		return g, nil
	}
	g.credential = bearerFile(cfg.TokenFile)
	if _, err := g.credential.value(context.Background()); err != nil {
		return nil, fmt.Errorf("provider generic: token file: %w", err)
	}
	return g, nil
}

// baseURL checks an endpoint, and takes the slash from its end.
func baseURL(address string) (string, error) {
	if err := checkAddress(address); err != nil {
		return "", err
	}
	if strings.ContainsAny(address, "?#") {
		return "", fmt.Errorf("%q has a query or a fragment", address)
	}
	return strings.TrimRight(address, "/"), nil
}

// Name is generic.
func (g *Generic) Name() string { return "generic" }

// Check asks whether the user is elevated to the role.
func (g *Generic) Check(ctx context.Context, who Subject) (Status, error) {
	body := map[string]string{"user_id": who.User, "resource": who.Role, "action": "execute"}
	answer, err := g.ask(ctx, http.MethodPost, "/check-elevation", body)
	if err != nil {
		return Status{}, err
	}
	elevated, ok := answer["elevated"].(bool)
	if !ok {
		return Status{}, fmt.Errorf("%w: elevated is neither true nor false", ErrAnswer)
	}
	until, err := answer.time("until")
	if err != nil {
		return Status{}, err
	}
	evidence, err := answer.text("evidence_id")
	if err != nil {
		return Status{}, err
	}
	if !elevated || !until.IsZero() && !g.now().Before(until) {
		return Status{}, nil
	}
	return Status{Active: true, Until: until, Evidence: evidence}, nil
}

// File files a request. A service without requests doesn't know the path.
func (g *Generic) File(ctx context.Context, what Filing) (Filed, error) {
	body := map[string]any{
		"user_id": what.User, "resource": what.Role, "reason": what.Reason,
		"duration_seconds": int64(what.Duration / time.Second),
	}
	answer, err := g.ask(ctx, http.MethodPost, "/request-elevation", body)
	if isStatus(err, http.StatusNotFound) || isStatus(err, http.StatusNotImplemented) {
		return Filed{}, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if err != nil {
		return Filed{}, err
	}
	return g.filed(answer)
}

// Poll asks how a request fares. One that the service doesn't know any more has failed.
func (g *Generic) Poll(ctx context.Context, ref string, _ Subject) (Filed, error) {
	segment, err := escape(ref, inPath)
	if err != nil {
		return Filed{}, fmt.Errorf("%w: the id of the request can't be part of a URL", ErrSubject)
	}
	answer, err := g.ask(ctx, http.MethodGet, "/request-elevation/"+segment, nil)
	if isStatus(err, http.StatusNotFound) || isStatus(err, http.StatusGone) {
		return Filed{Ref: ref, State: FiledFailed}, nil
	}
	if err != nil {
		return Filed{}, err
	}
	filed, err := g.filed(answer)
	if err == nil && filed.Ref != ref {
		return Filed{}, fmt.Errorf("%w: it is about another request", ErrAnswer)
	}
	return filed, err
}

// genericAnswer is a JSON object; the names of its members match as they are written.
type genericAnswer map[string]any

func (g *Generic) ask(ctx context.Context, method, path string, body any) (genericAnswer, error) {
	var raw json.RawMessage
	err := sendAgain(ctx, g.credential, func(header http.Header) error {
		return g.client.call(ctx, method, g.endpoint+path, header, body, &raw)
	})
	if err != nil {
		return nil, err
	}
	document, err := decode(raw)
	if err != nil {
		return nil, err
	}
	answer, ok := document.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: it isn't a JSON object", ErrAnswer)
	}
	return answer, nil
}

// sendAgain sends once more with another credential if the provider refuses the first.
func sendAgain(ctx context.Context, c credential, send func(http.Header) error) error {
	used, err := c.value(ctx)
	if err != nil {
		return err
	}
	err = send(authorization(used))
	if !isStatus(err, http.StatusUnauthorized) || !c.refused(used) {
		return err
	}
	if used, err = c.value(ctx); err != nil {
		return err
	}
	return send(authorization(used))
}

func authorization(value string) http.Header {
	if value == "" {
		return nil
	}
	return http.Header{"Authorization": {value}}
}

func (a genericAnswer) text(name string) (string, error) {
	switch value := a[name].(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	}
	return "", fmt.Errorf("%w: %s isn't text", ErrAnswer, name)
}

func (a genericAnswer) time(name string) (time.Time, error) {
	text, err := a.text(name)
	if err != nil || a[name] == nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %s isn't a time in RFC 3339", ErrAnswer, name)
	}
	return at, nil
}

// filed reads what a request is now. "approved" is a grant that runs.
func (g *Generic) filed(a genericAnswer) (Filed, error) {
	status, err := a.text("status")
	if err != nil {
		return Filed{}, err
	}
	state, ok := map[string]FiledState{
		"pending": FiledPending, "approved": FiledActive, "denied": FiledDenied,
		"expired": FiledExpired, "cancelled": FiledCancelled,
	}[status]
	if !ok {
		return Filed{}, fmt.Errorf("%w: status %s isn't known", ErrAnswer, clip(status))
	}
	filed := Filed{State: state}
	if filed.Ref, err = a.text("request_id"); err != nil || filed.Ref == "" {
		return Filed{}, fmt.Errorf("%w: request_id is missing or isn't text", ErrAnswer)
	}
	page, err := a.text("approval_url")
	if err != nil {
		return Filed{}, err
	}
	filed.URL = webPage(page)
	if filed.Until, err = a.time("until"); err != nil {
		return Filed{}, err
	}
	if state == FiledActive && !filed.Until.IsZero() && !g.now().Before(filed.Until) {
		filed.State = FiledExpired
	}
	return filed, nil
}
