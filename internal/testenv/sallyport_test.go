package testenv

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// playSallyport is what a child does that stands in for the service: the file
// that --config names holds the address of its operations listener.
func playSallyport(ready bool, signals chan os.Signal) int {
	signal.Notify(signals, syscall.SIGTERM)
	if len(os.Args) != 4 || os.Args[1] != "serve" || os.Args[2] != "--config" {
		fmt.Println("unexpected arguments", os.Args[1:])
		return 1
	}
	ops, err := os.ReadFile(os.Args[3])
	if err != nil {
		fmt.Println(err)
		return 2
	}
	listener, err := net.Listen("tcp", string(ops))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	handler := http.NewServeMux()
	handler.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "sallyport_up 1") })
	handler.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready {
			http.Error(w, "no key set yet", http.StatusServiceUnavailable)
		}
	})
	go http.Serve(listener, handler) // until the process ends
	<-signals
	return 0
}

func TestStartSallyport(t *testing.T) {
	t.Parallel()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	ops := fmt.Sprintf("127.0.0.1:%d", port)
	config := filepath.Join(t.TempDir(), "sallyport.yaml")
	if err := os.WriteFile(config, []byte(ops), 0o600); err != nil {
		t.Fatal(err)
	}
	options := SallyportOptions{Binary: os.Args[0], Config: config, Ops: ops, Env: []string{childVariable + "=sallyport"}}

	s, err := StartSallyport(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if metrics, err := s.Metrics(t.Context()); err != nil || !strings.Contains(metrics, "sallyport_up 1") {
		t.Errorf("metrics are %q, %v", metrics, err)
	}
	if s.OpsURL() != "http://"+ops {
		t.Errorf("ops is at %s", s.OpsURL())
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if s.Ready(t.Context()) == nil {
		t.Error("it is ready after Stop")
	}

	options.Env = []string{childVariable + "=sallyport, never ready"}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := StartSallyport(ctx, options); err == nil || !strings.Contains(err.Error(), "no key set yet") {
		t.Errorf("got %v, want what it said of its readiness", err)
	}
	options.Config = "/nonexistent/sallyport.yaml"
	if _, err := StartSallyport(t.Context(), options); err == nil || !strings.Contains(err.Error(), "/nonexistent/sallyport.yaml") {
		t.Errorf("got %v, want what it said at its end", err)
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	if _, err := Build(t.Context(), "github.com/sallyport/sallyport/nowhere"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("got %v, want the compiler's reason", err)
	}
	first, err := Build(t.Context(), everythingPackage)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Build(t.Context(), everythingPackage)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(again)
	if err != nil {
		t.Fatal(err)
	}
	if again != first || !os.SameFile(before, after) {
		t.Errorf("%s was built again, as %s", first, again)
	}
}
