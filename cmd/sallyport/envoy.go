package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/envoy/xds"
	"github.com/sallyport/sallyport/settings"
)

func newEnvoyCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "envoy",
		Short: "Configure the Envoy in front",
	})
	cmd.AddCommand(newBootstrapCommand())
	return cmd
}

func newBootstrapCommand() *cobra.Command {
	var format, output string
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Write the complete Envoy configuration",
		Long: `Bootstrap writes a complete, static Envoy 1.40 configuration that goes with
Sallyport's: listener, routes, clusters, the ext_authz filter that asks Sallyport
about every request, the ext_proc filter around writes, and the access log that
tells it what became of the others. Check it with

  envoy --mode validate --config-path FILE

Write it again whenever servers or envoy change in the configuration: Check
refuses a request that Envoy routed by another configuration.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			text, err := bootstrap(loaded.Config, format)
			if err != nil {
				return err
			}
			if output == "-" {
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			return os.WriteFile(output, text, 0o644) //nolint:gosec // Envoy runs as another user; it names secrets, and holds none
		},
	}
	cmd.Flags().StringVar(&format, "format", "yaml", "yaml or json")
	cmd.Flags().StringVarP(&output, "output", "o", "-", `file to write; "-" is standard output`)
	return cmd
}

func bootstrap(cfg *settings.Config, format string) ([]byte, error) {
	if cfg.Listen.TLS.Enabled() && cfg.Envoy.ServiceTLS == (settings.ServiceTLS{}) {
		return nil, invalid(errors.New("envoy.service_tls: is missing: with listen.tls Envoy needs a certificate to call Check"))
	}
	b, err := xds.Bootstrap(envoyConfig(cfg))
	if err != nil {
		return nil, invalid(err)
	}
	switch format {
	case "yaml":
		return xds.YAML(b)
	case "json":
		return xds.JSON(b)
	}
	return nil, fmt.Errorf("--format: %q is neither yaml nor json", format)
}

// envoyConfig is what Envoy has to know of our configuration.
func envoyConfig(cfg *settings.Config) xds.Config {
	out := xds.Config{
		Listen:          cfg.Envoy.Listen,
		Plaintext:       cfg.Envoy.Plaintext != "",
		TLS:             xds.ServerTLS(cfg.Envoy.TLS),
		Admin:           strings.TrimPrefix(cfg.Envoy.Admin, "unix:"),
		GRPC:            ourEndpoint(cfg, cfg.Listen.GRPC),
		HTTP:            ourEndpoint(cfg, cfg.Listen.HTTP),
		MaxRequestBytes: uint32(cfg.Envoy.MaxRequestBytes), //nolint:gosec // bounded at load
		CheckTimeout:    cfg.Envoy.CheckTimeout,
		ReceiveTimeout:  cfg.Envoy.ReceiveTimeout,
		RequestTimeout:  cfg.Envoy.RequestTimeout,
		MaxConnections:  uint32(cfg.Envoy.MaxConnections), //nolint:gosec // bounded at load
		MaxHeapBytes:    uint64(cfg.Envoy.MaxHeapBytes),   //nolint:gosec // bounded at load
		XFFTrustedHops:  uint32(cfg.Envoy.XFFTrustedHops), //nolint:gosec // bounded at load
	}
	for i := range cfg.Servers {
		s := &cfg.Servers[i]
		out.Servers = append(out.Servers, xds.Server{
			Name: s.Name, Hosts: s.Hosts, Path: s.Path, PathIsPrefix: s.REST != nil,
			Upstream: xds.Endpoint{
				Address: s.Upstream.Address, TLS: s.Upstream.TLS, CAFile: s.Upstream.CAFile,
				ServerName: s.Upstream.SNI, HTTP2: s.Upstream.HTTP2,
			},
		})
	}
	return out
}

// ourEndpoint is one of our listeners as Envoy reaches it.
func ourEndpoint(cfg *settings.Config, address string) xds.Endpoint {
	e := xds.Endpoint{Address: address}
	if cfg.Listen.TLS.Enabled() {
		t := cfg.Envoy.ServiceTLS
		e.TLS, e.CAFile, e.ServerName, e.CertFile, e.KeyFile = true, t.CAFile, t.ServerName, t.CertFile, t.KeyFile
	}
	return e
}
