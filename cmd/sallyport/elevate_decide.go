package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newElevateApproveCommand(f *elevateFlags) *cobra.Command {
	var comment string
	var yes bool
	cmd := &cobra.Command{
		Use:   "approve ID",
		Short: "Approve a request of somebody else",
		Long: `Approve shows the request, with the exact call that it is for, and asks before it
approves. Without a terminal, or with the token on standard input, --yes is needed.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes && (f.tokenFile == "-" || !isTerminal(cmd)) {
				return usage(errors.New("there is nobody to ask: look with elevate show, and give --yes"))
			}
			client, printer, err := f.open(cmd)
			if err != nil {
				return err
			}
			item, err := client.get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if err := item.describe(cmd.ErrOrStderr()); err != nil { // standard output is for the outcome
				return err
			}
			if item.Status != "pending" {
				return fmt.Errorf("request %s is %s", item.ID, visible(item.Status))
			}
			if !yes {
				if err := confirm(cmd); err != nil {
					return err
				}
			}
			return client.decide(cmd, printer, item.ID, "approve", comment)
		},
	}
	cmd.Flags().StringVar(&comment, "comment", "", "for the requester and the record")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	return cmd
}

func newElevateDenyCommand(f *elevateFlags) *cobra.Command {
	var comment string
	cmd := &cobra.Command{
		Use:   "deny ID",
		Short: "Deny a request of somebody else",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, printer, err := f.open(cmd)
			if err != nil {
				return err
			}
			return client.decide(cmd, printer, args[0], "deny", comment)
		},
	}
	cmd.Flags().StringVar(&comment, "comment", "", "for the requester and the record")
	return cmd
}

// isTerminal reports whether somebody can be asked.
func isTerminal(cmd *cobra.Command) bool {
	file, ok := cmd.InOrStdin().(*os.File)
	return ok && onTerminal(file)
}

func confirm(cmd *cobra.Command) error {
	fmt.Fprint(cmd.ErrOrStderr(), "Approve this? [y/N] ")
	line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n') // no answer is a no
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was approved")
}

func (c *elevateClient) decide(cmd *cobra.Command, printer *elevatePrinter, id, action, comment string) error {
	body := map[string]any{}
	if comment != "" {
		body["comment"] = comment
	}
	item, err := itemOf(c.call(cmd.Context(), http.MethodPost, "elevations/"+url.PathEscape(id)+"/"+action, nil, body))
	if err != nil {
		return err
	}
	return printer.outcome(item)
}

// outcome says what a request has become.
func (p *elevatePrinter) outcome(item *elevateItem) error {
	if p.asJSON {
		return p.line(item.raw)
	}
	text := fmt.Sprintf("Request %s is %s", item.ID, item.Status)
	if item.Status == "approved" {
		text += ", until " + item.ExpiresAt
	}
	_, err := fmt.Fprintln(p.out, visible(text))
	return err
}

func newElevateCancelCommand(f *elevateFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "cancel ID",
		Short: "Cancel an own request, or give back what it gave",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE:  func(cmd *cobra.Command, args []string) error { return endElevation(cmd, f, args[0], "") },
	}
}

func endElevation(cmd *cobra.Command, f *elevateFlags, id, why string) error {
	client, printer, err := f.open(cmd)
	if err != nil {
		return err
	}
	query := url.Values{}
	if why != "" {
		query.Set("why", why)
	}
	item, err := itemOf(client.call(cmd.Context(), http.MethodDelete, "elevations/"+url.PathEscape(id), query, nil))
	if err != nil {
		return err
	}
	return printer.outcome(item)
}

func newElevateRevokeCommand(f *elevateFlags) *cobra.Command {
	var principal, server, tool, why string
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "revoke ID --why TEXT",
		Short: "Revoke what was approved, or an elevation that no request gave",
		Long: `Revoke ends what a request gave, at all replicas within a second. With --principal,
--server and --tool instead of an ID it takes away an elevation that no request gave,
such as one that a token claims or an external provider gives: for --duration nothing
that began before elevates that caller for the tool.`,
		Example: `  sallyport elevate revoke 0195c2f0-… --why "wrong account"
  sallyport elevate revoke --principal dRb… --server dealer --tool refund_payment --duration 8h --why "left the team"`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needed(cmd, "why"); err != nil {
				return err
			}
			holder := cmd.Flags().Changed("principal") || cmd.Flags().Changed("server") || cmd.Flags().Changed("tool") || cmd.Flags().Changed("duration")
			switch {
			case len(args) == 1 && holder:
				return usage(errors.New("an ID, or --principal, --server, --tool and --duration: give either"))
			case len(args) == 1:
				return endElevation(cmd, f, args[0], why)
			}
			if err := needed(cmd, "principal", "server", "tool", "duration"); err != nil {
				return err
			}
			if lasts < time.Second || lasts%time.Second != 0 {
				return usage(fmt.Errorf("--duration: %v is not a whole number of seconds, 1 at least", lasts))
			}
			client, printer, err := f.open(cmd)
			if err != nil {
				return err
			}
			item, err := itemOf(client.call(cmd.Context(), http.MethodPost, "elevations/revoke", nil, map[string]any{
				"principal_id": principal, "server": server, "tool": tool, "duration_seconds": int64(lasts / time.Second), "why": why,
			}))
			if err != nil {
				return err
			}
			return printer.outcome(item)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&why, "why", "", "the reason, for the record (required)")
	flags.StringVar(&principal, "principal", "", "the caller's principal id, as in the audit trail")
	flags.StringVar(&server, "server", "", "name of the server")
	flags.StringVar(&tool, "tool", "", "name of the tool")
	flags.DurationVar(&lasts, "duration", 0, "for how long")
	return cmd
}
