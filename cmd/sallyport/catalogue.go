package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/settings"
)

func newCatalogueCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "catalogue",
		Short: "Propose entries for the catalogue of tools",
	})
	imports := group(&cobra.Command{
		Use:   "import",
		Short: "Propose entries from a live MCP server or an OpenAPI document",
		Long: `Import prints a catalogue that Sallyport can load, with the reason for each
proposed risk as a comment. Nothing it proposes is trusted: review it, then name
the file in tools.catalogue.

With --against, only what that catalogue doesn't have is printed, and what has
changed or gone is reported on standard error; the exit code is 1 then, so that
a pipeline notices.`,
	})
	imports.AddCommand(newImportMCPCommand(), newImportOpenAPICommand())
	cmd.AddCommand(imports)
	return cmd
}

// importFlags are what both imports have in common.
type importFlags struct {
	server  string
	against []string
}

func (f *importFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.server, "server", "", "name of the server in Sallyport's configuration (required)")
	cmd.Flags().StringSliceVar(&f.against, "against", nil, "catalogue files in use, to print and report only what differs")
	_ = cmd.MarkFlagRequired("server") // the flag is defined above
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := settings.CheckName(f.server); err != nil && cmd.Flags().Changed("server") {
			return fmt.Errorf("--server: %w", err)
		}
		return nil
	}
}

func newImportMCPCommand() *cobra.Command {
	var flags importFlags
	var tokenFile string
	cmd := &cobra.Command{
		Use:   "mcp URL --server NAME",
		Short: "Propose entries from what a live MCP server lists",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			transport := &bearer{}
			if tokenFile != "" {
				token, err := os.ReadFile(tokenFile)
				if err != nil {
					return fmt.Errorf("--token-file: %w", err)
				}
				transport.token = strings.TrimSpace(string(token))
			}
			proposal, err := catalogue.ProposeMCP(cmd.Context(), flags.server, args[0], &http.Client{Transport: transport})
			if err != nil {
				return err
			}
			return flags.print(cmd, proposal)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file with the access token that the server wants")
	return cmd
}

// bearer adds an access token to each request, if there is one.
type bearer struct{ token string }

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	if b.token != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+b.token)
	}
	return http.DefaultTransport.RoundTrip(req)
}

func newImportOpenAPICommand() *cobra.Command {
	var flags importFlags
	cmd := &cobra.Command{
		Use:   "openapi FILE --server NAME",
		Short: "Propose entries and routes from an OpenAPI 3 document",
		Long: `Openapi reads an OpenAPI 3 document, JSON or YAML, and proposes an entry for each
operation. The routes that the server's configuration needs are printed as a
comment behind them. "-" reads standard input. External references are not
followed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			document, err := readDocument(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			proposal, err := catalogue.ProposeOpenAPI(flags.server, document)
			if err != nil {
				return err
			}
			return flags.print(cmd, proposal)
		},
	}
	flags.add(cmd)
	return cmd
}

// maxDocument bounds what is read of an OpenAPI document.
const maxDocument = 16 << 20

func readDocument(stdin io.Reader, name string) ([]byte, error) {
	from := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	document, err := io.ReadAll(io.LimitReader(from, maxDocument+1))
	if err == nil && len(document) > maxDocument {
		err = fmt.Errorf("%s: is larger than %d bytes", name, maxDocument)
	}
	return document, err
}

// errDiffers ends an import that found a catalogue outdated.
var errDiffers = errors.New("the catalogue is not what the server says of itself")

// print writes the proposal, or what of it is new.
func (f *importFlags) print(cmd *cobra.Command, proposal *catalogue.Proposal) error {
	differs := error(nil)
	if len(f.against) != 0 {
		current, err := catalogue.Load(catalogue.Config{Files: f.against}, time.Now())
		if err != nil {
			return invalid(err)
		}
		changes := proposal.Compare(current)
		if reportChanges(cmd.ErrOrStderr(), changes) {
			differs = errDiffers
		}
		proposal = proposal.Only(changes.New)
	}
	text, err := proposal.YAML()
	if err != nil {
		return err
	}
	routes, err := proposal.Routes()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if _, err := out.Write(text); err != nil {
		return err
	}
	if len(routes) != 0 {
		fmt.Fprintln(out, "\n# For the server in Sallyport's configuration:")
		for line := range strings.Lines(string(routes)) {
			fmt.Fprint(out, "# ", line)
		}
	}
	return differs
}

func reportChanges(out io.Writer, changes catalogue.Changes) (any bool) {
	for _, name := range changes.New {
		fmt.Fprintf(out, "new: %s\n", name)
	}
	for _, name := range changes.Removed {
		fmt.Fprintf(out, "gone: %s\n", name)
	}
	for _, change := range changes.Changed {
		for _, what := range change.What {
			fmt.Fprintf(out, "changed: %s: %s\n", change.Tool, what)
		}
	}
	return len(changes.New)+len(changes.Removed)+len(changes.Changed) != 0
}
