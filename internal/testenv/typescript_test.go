package testenv_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/internal/dealership"
	"github.com/sallyport/sallyport/internal/testenv"
)

func TestTypeScriptClients(t *testing.T) {
	t.Parallel()
	shop, err := dealership.New(dealership.Config{})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		shop.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		if err := shop.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	call := testenv.TypeScriptCall{URL: web.URL + "/mcp", Token: "secret", Tool: "dealer_lookup", Arguments: map[string]any{"city": "Pune"}}

	for _, client := range []struct{ pkg, version string }{
		{testenv.TypeScriptSDK, "2025-11-25"},
		{testenv.TypeScriptClient, "2025-03-26"},
		{testenv.TypeScriptClient, "2025-06-18"},
		{testenv.TypeScriptClient, "2025-11-25"},
		{testenv.TypeScriptClient, "2026-07-28"},
	} {
		t.Run(client.pkg+" "+client.version, func(t *testing.T) {
			call := call
			call.Package, call.Version = client.pkg, client.version
			got, err := call.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.Error != "" || got.IsError || got.Version != client.version {
				t.Errorf("got %+v", got)
			}
			if !slices.Contains(got.Tools, "refund_payment") || !strings.Contains(got.Text, "Sahyadri") || !strings.Contains(string(got.Structured), "Sahyadri") {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("tool error", func(t *testing.T) {
		call := call
		call.Package, call.Version, call.Arguments = testenv.TypeScriptClient, "2025-11-25", map[string]any{"dealer_id": "x"}
		if got, err := call.Run(t.Context()); err != nil || !got.IsError || got.Error != "" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		call := call
		call.Package, call.Version, call.Token = testenv.TypeScriptClient, "2025-11-25", ""
		if got, err := call.Run(t.Context()); err != nil || !strings.Contains(got.Error, "who are you?") {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}
