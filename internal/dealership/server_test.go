package dealership_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport/sallyport/internal/dealership"
)

// open serves a dealership on loopback until the test ends.
func open(t *testing.T, cfg dealership.Config) (*dealership.Server, string) {
	t.Helper()
	d, err := dealership.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(d.Handler())
	t.Cleanup(func() {
		d.Close()
		web.Close()
	})
	return d, web.URL
}

// connect opens a session of the SDK's client at one revision.
func connect(t *testing.T, endpoint, version string) *mcp.ClientSession {
	t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := c.Connect(t.Context(),
		&mcp.StreamableClientTransport{Endpoint: endpoint, DisableStandaloneSSE: true},
		&mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("connect at %s: %v", version, err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

func call(t *testing.T, s *mcp.ClientSession, tool string, args map[string]any) *mcp.CallToolResult {
	t.Helper()
	res, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("call %s: %v", tool, err)
	}
	return res
}

func TestEveryRevision(t *testing.T) {
	d, url := open(t, dealership.Config{})
	for _, version := range []string{"2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			d.Forget()
			s := connect(t, url+"/mcp", version)
			if got := s.InitializeResult().ProtocolVersion; got != version {
				t.Errorf("negotiated %s, want %s", got, version)
			}
			res := call(t, s, "search_vehicles", map[string]any{"make": "tata"})
			var out struct {
				Vehicles []dealership.Vehicle `json:"vehicles"`
			}
			decode(t, res.StructuredContent, &out)
			if len(out.Vehicles) != 1 || out.Vehicles[0].ID != "V-1003" {
				t.Errorf("found %+v, want V-1003", out.Vehicles)
			}
			withSession := d.Requests()[d.Arrived()-1].Header.Get("Mcp-Session-Id") != ""
			if want := version < "2026-07-28"; withSession != want {
				t.Errorf("call carried a session: %v, want %v", withSession, want)
			}
		})
	}
}

func TestNarrowedVersions(t *testing.T) {
	_, url := open(t, dealership.Config{Versions: []string{"2025-06-18"}, JSONResponse: true, Path: "/other"})
	s := connect(t, url+"/other", "2026-07-28")
	if got := s.InitializeResult().ProtocolVersion; got != "2025-06-18" {
		t.Errorf("negotiated %s, want 2025-06-18", got)
	}
	call(t, s, "dealer_lookup", map[string]any{"city": "Pune"})
}

func TestToolsAreDescribed(t *testing.T) {
	_, url := open(t, dealership.Config{})
	s := connect(t, url+"/mcp", "2025-11-25")
	list, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	type hints struct{ Read, Destroys, Input, Output bool }
	got := map[string]hints{}
	for _, tool := range list.Tools {
		a := tool.Annotations
		got[tool.Name] = hints{
			Read:     a.ReadOnlyHint,
			Destroys: !a.ReadOnlyHint && (a.DestructiveHint == nil || *a.DestructiveHint),
			Input:    tool.InputSchema != nil,
			Output:   tool.OutputSchema != nil,
		}
	}
	want := map[string]hints{
		"search_vehicles": {Read: true, Input: true, Output: true},
		"dealer_lookup":   {Read: true, Input: true, Output: true},
		"book_service":    {Input: true, Output: true},
		"cancel_service":  {Destroys: true, Input: true, Output: true},
		"refund_payment":  {Destroys: true, Input: true, Output: true},
		"delete_customer": {Destroys: true, Input: true, Output: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
}

func TestEffects(t *testing.T) {
	d, url := open(t, dealership.Config{})
	s := connect(t, url+"/mcp", "2025-11-25")
	steps := []struct {
		tool  string
		args  map[string]any
		fails bool
	}{
		{"search_vehicles", map[string]any{}, false},
		{"search_vehicles", map[string]any{"fuel": "steam"}, true},
		{"search_vehicles", map[string]any{"surprise": 1}, true},
		{"book_service", map[string]any{"vehicle_id": "V-1001", "customer_id": "C-1", "date": "2026-03-02"}, false},
		{"book_service", map[string]any{"vehicle_id": "V-1", "customer_id": "C-1", "date": "2026-03-02"}, true},
		{"book_service", map[string]any{"vehicle_id": "V-1001", "customer_id": "C-9", "date": "2026-03-02"}, true},
		{"book_service", map[string]any{"vehicle_id": "V-1001", "customer_id": "C-1", "date": "2026-02-30"}, true},
		{"cancel_service", map[string]any{"booking_id": "B-1"}, false},
		{"cancel_service", map[string]any{"booking_id": "B-1"}, true},
		{"refund_payment", map[string]any{"payment_id": "P-1", "amount": 12500}, false},
		{"refund_payment", map[string]any{"payment_id": "P-1", "amount": 1}, true},
		{"delete_customer", map[string]any{"customer_id": "C-3"}, false},
		{"delete_customer", map[string]any{"customer_id": "C-3"}, true},
	}
	for _, step := range steps {
		res := call(t, s, step.tool, step.args)
		if res.IsError != step.fails {
			text, _ := json.Marshal(res.Content)
			t.Errorf("%s %v: error %v, want %v: %s", step.tool, step.args, res.IsError, step.fails, text)
		}
	}
	want := map[string]int{"book_service": 1, "cancel_service": 1, "refund_payment": 1, "delete_customer": 1}
	if diff := cmp.Diff(want, d.Effects()); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestContent(t *testing.T) {
	_, url := open(t, dealership.Config{})
	s := connect(t, url+"/mcp", "2026-07-28")
	for _, uri := range []string{dealership.HoursURI, dealership.PriceListURI, dealership.VehiclePrefix + "V-1002"} {
		res, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: uri})
		if err != nil || len(res.Contents) != 1 || res.Contents[0].Text == "" {
			t.Errorf("read %s: %v %v", uri, res, err)
		}
	}
	if _, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: dealership.VehiclePrefix + "V-1"}); err == nil {
		t.Error("an unknown vehicle was read")
	}
	prompt, err := s.GetPrompt(t.Context(), &mcp.GetPromptParams{
		Name: "recommend_vehicle", Arguments: map[string]string{"budget": "900000"},
	})
	if err != nil || len(prompt.Messages) != 1 {
		t.Errorf("prompt: %v %v", prompt, err)
	}
}

func TestConcurrentRefundsNeverOverdraw(t *testing.T) {
	d, url := open(t, dealership.Config{})
	s := connect(t, url+"/mcp", "2026-07-28")
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			s.CallTool(t.Context(), &mcp.CallToolParams{
				Name: "refund_payment", Arguments: map[string]any{"payment_id": "P-3", "amount": 1000},
			})
		})
	}
	group.Wait()
	if got := d.Effects()["refund_payment"]; got != 4 {
		t.Errorf("%d refunds of 1000 from 4999, want 4", got)
	}
}

func TestInvalidConfig(t *testing.T) {
	for _, cfg := range []dealership.Config{
		{Path: "mcp"}, {Path: "/{x}"}, {Versions: []string{"2020-01-01"}}, {Record: -1}, {Record: 1 << 20},
	} {
		if _, err := dealership.New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func TestVINsCarryTheirCheckDigit(t *testing.T) {
	_, url := open(t, dealership.Config{})
	var out struct {
		Vehicles []dealership.Vehicle `json:"vehicles"`
	}
	if status := get(t, url+"/vehicles", &out); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if len(out.Vehicles) != 8 {
		t.Errorf("%d vehicles, want 8", len(out.Vehicles))
	}
	for _, v := range out.Vehicles {
		if err := checkVIN(v.VIN); err != nil {
			t.Errorf("%s: %v", v.ID, err)
		}
	}
}

// checkVIN applies the check digit of ISO 3779 as used in North America.
func checkVIN(vin string) error {
	values := map[byte]int{'A': 1, 'B': 2, 'C': 3, 'D': 4, 'E': 5, 'F': 6, 'G': 7, 'H': 8, 'J': 1, 'K': 2, 'L': 3, 'M': 4, 'N': 5, 'P': 7, 'R': 9, 'S': 2, 'T': 3, 'U': 4, 'V': 5, 'W': 6, 'X': 7, 'Y': 8, 'Z': 9}
	for c := byte('0'); c <= '9'; c++ {
		values[c] = int(c - '0')
	}
	weights := [17]int{8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2}
	if len(vin) != 17 {
		return fmt.Errorf("VIN %q has %d characters", vin, len(vin))
	}
	sum := 0
	for i, w := range weights {
		sum += values[vin[i]] * w
	}
	if digit := "0123456789X"[sum%11]; vin[8] != digit {
		return fmt.Errorf("VIN %q: check digit %c, want %c", vin, vin[8], digit)
	}
	return nil
}

func decode(t *testing.T, from, into any) {
	t.Helper()
	raw, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}
