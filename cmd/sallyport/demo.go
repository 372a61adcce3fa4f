package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/internal/dealership"
	"github.com/sallyport/sallyport/internal/devissuer"
	"github.com/sallyport/sallyport/internal/testenv"
	"github.com/sallyport/sallyport/settings"
)

//go:embed demo/sallyport.yaml demo/tools.yaml
var demoFiles embed.FS

func newDemoCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole path on loopback and show what is allowed and refused",
		Long: `Demo starts a vehicle dealership's MCP server, an OpenID Connect issuer for
development, Sallyport and a real Envoy, all on loopback and on free ports, and
walks through what a caller may and may not do, with a real MCP client. Then it
stays up for trying by hand; Ctrl-C ends everything.

Envoy must be installed: run "make tools", or set SALLYPORT_ENVOY to its path.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), cmd.OutOrStdout(), once)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end after the tour; the exit code is 1 if a step differs from what is expected")
	return cmd
}

// demo runs the tour in a small mesh. Whatever was started is stopped, and the
// folder removed, when it returns.
func demo(ctx context.Context, out io.Writer, once bool) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m, err := startMesh(ctx)
	if err != nil {
		stopErr := m.stop()
		if ctx.Err() != nil { // Ctrl-C, and whatever failed because of it
			return nil
		}
		return errors.Join(err, stopErr)
	}
	defer func() { err = errors.Join(err, m.stop()) }()
	differ, err := newTour(m, out).run(ctx)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	case differ > 0:
		err = fmt.Errorf("%d steps differ from what is expected", differ)
	}
	if once {
		return err
	}
	m.describe(out)
	select {
	case <-ctx.Done():
		return nil
	case <-m.envoy.Done():
		return fmt.Errorf("envoy ended: %s", m.envoy.Tail())
	case e := <-m.served:
		m.served = nil
		return errors.Join(errors.New("sallyport ended"), e)
	}
}

// mesh is everything that the demo starts.
type mesh struct {
	dir        string
	url        string // of Envoy's listener
	ops        string // URL of Sallyport's operations listener
	config     string // path of the configuration
	issuer     *devissuer.Issuer
	dealership *dealership.Server
	upstream   *http.Server
	envoy      *testenv.Envoy
	cancel     context.CancelFunc
	served     chan error // the end of Sallyport
}

// demoClient is the client of the demo's issuer for trying by hand, and demoSecret
// that of all. dana and bob are persons, and bob approves.
const (
	demoClient = "demo"
	demoSecret = "demo"
)

func (m *mesh) clients() []devissuer.Client {
	person := func(name string, roles ...string) devissuer.Client {
		return devissuer.Client{
			ID: name, Secret: demoSecret, Scopes: []string{"payments.refund"}, Resources: []string{m.url + "/mcp", m.url},
			Claims: map[string]any{"employee": "E-" + name, "roles": roles},
		}
	}
	return []devissuer.Client{
		{
			ID: demoClient, Secret: demoSecret,
			Scopes:    []string{"vehicles.read", "services.write", "payments.refund"},
			Resources: []string{m.url + "/mcp", m.url},
		},
		person("dana"), person("bob", "approver"),
	}
}

// startMesh returns what was started so far even with an error.
func startMesh(ctx context.Context) (*mesh, error) {
	m := &mesh{}
	var err error
	if m.dir, err = os.MkdirTemp("", "sallyport-demo-"); err != nil {
		return m, err
	}
	port, err := testenv.FreePort()
	if err != nil {
		return m, err
	}
	opsPort, err := testenv.FreePort()
	if err != nil {
		return m, err
	}
	authority := fmt.Sprintf("127.0.0.1:%d", port)
	m.url, m.ops = "http://"+authority, fmt.Sprintf("http://127.0.0.1:%d", opsPort)
	m.issuer, err = devissuer.Start(devissuer.Config{HideUntilUsed: true, Clients: m.clients()})
	if err != nil {
		return m, err
	}
	upstream, err := m.startDealership(ctx)
	if err != nil {
		return m, err
	}
	m.config, err = m.writeConfig(map[string]string{
		"Dir": m.dir, "Ops": fmt.Sprintf("127.0.0.1:%d", opsPort), "Issuer": m.issuer.URL(),
		"Authority": authority, "Upstream": upstream,
	})
	if err != nil {
		return m, err
	}
	if err := m.startSallyport(ctx, m.config); err != nil {
		return m, err
	}
	return m, m.startEnvoy(ctx, m.config)
}

func (m *mesh) startDealership(ctx context.Context) (address string, err error) {
	if m.dealership, err = dealership.New(dealership.Config{}); err != nil {
		return "", err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	m.upstream = &http.Server{Handler: m.dealership.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go m.upstream.Serve(listener) //nolint:errcheck // it ends by Close
	return listener.Addr().String(), nil
}

// writeConfig fills in the templates and returns the path of the configuration.
func (m *mesh) writeConfig(values map[string]string) (string, error) {
	templates, err := template.New("").Option("missingkey=error").ParseFS(demoFiles, "demo/sallyport.yaml")
	if err != nil {
		return "", err
	}
	var config bytes.Buffer
	if err := templates.ExecuteTemplate(&config, "sallyport.yaml", values); err != nil {
		return "", err
	}
	tools, err := demoFiles.ReadFile("demo/tools.yaml")
	if err != nil {
		return "", err
	}
	path := filepath.Join(m.dir, "sallyport.yaml")
	return path, errors.Join(
		os.WriteFile(path, config.Bytes(), 0o600),
		os.WriteFile(filepath.Join(m.dir, "tools.yaml"), tools, 0o600))
}

// startSallyport serves in this process and waits until it is ready.
func (m *mesh) startSallyport(ctx context.Context, config string) error {
	read := func() (*settings.Loaded, error) { return settings.Load(config, nil) }
	loaded, err := read()
	if err != nil {
		return err
	}
	ctx, m.cancel = context.WithCancel(ctx)
	served := make(chan error, 1)
	m.served = served
	go func() { served <- serve(ctx, loaded, read) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-served:
			m.served = nil
			return errors.Join(errors.New("sallyport didn't start"), err)
		case <-tick.C:
		}
		if answer(ctx, m.ops+"/readyz") == http.StatusOK {
			return nil
		}
	}
}

// answer is the status of a GET; 0 if there was no answer.
func answer(ctx context.Context, url string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func (m *mesh) startEnvoy(ctx context.Context, config string) error {
	loaded, err := settings.Load(config, nil)
	if err != nil {
		return err
	}
	text, err := bootstrap(loaded.Config, "yaml")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(m.dir, "envoy.yaml"), text, 0o600); err != nil {
		return err
	}
	m.envoy, err = testenv.StartEnvoy(ctx, testenv.EnvoyOptions{Config: text})
	return err
}

// stop ends everything, also what was started only in part.
func (m *mesh) stop() error {
	var errs []error
	if m.envoy != nil {
		errs = append(errs, m.envoy.Stop())
	}
	if m.cancel != nil {
		m.cancel()
	}
	if m.served != nil {
		errs = append(errs, <-m.served)
	}
	if m.upstream != nil {
		errs = append(errs, m.upstream.Close())
	}
	if m.dealership != nil {
		errs = append(errs, m.dealership.Close())
	}
	if m.issuer != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		errs = append(errs, m.issuer.Close(ctx))
	}
	return errors.Join(append(errs, os.RemoveAll(m.dir))...)
}

// describe says what can be tried by hand.
func (m *mesh) describe(out io.Writer) {
	fmt.Fprintf(out, `
Everything stays up until Ctrl-C:

  MCP endpoint     %[1]s/mcp
  REST             %[1]s/vehicles/V-1001
  metadata         %[1]s/.well-known/oauth-protected-resource/mcp
  metrics          %[2]s/metrics
  configuration    %[3]s/sallyport.yaml, tools.yaml (edit and save: it is reloaded)
  audit trail      bin/sallyport audit tail --config %[3]s/sallyport.yaml (search, explain, verify, prove … likewise)

A token, and a call with it:

  token() { curl -s -u $1:%[5]s -d grant_type=client_credentials --data-urlencode resource=$2 %[6]s | sed 's/.*"access_token":"\([^"]*\).*/\1/'; }
  curl -i -H "Authorization: Bearer $(token %[4]s %[1]s)" %[1]s/vehicles/V-1001

Privileged access: dana asks, bob approves, and dana's call passes for a minute:

  export SALLYPORT_URL=%[1]s
  refund() { curl -s -H "Authorization: Bearer $(token dana %[1]s/mcp)" -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
    -H 'MCP-Protocol-Version: 2025-06-18' -H "Idempotency-Key: $1" -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"refund_payment","arguments":{"payment_id":"P-3","amount":10}}}' %[1]s/mcp; echo; }
  refund first
  token dana %[1]s/mcp | bin/sallyport elevate request refund_payment --reason "charged twice" --duration 1m --token-file -
  token bob %[1]s/mcp | bin/sallyport elevate list --state pending --token-file -
  token bob %[1]s/mcp | bin/sallyport elevate approve REQUEST_ID --yes --token-file -
  refund second
`, m.url, m.ops, m.dir, demoClient, demoSecret, m.issuer.TokenURL())
}
