package api

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tools are those of the requests of a list, as "tool/status", page by page until the
// end.
func (w *world) listed(who, query string) (seen []string, pages int) {
	w.t.Helper()
	after := ""
	for pages = 1; ; pages++ {
		r := w.want(who, "GET elevations?"+query+after, "", 200, "")
		list, _ := r.body["elevations"].([]any)
		for _, item := range list {
			member, _ := item.(map[string]any)
			seen = append(seen, fmt.Sprintf("%v/%v", member["tool"], member["requester"]))
		}
		next := r.string("next")
		if next == "" {
			return seen, pages
		}
		if pages > 100 {
			w.t.Fatal("the list has no end")
		}
		after = "&after=" + url.QueryEscape(next)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask("alice", refund)
	w.ask("carol", `{"tool":"wipe","reason":"x"}`)
	w.ask("alice", `{"tool":"wipe","reason":"x"}`)
	w.ask("carol", `{"tool":"pay","reason":"x","arguments":{}}`)
	w.ask("bob", `{"tool":"wipe","reason":"x"}`)
	w.ask("alice", `{"tool":"twice","server":"rest","reason":"x"}`)
	w.want("bob", "POST elevations/0195-0000/deny", "{}", 200, "")
	for _, tt := range []struct {
		name, who, query string
		want             []string
	}{
		{"own ones", "alice", "", []string{"twice/alice", "wipe/alice", "refund/alice"}},
		{"own ones", "carol", "", []string{"pay/carol", "wipe/carol"}},
		{"none", "dan", "", nil},
		{"an approver's, and own ones", "bob", "", []string{"twice/alice", "wipe/bob", "pay/carol", "refund/alice"}},
		{"own ones of the token's server", "alice-rest", "", []string{"twice/alice"}},
		{"only own ones", "bob", "mine=true", []string{"wipe/bob"}},
		{"an approver's of the token's server", "eve", "", []string{"twice/alice"}},
		{"by state", "bob", "state=denied", []string{"refund/alice"}},
		{"by kind", "bob", "kind=call", []string{"pay/carol"}},
		{"by tool", "alice", "tool=wipe", []string{"wipe/alice"}},
		{"by server", "bob", "server=rest", []string{"twice/alice"}},
		{"by all", "bob", "server=rest&tool=twice&kind=elevation&state=pending&mine=false", []string{"twice/alice"}},
		{"in pages", "bob", "limit=1", []string{"twice/alice", "wipe/bob", "pay/carol", "refund/alice"}},
		{"in pages of two", "bob", "limit=2", []string{"twice/alice", "wipe/bob", "pay/carol", "refund/alice"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := w.listed(tt.who, tt.query)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if r := w.do("dan", "GET elevations", ""); !strings.Contains(r.text, `"elevations":[]`) {
		t.Errorf("none: %s", r.text)
	}
}

// A requester's list takes one page, whatever others have; an approver's goes on until
// there is something, within bounds.
func TestListIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ask("alice", refund)
	for range 60 {
		w.ask("carol", `{"tool":"wipe","reason":"x"}`)
	}
	w.requests.pages = 0
	if got, pages := w.listed("alice", "limit=1"); len(got) != 1 || pages != 1 || w.requests.pages != 1 {
		t.Errorf("%v in %d answers of %d pages", got, pages, w.requests.pages)
	}
	w.requests.pages = 0
	if got, pages := w.listed("bob", "limit=1"); len(got) != 1 || pages != 4 || w.requests.pages != 61 {
		t.Errorf("%v in %d answers of %d pages", got, pages, w.requests.pages)
	}
}

func TestListQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for query, parameter := range map[string]string{
		"status=pending":            "status",
		"state=waiting":             "state",
		"state=":                    "state",
		"state=pending&state=spent": "state",
		"kind=x":                    "kind",
		"mine=1":                    "mine",
		"limit=0":                   "limit",
		"limit=101":                 "limit",
		"limit=":                    "limit",
		"limit=1e1":                 "limit",
		"%zz":                       "",
		"a;b":                       "",
	} {
		if r := w.want("bob", "GET elevations?"+query, "", 400, "elevation.query"); r.string("parameter") != parameter {
			t.Errorf("%s: %s", query, r.text)
		}
	}
	if r := w.do("bob", "GET elevations?limit=100", ""); r.StatusCode != 200 {
		t.Errorf("%s", r.text)
	}
}
