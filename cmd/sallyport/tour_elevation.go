package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/devissuer"
)

// elevation: dana asks for the right to refund for some seconds, bob gives it; then
// for one exact call.
func (t *tour) elevation() []step {
	refund := func(key string) func(context.Context) (string, error) {
		return t.keyed(key, t.person("dana"), "refund_payment", map[string]any{"payment_id": "P-2", "amount": 250})
	}
	erase := func(key, customer string) func(context.Context) (string, error) {
		return t.keyed(key, t.person("dana", elevated(0)), "delete_customer", map[string]any{"customer_id": customer})
	}
	dana, bob := t.person("dana"), t.person("bob", approver)
	return []step{
		{"dana's refund, without an elevation", "200 elevation.required", refund("tour-6")},
		{"dana asks for one, for five seconds", "202 pending", t.asks(dana, `{"tool":"refund_payment","reason":"charged twice","duration_seconds":5}`)},
		{"dana approves it herself, with another client", "403 elevation.self", t.decides(t.person("dana", approver, func(o *devissuer.TokenOptions) { o.Client = "other" }), "approve")},
		{"bob approves it", "200 approved", t.decides(bob, "approve")},
		{"the same refund", "200 allowed", t.within(time.Second, "200 allowed", refund("tour-6"))},
		{"and after five seconds", "200 elevation.required", t.within(10*time.Second, "200 elevation.required", refund("tour-6"))},
		{"a call that needs an approval of its own", "200 approval.required", erase("tour-7", "C-3")},
		{"dana asks for one of exactly this call", "202 pending", t.asks(dana, `{"tool":"delete_customer","reason":"asked to be forgotten","arguments":{"customer_id":"C-3"}}`)},
		{"bob reads the arguments and approves", "200 approved", t.decides(bob, "approve")},
		{"with other arguments", "200 approval.required", erase("tour-8", "C-2")},
		{"the call that was approved", "200 allowed", t.within(time.Second, "200 allowed", erase("tour-7", "C-3"))},
		{"the same again: a replay spends nothing", "200 replayed", erase("tour-7", "C-3")},
		{"once more, as another call", "200 approval.spent", erase("tour-9", "C-3")},
		{"on record, each with its outcome", "request, approve, expire; request, approve, spend", t.elevationsOnRecord},
	}
}

// person is a token of a human whom the issuer names.
func (t *tour) person(name string, change ...func(*devissuer.TokenOptions)) devissuer.TokenOptions {
	o := t.caller("payments.refund", change...)
	o.Subject, o.Claims = name, map[string]any{"employee": "E-" + name}
	return o
}

func approver(o *devissuer.TokenOptions) { o.Roles = []string{"approver"} }

// asks makes a request and keeps its id.
func (t *tour) asks(who devissuer.TokenOptions, body string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return t.api(ctx, who, "elevate", body) }
}

// decides lets somebody decide on the last request.
func (t *tour) decides(who devissuer.TokenOptions, what string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		return t.api(ctx, who, "elevations/"+t.asked[len(t.asked)-1]+"/"+what, `{"comment":"agreed by phone"}`)
	}
}

// api is a request to Sallyport's own API. It returns the HTTP status, and the status of
// the request or the reason of a refusal.
func (t *tour) api(ctx context.Context, who devissuer.TokenOptions, path, body string) (string, error) {
	token, err := t.issuer.Mint(who)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url+"/api/auth/"+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	var said struct {
		ID     string          `json:"request_id"`
		Type   string          `json:"type"`
		Status json.RawMessage `json:"status"` // of a problem it is a number
	}
	if err := errors.Join(json.NewDecoder(resp.Body).Decode(&said), resp.Body.Close()); err != nil {
		return "", fmt.Errorf("%s: %s: %w", path, resp.Status, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Sprintf("%d %s", resp.StatusCode, said.Type[strings.LastIndexAny(said.Type, ":/#")+1:]), nil
	}
	if path == "elevate" {
		t.asked = append(t.asked, said.ID)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, bytes.Trim(said.Status, `"`)), nil
}

// within repeats a call until it ends as wanted, for some time: what was decided is in
// force within a second, and what has an end ends by itself.
func (t *tour) within(limit time.Duration, want string, call func(context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (seen string, err error) {
		for end := time.Now().Add(limit); ; {
			seen, err = call(ctx)
			if err != nil || seen == want || time.Now().After(end) {
				return seen, err
			}
			select {
			case <-ctx.Done():
				return seen, nil
			case <-time.After(limit / 4):
			}
		}
	}
}

// elevationsOnRecord are the acts in the trail that were done, by request.
func (t *tour) elevationsOnRecord(ctx context.Context) (string, error) {
	const want = 6
	var stories []string
	for end := time.Now().Add(15 * time.Second); ; {
		output, code := t.auditCommand(ctx, "search", "--type", "elevation", "--status", "done", "--json")
		if code != 0 {
			return string(output), nil
		}
		acts := make(map[string][]string)
		found := 0
		for line := range bytes.Lines(output) {
			var event struct {
				Action   string
				Metadata struct {
					RequestID string `json:"request_id"`
				}
			}
			if err := json.Unmarshal(line, &event); err != nil {
				return "", err
			}
			id := event.Metadata.RequestID
			acts[id] = append([]string{event.Action}, acts[id]...) // the newest come first
			found++
		}
		stories = nil
		for _, id := range t.asked {
			stories = append(stories, strings.Join(acts[id], ", "))
		}
		if found >= want || time.Now().After(end) {
			return strings.Join(stories, "; "), nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}
