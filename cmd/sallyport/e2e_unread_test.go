package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestUnreadAnswer is a client of HTTP/1.1 that doesn't read what it asked for: its
// connection ends, and with it what Envoy holds for it.
func TestUnreadAnswer(t *testing.T) {
	t.Parallel()
	x := startExchanges(t, exchangeOptions{later: true})
	x.startSallyport(t)
	x.startEnvoy(t, func(bootstrap []byte) []byte {
		short := regexp.MustCompile(`"20000"`).ReplaceAll(bootstrap, []byte(`"1000"`))
		if bytes.Equal(short, bootstrap) {
			t.Error("the bootstrap has no such timeout")
		}
		return short
	})
	s := x.scene(answers(200, strings.Repeat("x", 16<<20)))
	small := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		}), err)
	}}
	conn, err := small.Dial("tcp", x.authority)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /orders HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%s: %s\r\n"+
		"Idempotency-Key: %s\r\nContent-Length: 0\r\n\r\n", x.authority, x.caller(t, "alice"), sceneHeader, s.name, s.key)
	if err != nil {
		t.Fatal(err)
	}
	s.decisionOf(t)
	eventually(t, 15*time.Second /* the tool has 30 */, "Envoy ends the connection", func() bool {
		stats, err := x.envoy.Stats(t.Context(), "http.ingress.downstream_cx_")
		if err != nil {
			t.Fatal(err)
		}
		return stats["http.ingress.downstream_cx_total"] > 0 && stats["http.ingress.downstream_cx_active"] == 0
	})
}
