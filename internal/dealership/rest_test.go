package dealership_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport/sallyport/internal/dealership"
)

func get(t *testing.T, url string, into any) int {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	return res.StatusCode
}

func TestREST(t *testing.T) {
	d, url := open(t, dealership.Config{})
	booking := `{"vehicle_id":"V-1001","customer_id":"C-1","date":"2026-03-02","kind":"repair"}`
	cases := []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"GET", "/vehicles?fuel=electric", "", 200, `"V-1003"`},
		{"GET", "/vehicles?max_price=x", "", 400, "max_price"},
		{"GET", "/vehicles/V-1004", "", 200, `"XUV700"`},
		{"GET", "/vehicles/V-9", "", 404, "not found"},
		{"POST", "/services", booking, 201, `"B-1"`},
		{"POST", "/services", `{"vehicle":1}`, 400, "JSON object"},
		{"POST", "/services", strings.Replace(booking, "V-1001", "V-9", 1), 404, "not found"},
		{"POST", "/services", strings.Replace(booking, "2026-03-02", "soon", 1), 422, "YYYY-MM-DD"},
		{"DELETE", "/services/B-1", "", 200, "cancelled"},
		{"DELETE", "/services/B-1", "", 409, "already"},
		{"GET", "/nowhere", "", 404, ""},
	}
	for _, c := range cases {
		req, err := http.NewRequestWithContext(t.Context(), c.method, url+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var body strings.Builder
		if _, err := io.Copy(&body, res.Body); err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != c.status || !strings.Contains(body.String(), c.contains) {
			t.Errorf("%s %s: %d %s, want %d with %q", c.method, c.path, res.StatusCode, body.String(), c.status, c.contains)
		}
	}
	if diff := cmp.Diff(map[string]int{"book_service": 1, "cancel_service": 1}, d.Effects()); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestRecordShowsWhatArrived(t *testing.T) {
	d, url := open(t, dealership.Config{Record: 2})
	for _, path := range []string{"/vehicles/V-1001", "/vehicles/V-1002", "/vehicles/V%2d1003"} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", url+path, nil)
		req.Header.Set("Authorization", "Bearer secret")
		req.Host = "mcp.example.com"
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	var uris []string
	for _, r := range d.Requests() {
		uris = append(uris, r.URI)
		if r.Host != "mcp.example.com" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("recorded %+v", r)
		}
	}
	if diff := cmp.Diff([]string{"/vehicles/V-1002", "/vehicles/V%2d1003"}, uris); diff != "" {
		t.Errorf("last two (-want +got):\n%s", diff)
	}
	if d.Arrived() != 3 {
		t.Errorf("%d arrived, want 3", d.Arrived())
	}
	d.Forget()
	if d.Arrived() != 0 || len(d.Requests()) != 0 {
		t.Error("the record survived Forget")
	}
}

func TestInjectedFaultsHaveNoEffect(t *testing.T) {
	d, url := open(t, dealership.Config{})
	d.FailNext(1, http.StatusServiceUnavailable)
	booking := `{"vehicle_id":"V-1001","customer_id":"C-1","date":"2026-03-02"}`
	for i, want := range []int{http.StatusServiceUnavailable, http.StatusCreated} {
		res, err := http.Post(url+"/services", "application/json", strings.NewReader(booking))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("attempt %d: %d, want %d", i, res.StatusCode, want)
		}
	}
	if d.Effects()["book_service"] != 1 || d.Arrived() != 2 {
		t.Errorf("effects %v of %d requests, want one of two", d.Effects(), d.Arrived())
	}

	d.SetDelay(time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "POST", url+"/services", strings.NewReader(booking))
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
		t.Fatal("the delay did not hold the answer back")
	}
	d.SetDelay(0)
	if got := d.Effects()["book_service"]; got != 1 {
		t.Errorf("an abandoned request took effect: %d bookings", got)
	}
}
