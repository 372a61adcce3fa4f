package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	privilegedRounds = 15
	privilegedCalls  = 1000 // a round; each waits for the disk
)

// measurePrivileged compares a privileged tool, whose callers hold grants, with a
// write that is alike in all else.
func measurePrivileged(ctx context.Context, r *result, check *server, api string, tokens []string) error {
	for _, token := range tokens {
		if err := elevate(ctx, api, token); err != nil {
			return err
		}
	}
	writes, err := payloadsOf(tokens, writeBody)
	if err != nil {
		return err
	}
	privileged, err := payloadsOf(tokens, privilegedBody)
	if err != nil {
		return err
	}
	var cpuWrite, cpuPrivileged, ratios []float64
	for round := -1; round < privilegedRounds; round++ { // one to warm up
		first, err := check.round(ctx, writes, privilegedCalls)
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		second, err := check.round(ctx, privileged, privilegedCalls)
		if err != nil {
			return fmt.Errorf("privileged: %w", err)
		}
		if round >= 0 {
			cpuWrite, cpuPrivileged, ratios = append(cpuWrite, first), append(cpuPrivileged, second), append(ratios, second/first)
		}
	}
	r.CPUWrite, r.CPUPrivileged, r.PrivilegedRatio = quantile(cpuWrite, 0.5), quantile(cpuPrivileged, 0.5), quantile(ratios, 0.5)
	r.PrivilegedLow, r.PrivilegedHigh = quantile(ratios, 0.25), quantile(ratios, 0.75)
	return nil
}

// elevate asks for an elevation, which needs no approval here.
func elevate(ctx context.Context, socket, token string) error {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+authority+"/api/auth/elevate", strings.NewReader(`{"tool":"void_payment","reason":"to be measured"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err == nil && resp.StatusCode != http.StatusCreated {
		err = fmt.Errorf("elevate: %s: %s", resp.Status, text)
	}
	return err
}
