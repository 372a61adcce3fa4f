package webhook

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// receiver is an endpoint over TLS that verifies what it gets.
func receiver(t *testing.T, answer http.HandlerFunc) (*client, *Endpoint) {
	t.Helper()
	server := httptest.NewUnstartedServer(answer)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused certificates
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return newClient(roots, false, time.Now), &Endpoint{URL: server.URL + "/hook?secret=s", Keys: [][]byte{key("a")}}
}

func TestSend(t *testing.T) {
	t.Parallel()
	var verified error
	c, to := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		verified = Verify([][]byte{key("a")}, r.Header, body, time.Now(), Tolerance)
		if r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" || r.URL.RawQuery != "secret=s" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	if r := c.send(t.Context(), to, "msg_1", []byte("{}")); !r.delivered {
		t.Errorf("%+v", r)
	}
	if verified != nil {
		t.Error(verified)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	date := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	for _, tt := range []struct {
		name       string
		status     int
		retryAfter string
		want       result
	}{
		{"200", 200, "", result{answered: true, delivered: true}},
		{"299", 299, "", result{answered: true, delivered: true}},
		{"410", 410, "30", result{answered: true, gone: true, problem: "status 410"}},
		{"429 in seconds", 429, "30", result{answered: true, retryIn: 30 * time.Second, problem: "status 429"}},
		{"503 with nonsense", 503, "-1", result{answered: true, problem: "status 503"}},
		{"500", 500, "", result{answered: true, problem: "status 500"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, to := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", tt.retryAfter)
				w.WriteHeader(tt.status)
			})
			if got := c.send(t.Context(), to, "msg_1", nil); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
	c, to := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", date)
		w.WriteHeader(503)
	})
	if got := c.send(t.Context(), to, "msg_1", nil).retryIn; got < 80*time.Second || got > 91*time.Second {
		t.Errorf("retry in %v", got)
	}
}

// A redirect would take the notice to whom the operator didn't name.
func TestRedirectsAreRefused(t *testing.T) {
	t.Parallel()
	var followed atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Store(true) }))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		c, to := receiver(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		c.loopbackHTTP = true // the other one would be reachable
		if r := c.send(t.Context(), to, "msg_1", []byte("{}")); r.delivered || followed.Load() {
			t.Errorf("%d: %+v, followed: %v", status, r, followed.Load())
		}
	}
}

// A receiver that answers without an end costs no more than a short answer.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	var wrote atomic.Int64
	done := make(chan struct{})
	c, to := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		for {
			n, err := w.Write(make([]byte, 64<<10))
			if err != nil {
				return
			}
			wrote.Add(int64(n))
		}
	})
	if r := c.send(t.Context(), to, "msg_1", nil); !r.delivered {
		t.Errorf("%+v", r)
	}
	<-done // the connection was closed
	if wrote.Load() > 64<<20 {
		t.Errorf("%d bytes were taken", wrote.Load())
	}
	c, to = receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
	})
	if r := c.send(t.Context(), to, "msg_1", nil); r.delivered {
		t.Errorf("%+v", r)
	}
}

func TestOnlyHTTPS(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		url         string
		development bool
		good        bool
	}{
		{"https://hooks.example/x?y", false, true},
		{"http://hooks.example/x", false, false},
		{"http://127.0.0.1:8000/x", false, false},
		{"http://127.0.0.1:8000/x", true, true},
		{"https://user:secret@hooks.example/", false, false},
		{"https://hooks.example/#x", false, false},
		{"https:///x", false, false},
		{"ftp://hooks.example/", true, false},
		{"https://hooks.example/\x7f", false, false},
		{"", true, false},
	} {
		err := (&Endpoint{URL: tt.url, Keys: [][]byte{key("a")}}).Validate(tt.development)
		if (err == nil) != tt.good {
			t.Errorf("%s, %v: %v", tt.url, tt.development, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
	if (&Endpoint{URL: "https://hooks.example/"}).Validate(false) == nil {
		t.Error("no keys")
	}
}

// In development, too, plain http leaves this machine never: not by a name either,
// which may stand for another address when it is dialled.
func TestPlainHTTPStaysHere(t *testing.T) {
	t.Parallel()
	c := newClient(nil, true, time.Now)
	r := c.send(t.Context(), &Endpoint{URL: "http://192.0.2.1/hook?secret=s", Keys: [][]byte{key("a")}}, "msg_1", nil)
	if r.delivered || !strings.Contains(r.problem, "loopback addresses only") || strings.Contains(r.problem, "secret") {
		t.Errorf("%+v", r)
	}
	for address, good := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true, "10.0.0.1:80": false, "[::]:80": false, "x": false} {
		if err := checkLoopback(address); (err == nil) != good {
			t.Errorf("%s: %v", address, err)
		}
	}
	var asked atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	t.Cleanup(server.Close)
	to := &Endpoint{URL: server.URL, Keys: [][]byte{key("a")}}
	if r := c.send(t.Context(), to, "msg_1", nil); !r.delivered || !asked.Load() {
		t.Errorf("loopback in development: %+v", r)
	}
	asked.Store(false)
	if r := newClient(nil, false, time.Now).send(t.Context(), to, "msg_1", nil); r.delivered || asked.Load() {
		t.Errorf("loopback outside of development: %+v", r)
	}
}

// An unknown certificate is no receiver.
func TestCertificatesAreVerified(t *testing.T) {
	t.Parallel()
	_, to := receiver(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	if r := newClient(x509.NewCertPool(), false, time.Now).send(t.Context(), to, "msg_1", nil); r.delivered || r.answered || strings.Contains(r.problem, "secret") {
		t.Errorf("%+v", r)
	}
}
