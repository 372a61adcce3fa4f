package identity_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/authz/identity"
)

// Times are compared with skew, each at its border.
func TestTimes(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) int64 { return noon().Add(d).Unix() }
	for name, c := range map[string]struct {
		claims object
		want   string
	}{
		"expires within the skew": {object{"exp": at(-29 * time.Second)}, ""},
		"expired with the skew":   {object{"exp": at(-30 * time.Second)}, identity.Expired},
		"long expired":            {object{"iat": at(-2 * time.Hour), "exp": at(-time.Hour)}, identity.Expired},
		"issued within the skew":  {object{"iat": at(30 * time.Second)}, ""},
		"issued in the future":    {object{"iat": at(31 * time.Second)}, identity.NotYetValid},
		"nbf within the skew":     {object{"nbf": at(30 * time.Second)}, ""},
		"nbf in the future":       {object{"nbf": at(31 * time.Second)}, identity.NotYetValid},
		"lives as long as may be": {object{"iat": at(-time.Hour), "exp": at(23 * time.Hour)}, ""},
		"lives too long":          {object{"iat": at(-time.Hour), "exp": at(23*time.Hour + time.Second)}, identity.LifetimeTooLong},
		"no exp":                  {object{"exp": nil}, identity.MissingClaim},
		"no iat":                  {object{"iat": nil}, identity.MissingClaim},
		"exp with a fraction":     {object{"exp": json.Number("1772366700.75")}, ""},
		"auth_time as text":       {object{"auth_time": "yesterday"}, identity.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newWorld(t).verify(t, good(c.claims))
			wantCause(t, err, c.want)
		})
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *identity.VerifierConfig) {
		is := &c.Issuers[0]
		is.Tenants, is.Claims.Tenant = []string{"t1", "t2"}, "org.id"
		is.Clients = []string{"agent"}
		is.RequireScopePrefix = "dealer/"
	})
	right := object{"org": object{"id": "t2"}, "scope": "openid dealer/read"}
	for name, c := range map[string]struct {
		claims object
		want   string
	}{
		"right":            {nil, ""},
		"other tenant":     {object{"org": object{"id": "t3"}}, identity.WrongTenant},
		"no tenant":        {object{"org": nil}, identity.WrongTenant},
		"tenant, a number": {object{"org": object{"id": 1}}, identity.Malformed},
		"other client":     {object{"client_id": "evil"}, identity.WrongClient},
		"no client":        {object{"client_id": nil}, identity.WrongClient},
		"no such scope":    {object{"scope": "openid xdealer/read"}, identity.WrongAudience},
	} {
		_, err := w.verify(t, good(right, c.claims))
		t.Run(name, func(t *testing.T) { wantCause(t, err, c.want) })
	}
}

func TestScopesAndRoles(t *testing.T) {
	t.Parallel()
	names := func(c *identity.VerifierConfig) {
		c.Issuers[0].Claims = identity.ClaimNames{
			Scopes: []string{"scope", "scp", "permissions"},
			Roles:  []string{"resource_access.my.app.roles", "https://x.example/roles"},
		}
	}
	for name, c := range map[string]struct {
		claims        object
		scopes, roles []string
		want          string
	}{
		"scope":             {object{"scope": "b a b"}, []string{"a", "b"}, nil, ""},
		"scp string":        {object{"scope": nil, "scp": "a b"}, []string{"a", "b"}, nil, ""},
		"scp array":         {object{"scope": nil, "scp": []string{"a b", "c"}}, []string{"a b", "c"}, nil, ""},
		"union":             {object{"scope": "a", "scp": "b", "permissions": []string{"c"}}, []string{"a", "b", "c"}, nil, ""},
		"none":              {object{"scope": nil}, nil, nil, ""},
		"empty":             {object{"scope": "  "}, nil, nil, ""},
		"null":              {object{"scope": "", "scp": json.RawMessage("null")}, nil, nil, ""},
		"tab is no divider": {object{"scope": "a\tb"}, []string{"a\tb"}, nil, ""},
		"scope, a number":   {object{"scope": 7}, nil, nil, identity.Malformed},
		"scp of numbers":    {object{"scp": []any{"a", 7}}, nil, nil, identity.Malformed},
		"roles at a path":   {object{"resource_access": object{"my.app": object{"roles": []string{"r"}}}}, []string{"read", "write"}, []string{"r"}, ""},
		"role with a URL":   {object{"https://x.example/roles": "r s"}, []string{"read", "write"}, []string{"r s"}, ""},
		"roles, an object":  {object{"https://x.example/roles": object{"r": true}}, nil, nil, identity.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := newWorld(t, names).verify(t, good(c.claims))
			wantCause(t, err, c.want)
			if err != nil {
				return
			}
			if diff := cmp.Diff(c.scopes, p.Scopes, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Error("scopes", diff)
			}
			if diff := cmp.Diff(c.roles, p.Roles, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
				t.Error("roles", diff)
			}
		})
	}
}

func TestWhoItIs(t *testing.T) {
	t.Parallel()
	person := func(c *identity.VerifierConfig) { c.Issuers[0].Claims.Person = "employee.id" }
	for name, c := range map[string]struct {
		claims                         object
		subject, client, actor, person string
		want                           string
	}{
		"user":               {object{}, "alice", "agent", "", "", ""},
		"azp if no client":   {object{"client_id": nil, "azp": "app"}, "alice", "app", "", "", ""},
		"client alone":       {object{"sub": nil}, "", "agent", "", "", ""},
		"nobody":             {object{"sub": nil, "client_id": nil}, "", "", "", "", identity.MissingClaim},
		"person":             {object{"employee": object{"id": "e7"}}, "alice", "agent", "", "e7", ""},
		"actor":              {object{"act": object{"sub": "robot"}}, "alice", "agent", "robot", "", ""},
		"actor without sub":  {object{"act": object{"client_id": "robot"}}, "", "", "", "", identity.Malformed},
		"actor, a string":    {object{"act": "robot"}, "", "", "", "", identity.Malformed},
		"subject, a number":  {object{"sub": 7}, "", "", "", "", identity.Malformed},
		"subject, an array":  {object{"sub": []string{"alice"}}, "", "", "", "", identity.Malformed},
		"client, an object":  {object{"client_id": object{}}, "", "", "", "", identity.Malformed},
		"token id, a number": {object{"jti": 7}, "", "", "", "", identity.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := newWorld(t, person).verify(t, good(c.claims))
			wantCause(t, err, c.want)
			if err != nil {
				return
			}
			got := []string{p.Subject, p.Client, p.Actor, p.Person, p.ID}
			want := []string{c.subject, c.client, c.actor, c.person, identity.PrincipalID(issuerURL, "", c.subject, c.client, c.actor)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestElevation(t *testing.T) {
	t.Parallel()
	trusted := func(c *identity.VerifierConfig) { c.Issuers[0].Elevation = true }
	at := time.Date(2026, 3, 1, 11, 59, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		status any
		want   *identity.Elevation
		cause  string
	}{
		"at":                {object{"elevated_at": "2026-03-01T11:59:00Z"}, &identity.Elevation{At: at}, ""},
		"with an offset":    {object{"elevated_at": "2026-03-01T17:29:00+05:30"}, &identity.Elevation{At: at}, ""},
		"with a duration":   {object{"elevated_at": "2026-03-01T11:59:00Z", "duration_seconds": 900}, &identity.Elevation{At: at, Duration: 15 * time.Minute}, ""},
		"absent":            {nil, nil, ""},
		"not elevated":      {object{"is_elevated": false}, nil, ""},
		"a string":          {"elevated", nil, identity.Malformed},
		"unix time":         {object{"elevated_at": 1772366340}, nil, identity.Malformed},
		"no zone":           {object{"elevated_at": "2026-03-01T11:59:00"}, nil, identity.Malformed},
		"a date":            {object{"elevated_at": "2026-03-01"}, nil, identity.Malformed},
		"zero duration":     {object{"elevated_at": "2026-03-01T11:59:00Z", "duration_seconds": 0}, nil, identity.Malformed},
		"negative duration": {object{"elevated_at": "2026-03-01T11:59:00Z", "duration_seconds": -1}, nil, identity.Malformed},
		"huge duration":     {object{"elevated_at": "2026-03-01T11:59:00Z", "duration_seconds": json.Number("1e400")}, nil, identity.Malformed},
		"duration as text":  {object{"elevated_at": "2026-03-01T11:59:00Z", "duration_seconds": "900"}, nil, identity.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := newWorld(t, trusted).verify(t, good(object{"elevation_status": c.status}))
			wantCause(t, err, c.cause)
			if err == nil {
				if diff := cmp.Diff(c.want, p.Elevation, cmp.Comparer(time.Time.Equal)); diff != "" {
					t.Error(diff)
				}
			}
			p, err = newWorld(t).verify(t, good(object{"elevation_status": c.status}))
			wantCause(t, err, "")
			if p != nil && p.Elevation != nil {
				t.Error("an issuer that isn't trusted to elevate did")
			}
		})
	}
}
