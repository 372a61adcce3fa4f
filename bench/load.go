package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// client is a connection that makes one call after the other. It writes prepared
// bytes: its own CPU is no variant's.
type client struct {
	conn     net.Conn
	reader   *bufio.Reader
	requests [][]byte // one for each caller
	next     int
}

// keyPlace is where the key of each call goes: as long as rand.Text.
const keyPlace = "--------------------------"

func dial(address, tool string, tokens []string, first int) (*client, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, reader: bufio.NewReader(conn), next: first}
	text := strings.Replace(readBody, "search_vehicles", tool, 1)
	for _, token := range tokens {
		c.requests = append(c.requests, fmt.Appendf(nil, "POST /mcp HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"+
			"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n"+
			"User-Agent: mcp-client/1.0\r\nIdempotency-Key: %s\r\nContent-Length: %d\r\n\r\n%s", authority, token, keyPlace, len(text), text))
	}
	return c, nil
}

func (c *client) close() { _ = c.conn.Close() }

// call makes one call, and wants a 200: a refusal would be measured as if it
// were the work.
func (c *client) call() error {
	request := c.requests[c.next%len(c.requests)]
	c.next++
	key := []byte("Idempotency-Key: ")
	copy(request[bytes.Index(request, key)+len(key):], rand.Text())
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Idempotent-Replayed") != "" {
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	return nil
}

// load is what one round of a variant came to.
type load struct {
	perSecond float64
	envoy     float64 // CPU of Envoy per call, in µs
	server    float64 // CPU of what Envoy asks
}

// round keeps all clients busy for a time.
func (v *variant) round(ctx context.Context, length time.Duration) (load, error) {
	envoyBefore, serverBefore, err := v.cpu()
	if err != nil {
		return load{}, err
	}
	start := time.Now()
	calls := make([]int, len(v.clients))
	group, ctx := errgroup.WithContext(ctx)
	for i, c := range v.clients {
		group.Go(func() error {
			for ctx.Err() == nil && time.Since(start) < length {
				if err := c.call(); err != nil {
					return err
				}
				calls[i]++
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return load{}, fmt.Errorf("%s: %w", v.name, err)
	}
	took := time.Since(start)
	envoy, server, err := v.cpu()
	n := 0
	for _, c := range calls {
		n += c
	}
	perCall := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	return load{perSecond: float64(n) / took.Seconds(), envoy: perCall(envoy - envoyBefore), server: perCall(server - serverBefore)}, err
}

func (v *variant) cpu() (envoy, server time.Duration, err error) {
	if envoy, err = cpu(v.envoy.PID()); err != nil || v.server == nil {
		return envoy, 0, err
	}
	server, err = cpu(v.server.PID())
	return envoy, server, err
}
