package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// sallyportPackage is the service itself.
const sallyportPackage = "github.com/sallyport/sallyport/cmd/sallyport"

// maxAnswer is how many bytes of an answer are read at most.
const maxAnswer = 8 << 20

// SallyportOptions say how to run the service.
type SallyportOptions struct {
	Binary string    // default: built from this module; see Build
	Config string    // path of the configuration file
	Ops    string    // the host:port that the configuration has in listen.ops
	Env    []string  // added to this process's environment
	Log    io.Writer // the service's output; nil: only kept for errors
}

// Sallyport is a running service. It is safe for concurrent use.
type Sallyport struct {
	*Process
	ops string
}

// StartSallyport starts the service and returns when it is ready. ctx bounds the
// build and the start (30 seconds at most for the start): the service then runs
// until Stop or Kill, or until this process ends.
func StartSallyport(ctx context.Context, options SallyportOptions) (*Sallyport, error) {
	if options.Binary == "" {
		var err error
		if options.Binary, err = Build(ctx, sallyportPackage); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	cmd := lasting(options.Binary, "serve", "--config", options.Config)
	cmd.Env = append(os.Environ(), options.Env...)
	process, err := StartProcess(cmd, options.Log)
	if err != nil {
		return nil, err
	}
	s := &Sallyport{Process: process, ops: "http://" + options.Ops}
	if err := process.AwaitReady(ctx, s.Ready); err != nil {
		return nil, errors.Join(err, process.Kill())
	}
	return s, nil
}

// OpsURL is the base of the operations listener.
func (s *Sallyport) OpsURL() string { return s.ops }

// Ready returns nil if the service says that it is ready.
func (s *Sallyport) Ready(ctx context.Context) error {
	_, err := get(ctx, http.DefaultClient, s.ops+"/readyz")
	return err
}

// Metrics are the service's metrics in Prometheus' text format.
func (s *Sallyport) Metrics(ctx context.Context) (string, error) {
	return get(ctx, http.DefaultClient, s.ops+"/metrics")
}

// get returns the body of a 200.
func get(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s: %s", url, response.Status, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}
