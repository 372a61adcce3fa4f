package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of the elevate commands, beside exitFailure.
const (
	exitUsage   = 2
	exitPending = 3 // nobody has decided yet
	exitDenied  = 4 // denied, or ended without an approval
)

func newElevateCommand() *cobra.Command {
	f := &elevateFlags{}
	cmd := group(&cobra.Command{
		Use:   "elevate",
		Short: "Ask for privileged access, and decide on it",
		Long: `Elevate asks a running service for a time-bound elevation or for the approval of one
exact call, and decides on what others ask for. It needs nothing of the service's
configuration: only its URL (--url or ` + urlVariable + `) and an access token for one of its
servers, in a file (--token-file, "-" for standard input) or in ` + tokenVariable + `; never
as an argument, which other users of the machine can read. Tokens that are bound to a
DPoP key or a client certificate can't be used here.

Exit codes: 0 done, 1 it failed, 2 the command line is wrong, 3 nobody has decided yet
(request --wait), 4 it was denied or ended without an approval.`,
	})
	cmd.Args = usageArgs(cobra.NoArgs)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	f.add(cmd)
	cmd.AddCommand(
		newElevateRequestCommand(f),
		newElevateListCommand(f),
		newElevateShowCommand(f),
		newElevateApproveCommand(f),
		newElevateDenyCommand(f),
		newElevateCancelCommand(f),
		newElevateRevokeCommand(f),
		newElevateWatchCommand(f),
		newVerifyWebhookCommand(),
	)
	return cmd
}

// usage is a mistake in the command line; nil for nil.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return exitError{code: exitUsage, err: err}
}

func usageArgs(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error { return usage(args(cmd, given)) }
}

// needed wants flags; cobra's own check has no exit code of its own.
func needed(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if flag := cmd.Flags().Lookup(name); strings.TrimSpace(flag.Value.String()) == "" || !flag.Changed {
			return usage(fmt.Errorf("--%s: it is required", name))
		}
	}
	return nil
}

const (
	urlVariable   = "SALLYPORT_URL"
	tokenVariable = "SALLYPORT_TOKEN"
)

// elevateFlags are what all commands that ask the service have in common.
type elevateFlags struct {
	url, tokenFile, caFile, output string
}

func (f *elevateFlags) add(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.url, "url", os.Getenv(urlVariable), "the service's URL, such as https://mcp.example (environment: "+urlVariable+")")
	flags.StringVar(&f.tokenFile, "token-file", "", `file with the access token, or "-" (environment, the token itself: `+tokenVariable+")")
	flags.StringVar(&f.caFile, "ca-file", "", "PEM file of the authorities that are trusted (default: the system's)")
	flags.StringVarP(&f.output, "output", "o", outputHuman, "human, or json: one object per line, as the API answers")
	enumerated(cmd, "output", outputHuman, outputJSON)
}

const (
	outputHuman = "human"
	outputJSON  = "json"
)

// enumerated completes a flag with the values that it can have.
func enumerated(cmd *cobra.Command, flag string, values ...string) {
	// The flag was defined just before, so there is no error.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// oneOfValues checks such a flag; empty means that it isn't given.
func oneOfValues(flag, value string, values []string) error {
	if value == "" || slices.Contains(values, value) {
		return nil
	}
	return usage(fmt.Errorf("--%s: %q is none of %s", flag, value, strings.Join(values, ", ")))
}

// open prepares the client and what prints.
func (f *elevateFlags) open(cmd *cobra.Command) (*elevateClient, *elevatePrinter, error) {
	if err := oneOfValues("output", f.output, []string{outputHuman, outputJSON}); err != nil {
		return nil, nil, err
	}
	client, err := newElevateClient(f, cmd.InOrStdin())
	if err != nil {
		return nil, nil, err
	}
	return client, &elevatePrinter{out: cmd.OutOrStdout(), asJSON: f.output == outputJSON}, nil
}
