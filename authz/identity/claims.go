package identity

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// claimReader reads claims by type. A claim that is absent or null is the zero
// value; one of the wrong type is a refusal, because to overlook it would make
// one caller into another. The first refusal stays and reading goes on.
type claimReader struct {
	claims  map[string]any
	refusal *Refusal
}

// fail notes the first refusal. A detail names claims by our words for them,
// never by a piece of the token or of the configuration.
func (c *claimReader) fail(cause, detail string) {
	if c.refusal == nil {
		c.refusal = refuse(cause, detail)
	}
}

// find returns the claim with exactly this name, or the one at a path of names
// with dots between. Names of members may contain dots themselves.
func find(claims map[string]any, path string) any {
	if v, ok := claims[path]; ok {
		return v
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		if inner, ok := claims[path[:i]].(map[string]any); ok {
			if v := find(inner, path[i+1:]); v != nil {
				return v
			}
		}
	}
	return nil
}

// text reads a string. what is our word for the claim.
func (c *claimReader) text(path, what string) string {
	v := find(c.claims, path)
	if v == nil {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		c.fail(Malformed, "the token's "+what+" is not a string")
	}
	return s
}

// firstText reads the first of the claims that is there.
func (c *claimReader) firstText(names []string, what string) string {
	for _, name := range names {
		if s := c.text(name, what); s != "" {
			return s
		}
	}
	return ""
}

// list reads a string or an array of strings. It is nil only if the claim is
// absent.
func (c *claimReader) list(path, what string) []string {
	switch v := find(c.claims, path).(type) {
	case nil:
		return nil
	case string:
		return []string{v}
	case []any:
		all := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				c.fail(Malformed, "the token's "+what+" are not all strings")
				return nil
			}
			all = append(all, s)
		}
		return all
	default:
		c.fail(Malformed, "the token's "+what+" is neither a string nor an array of strings")
		return nil
	}
}

// scopes joins what the named claims grant. A string holds several scopes with
// spaces between (RFC 6749 §3.3), an item of an array holds one.
func (c *claimReader) scopes(names []string) []string {
	var all []string
	for _, name := range names {
		if s, ok := find(c.claims, name).(string); ok {
			all = append(all, strings.Split(s, " ")...)
		} else {
			all = append(all, c.list(name, "scopes")...)
		}
	}
	return distinct(all)
}

func (c *claimReader) roles(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, c.list(name, "roles")...)
	}
	return distinct(all)
}

// distinct sorts and drops what is empty or there twice.
func distinct(all []string) []string {
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > 0 && all[0] == "" {
		all = all[1:]
	}
	return slices.Clip(all)
}

// date reads a NumericDate (RFC 7519 §2): seconds since 1970, here until the
// year 9999 and without an exponent. Parts of a second are dropped, which is
// less than any clock skew. It reports whether the claim is there.
func (c *claimReader) date(name string) (time.Time, bool) {
	v := c.claims[name]
	if v == nil {
		return time.Time{}, false
	}
	number, _ := v.(json.Number)
	whole, fraction, _ := strings.Cut(string(number), ".")
	seconds, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || seconds > maxNumericDate || strings.Trim(fraction, "0123456789") != "" {
		c.fail(Malformed, "the token's "+name+" is not a time in seconds")
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0).UTC(), true
}

const maxNumericDate = 253402300799 // 9999-12-31T23:59:59Z

// lifetime is when a token is valid.
type lifetime struct {
	issued, notBefore, expires time.Time // notBefore: zero without nbf
}

// lifetime reads exp and iat, which are required, and nbf, and bounds the time
// between issue and expiry.
func (c *claimReader) lifetime(longest time.Duration) (l lifetime) {
	var expires, issued bool
	l.expires, expires = c.date("exp")
	l.issued, issued = c.date("iat")
	l.notBefore, _ = c.date("nbf")
	switch {
	case !expires:
		c.fail(MissingClaim, "the token has no exp")
	case !issued:
		c.fail(MissingClaim, "the token has no iat")
	case l.expires.Sub(l.issued) > longest:
		c.fail(LifetimeTooLong, "the token lives longer than its issuer's may")
	}
	return l
}

// check compares with the clock. It is repeated for every request.
func (l *lifetime) check(now time.Time, skew time.Duration) *Refusal {
	switch {
	case !now.Before(l.expires.Add(skew)):
		return refuse(Expired, "the token's exp has passed")
	case l.issued.After(now.Add(skew)):
		return refuse(NotYetValid, "the token's iat lies in the future")
	case l.notBefore.After(now.Add(skew)):
		return refuse(NotYetValid, "the token's nbf lies in the future")
	}
	return nil
}

// principal reads who the token is about.
func (c *claimReader) principal(is *issuer, times lifetime) *Principal {
	names := &is.Claims
	clients := is.preset.client
	if names.Client != "" {
		clients = []string{names.Client}
	}
	p := &Principal{
		Issuer:    is.Name,
		IssuerID:  c.text("iss", "iss"),
		Subject:   c.text(names.Subject, "subject"),
		Client:    c.firstText(clients, "client"),
		Actor:     c.actor(),
		Scopes:    c.scopes(names.Scopes),
		Roles:     c.roles(names.Roles),
		TokenID:   c.firstText(is.preset.tokenID, "id"),
		SessionID: c.firstText(is.preset.session, "session"),
		IssuedAt:  times.issued,
		Expires:   times.expires,
		ACR:       c.text("acr", "acr"),
		AMR:       c.list("amr", "amr"),
		Claims:    c.claims,
	}
	p.AuthTime, _ = c.date("auth_time")
	if names.Tenant != "" {
		p.Tenant = c.text(names.Tenant, "tenant")
	}
	if names.Person != "" {
		p.Person = c.text(names.Person, "person")
	}
	if is.Elevation {
		p.Elevation = c.elevation()
	}
	if p.Subject == "" && p.Client == "" {
		c.fail(MissingClaim, "the token names neither a subject nor a client")
	}
	p.ID = PrincipalID(p.IssuerID, p.Tenant, p.Subject, p.Client, p.Actor)
	return p
}

// actor reads who acts on behalf of the subject (RFC 8693 §4.1). Only the
// outermost act counts; those within it are history. One without sub is refused:
// otherwise the delegated call would look like the subject's own.
func (c *claimReader) actor() string {
	if c.claims["act"] == nil {
		return ""
	}
	act, ok := c.claims["act"].(map[string]any)
	sub, _ := act["sub"].(string)
	if !ok || sub == "" {
		c.fail(Malformed, "the token's act has no sub")
	}
	return sub
}

// elevation reads elevation_status.elevated_at and, if it is there,
// duration_seconds. Without elevated_at nobody is elevated.
func (c *claimReader) elevation() *Elevation {
	if c.claims["elevation_status"] == nil {
		return nil
	}
	status, ok := c.claims["elevation_status"].(map[string]any)
	if !ok {
		c.fail(Malformed, "the token's elevation_status is not an object")
		return nil
	}
	if status["elevated_at"] == nil {
		return nil
	}
	text, _ := status["elevated_at"].(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		c.fail(Malformed, "the token's elevated_at is not an RFC 3339 time")
	}
	e := &Elevation{At: at}
	if v := status["duration_seconds"]; v != nil {
		number, _ := v.(json.Number)
		seconds, err := strconv.ParseUint(string(number), 10, 31)
		if err != nil || seconds == 0 { // 0 would mean: as long as configured
			c.fail(Malformed, "the token's duration_seconds is not a number of seconds")
		}
		e.Duration = time.Duration(seconds) * time.Second
	}
	return e
}
