package pim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider"
)

// fakeProvider takes requests and answers as it is told.
type fakeProvider struct {
	mu     sync.Mutex // guards all below
	filed  []provider.Filing
	polled []string
	answer provider.Filed
	err    error
	during func()           // a poll
	fails  map[string]error // polls of these
}

func (f *fakeProvider) Name() string { return "azure" }

func (f *fakeProvider) Check(context.Context, provider.Subject) (provider.Status, error) {
	return provider.Status{}, errors.New("nobody asks here")
}

func (f *fakeProvider) File(ctx context.Context, what provider.Filing) (provider.Filed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return provider.Filed{}, err
	}
	f.filed = append(f.filed, what)
	return f.answer, f.err
}

func (f *fakeProvider) Poll(_ context.Context, ref string, who provider.Subject) (provider.Filed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polled = append(f.polled, ref+" "+who.User)
	if f.during != nil {
		f.during()
	}
	if err := f.fails[ref]; err != nil {
		return provider.Filed{}, err
	}
	return f.answer, f.err
}

func (f *fakeProvider) says(answer provider.Filed, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer, f.err, f.polled = answer, err, nil
}

func external(who Party) Ask {
	ask := elevation(who)
	ask.ProviderUser, ask.ProviderRole = "oid-1", "scrapper"
	return ask
}

func TestFiling(t *testing.T) {
	forEach(t, func(w *world) {
		w.provider = &fakeProvider{}
		one, two := w.replica(), w.replica()
		_, err := one.Request(w.Context(), elevation(alice), terms)
		w.wantError("a requester whom the provider doesn't know", err, ErrAsk)

		pending := provider.Filed{Ref: "17", URL: "https://pim/17", State: provider.FiledPending}
		w.provider.says(pending, nil)
		r := w.ask(one, external(alice))
		if r.State != Pending || r.Provider != "azure" || r.ProviderRef != "17" || r.ProviderURL != "https://pim/17" {
			w.Errorf("filed: %+v", r)
		}
		want := provider.Filing{Subject: provider.Subject{User: "oid-1", Role: "scrapper"}, Reason: "a wreck", Duration: time.Hour, Tool: "scrap"}
		if len(w.provider.filed) != 1 || w.provider.filed[0] != want {
			w.Errorf("filed %+v", w.provider.filed)
		}
		if again := w.ask(two, external(alice)); again.ID != r.ID || len(w.provider.filed) != 1 {
			w.Error("it was filed twice")
		}
		w.wantError("a decision here", second(one.Approve(w.Context(), r.ID, bob, "")), ErrElsewhere)

		// It is asked about when its time has come, by one of the replicas.
		ask := func() {
			w.Helper()
			for _, s := range []*Service{one, two} {
				if err := s.askProvider(w.Context()); err != nil {
					w.Error(err)
				}
			}
		}
		ask()
		w.pass(6 * time.Second)
		ask()
		if len(w.provider.polled) != 1 || w.provider.polled[0] != "17 oid-1" {
			w.Errorf("asked: %q", w.provider.polled)
		}
		w.wantState(one, r.ID, Pending)
		until := w.now().Add(20 * time.Minute).UTC().Truncate(time.Second)
		w.provider.says(provider.Filed{Ref: "17", State: provider.FiledActive, Until: until}, nil)
		w.pass(6 * time.Second)
		ask()
		if got := w.get(one, r.ID); got.State != Approved || !got.Until.Equal(until) {
			w.Errorf("active there: %+v", got)
		}
		w.poll(one)
		w.wantGrant(one, alice, "") // the provider's word counts, not what it was
		if _, err := one.Revoke(w.Context(), r.ID, bob, ""); err != nil {
			w.Error(err)
		}
		if _, ok, err := one.View().RevokedAt(holder(alice), w.now()); !ok || err != nil {
			w.Errorf("a provider's grant can't be revoked: %v", err)
		}

		// Whoever is quicker: here the requester.
		w.provider.says(provider.Filed{Ref: "18", State: provider.FiledPending}, nil)
		r = w.ask(one, external(carol))
		w.provider.says(provider.Filed{Ref: "18", State: provider.FiledActive}, nil)
		w.provider.during = func() {
			if _, err := two.Cancel(w.Context(), r.ID, carol); err != nil {
				w.Error(err)
			}
		}
		w.pass(6 * time.Second)
		ask()
		w.wantState(one, r.ID, Cancelled)

		// Break-glass and calls are decided here.
		w.provider.says(provider.Filed{}, errors.New("it is down"))
		glass := elevation(alice)
		glass.BreakGlass = true
		if r := w.given(one, glass); r.Provider != "" || r.State != Approved {
			w.Errorf("break-glass: %+v", r)
		}
		if r := w.given(one, call(alice, 1)); r.Provider != "" || r.State != Approved {
			w.Errorf("call: %+v", r)
		}
	})
}

func TestFilingFails(t *testing.T) {
	forEach(t, func(w *world) {
		w.provider = &fakeProvider{}
		one := w.replica()
		for failure, want := range map[error]error{
			errors.New("down"): ErrProvider, &provider.Error{Status: 400}: ErrProvider, provider.ErrUnsupported: ErrElsewhere,
		} {
			w.provider.says(provider.Filed{URL: "https://pam.example"}, failure)
			r, err := one.Request(w.Context(), external(alice), terms)
			w.wantError("not filed", err, want)
			w.wantError("not filed", err, failure)
			w.wantState(one, r.ID, Denied)
			if elsewhere := errors.Is(want, ErrElsewhere); elsewhere != (r.ProviderURL != "") {
				w.Errorf("%v: people are sent to %q", failure, r.ProviderURL)
			}
		}
		if n := one.Stats().Unfiled; n != 2 {
			w.Errorf("%d are unfiled, want 2", n)
		}
		for state, want := range map[provider.FiledState]State{
			provider.FiledActive: Approved, provider.FiledDenied: Denied, provider.FiledFailed: Denied,
			provider.FiledExpired: Expired, provider.FiledCancelled: Cancelled,
		} {
			w.provider.says(provider.Filed{Ref: "1", State: state}, nil)
			if r := w.ask(one, external(alice)); r.State != want {
				w.Errorf("%s there: %s here", state, r.State)
			}
		}

		// Where the answer was lost, with this process perhaps, it ends soon.
		w.do("DELETE FROM pim_requests")
		draft := external(bob)
		lost := draft.draft(&terms)
		lost.ID, lost.Provider = "00000000-0000-7000-8000-000000000001", "azure"
		if _, err := one.change(w.Context(), func(ctx context.Context, b *batch) error { return b.enter(ctx, lost, &terms) }); err != nil {
			w.Fatal(err)
		}
		w.pass(59 * time.Second)
		if err := one.askProvider(w.Context()); err != nil {
			w.Error(err)
		}
		w.wantState(one, lost.ID, Pending)
		w.pass(2 * time.Second)
		if err := one.askProvider(w.Context()); err != nil || len(w.provider.polled) != 0 {
			w.Errorf("%v, polled %q", err, w.provider.polled)
		}
		w.wantState(one, lost.ID, Denied)

		// A provider that fails is asked again later, and doesn't end anything.
		w.provider.says(provider.Filed{Ref: "2", State: provider.FiledPending}, nil)
		r := w.ask(one, external(carol))
		w.provider.says(provider.Filed{}, errors.New("down"))
		w.pass(10 * time.Second)
		if err := one.askProvider(w.Context()); err == nil {
			w.Error("the failure isn't reported")
		}
		w.wantState(one, r.ID, Pending)
		if err := one.askProvider(w.Context()); err != nil || len(w.provider.polled) != 1 {
			w.Errorf("asked again at once: %v, %q", err, w.provider.polled)
		}
	})
}

// One that always fails doesn't keep the others from being asked about, but a provider
// that isn't there isn't asked about each.
func TestOneFails(t *testing.T) {
	forEach(t, func(w *world) {
		w.provider = &fakeProvider{}
		s := w.replica()
		var all []Request
		for i, who := range []Party{alice, bob, carol} {
			w.provider.says(provider.Filed{Ref: string(rune('1' + i)), State: provider.FiledPending}, nil)
			all = append(all, w.ask(s, external(who)))
			w.pass(time.Millisecond)
		}
		open, gone := fmt.Errorf("%w: down", provider.ErrOpen), errors.New("no such request")
		w.provider.says(provider.Filed{State: provider.FiledActive}, nil)
		w.provider.fails = map[string]error{"1": open}
		w.pass(time.Minute)
		if err := s.askProvider(w.Context()); !errors.Is(err, provider.ErrOpen) || len(w.provider.polled) != 1 {
			w.Errorf("%v, polled %q", err, w.provider.polled)
		}
		w.provider.fails = map[string]error{"1": gone, "2": gone}
		w.pass(time.Minute)
		if err := s.askProvider(w.Context()); !errors.Is(err, gone) || !strings.Contains(err.Error(), all[0].ID) || !strings.Contains(err.Error(), all[1].ID) {
			w.Errorf("%v", err)
		}
		for i, want := range []State{Pending, Pending, Approved} {
			w.wantState(s, all[i].ID, want)
		}
	})
}
