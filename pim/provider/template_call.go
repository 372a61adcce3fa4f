package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// TemplateCall is one question to a provider.
type TemplateCall struct {
	Method string `yaml:"method"` // GET (default), POST, PUT or PATCH
	// URL is the path and the query, from the endpoint on, written plainly: what needs
	// escapes gets them. Placeholders stand in segments of the path, and in the query as
	// a whole value or in quotes within one.
	URL string `yaml:"url"`
	// Body is JSON, with placeholders in strings, and numeric ones in place of numbers.
	// Empty: none.
	Body string `yaml:"body"`
	// SlashAfterDot ends a path that has a dot with a slash.
	SlashAfterDot bool `yaml:"slash_after_dot"`
}

// call is a compiled one.
type call struct {
	method        string
	url, body     []piece
	slashAfterDot bool
}

func compileCall(c *TemplateCall, known []string) (compiled call, err error) {
	compiled.method, compiled.slashAfterDot = c.Method, c.SlashAfterDot
	if c.Method == "" {
		compiled.method = http.MethodGet
	}
	if !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch}, compiled.method) {
		return compiled, fmt.Errorf("method: %s is none of GET, POST, PUT, PATCH", clip(c.Method))
	}
	if compiled.url, err = compileURL(c.URL, known); err != nil {
		return compiled, fmt.Errorf("url: %w", err)
	}
	if c.Body == "" {
		return compiled, nil
	}
	if compiled.method == http.MethodGet {
		return compiled, errors.New("body: GET has none")
	}
	if compiled.body, err = compileJSON(c.Body, known); err != nil {
		return compiled, fmt.Errorf("body: %w", err)
	}
	return compiled, nil
}

// target is where it goes below the endpoint.
func (c *call) target(v values) (string, error) {
	target, err := expand(c.url, v)
	if err != nil {
		return "", fmt.Errorf("url: %w", err)
	}
	path, query, hasQuery := strings.Cut(target, "?")
	if c.slashAfterDot && strings.Contains(path, ".") && !strings.HasSuffix(path, "/") {
		path += "/"
	}
	if hasQuery {
		path += "?" + query
	}
	return path, nil
}

func (c *call) payload(v values) (any, error) {
	if c.body == nil {
		return nil, nil
	}
	text, err := expand(c.body, v)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	return json.RawMessage(text), nil
}

// ask makes a call and decodes the answer.
func (t *Template) ask(ctx context.Context, c *call, v values) (any, error) {
	target, err := c.target(v)
	if err != nil {
		return nil, err
	}
	body, err := c.payload(v)
	if err != nil {
		return nil, err
	}
	return t.send(ctx, c.method, t.endpoint+target, body)
}

func (t *Template) send(ctx context.Context, method, address string, body any) (any, error) {
	var raw json.RawMessage
	err := sendAgain(ctx, t.credential, func(header http.Header) error {
		return t.client.call(ctx, method, address, header, body, &raw)
	})
	if err != nil {
		return nil, err
	}
	return decode(raw)
}

func isStatus(err error, status int) bool {
	var answer *Error
	return errors.As(err, &answer) && answer.Status == status
}

// Paging says how a list goes on. At most one of Token, Link and Offset is set; none:
// the answer is all of it.
type Paging struct {
	Token  string `yaml:"token"`  // where the token of the next page is
	Link   string `yaml:"link"`   // where the URL of the next page is
	Offset bool   `yaml:"offset"` // by the number of items so far, until there are Total
	Total  string `yaml:"total"`  // where the number of all items is, with Offset
	// Parameter of the query that takes the token or the offset.
	Parameter string `yaml:"parameter"`
}

// maxPages bounds one question. A list that goes on behind them is no "no".
const maxPages = 20

// paging is a compiled one.
type paging struct {
	Paging
	token, link, total location
}

func compilePaging(p *Paging) (compiled paging, err error) {
	compiled.Paging = *p
	ways := 0
	for _, way := range []bool{p.Token != "", p.Link != "", p.Offset} {
		if way {
			ways++
		}
	}
	switch {
	case ways > 1:
		return compiled, errors.New("has more than one of token, link and offset")
	case (p.Token != "" || p.Offset) != (p.Parameter != ""):
		return compiled, errors.New("parameter: goes with token or offset")
	case p.Offset != (p.Total != ""):
		return compiled, errors.New("total: goes with offset")
	}
	if compiled.token, err = compileLocation(p.Token); err != nil {
		return compiled, fmt.Errorf("token: %w", err)
	}
	if compiled.link, err = compileLocation(p.Link); err != nil {
		return compiled, fmt.Errorf("link: %w", err)
	}
	if compiled.total, err = compileLocation(p.Total); err != nil {
		return compiled, fmt.Errorf("total: %w", err)
	}
	return compiled, nil
}

// next returns the address of the page after this one; empty: this was the last.
func (p *paging) next(first, endpoint string, answer any, here, sofar int) (string, error) {
	switch {
	case p.Token != "":
		token, err := p.token.text(answer)
		if err != nil || token == "" {
			return "", err
		}
		return withParameter(first, p.Parameter, token), nil
	case p.Link != "":
		link, err := p.link.text(answer)
		if err != nil || link == "" {
			return "", err
		}
		return sameOrigin(endpoint, first, link)
	case p.Offset:
		return p.nextOffset(first, answer, here, sofar)
	}
	return "", nil
}

func (p *paging) nextOffset(first string, answer any, here, sofar int) (string, error) {
	number, _ := p.total.in(answer).(json.Number)
	total, err := number.Int64()
	switch {
	case err != nil || total < 0:
		return "", fmt.Errorf("%w: %s isn't a number of items", ErrAnswer, p.Total)
	case int64(sofar) >= total:
		return "", nil
	case here == 0:
		return "", fmt.Errorf("%w: there are %d items and after %d there come no more", ErrAnswer, total, sofar)
	}
	return withParameter(first, p.Parameter, fmt.Sprint(sofar)), nil
}

func withParameter(address, name, value string) string {
	mark := "?"
	if strings.Contains(address, "?") {
		mark = "&"
	}
	return address + mark + escapeQuery(name) + "=" + escapeQuery(value)
}

// sameOrigin resolves a link. It gets our credential, so it doesn't lead elsewhere.
func sameOrigin(endpoint, page, link string) (string, error) {
	from, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	to, err := from.Parse(link)
	if err != nil {
		return "", fmt.Errorf("%w: the link to the next page isn't a URL", ErrAnswer)
	}
	base, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	if to.Scheme != base.Scheme || to.Host != base.Host || to.User != nil {
		return "", fmt.Errorf("%w: the next page is at another host: %s", ErrAnswer, clip(to.Host))
	}
	to.Fragment = ""
	return to.String(), nil
}
