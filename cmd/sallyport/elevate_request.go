package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// elevateRequest are the flags of elevate request.
type elevateRequest struct {
	tool, server, reason string
	duration             time.Duration
	arguments            string
	method, path         string
	contentType, body    string
	breakGlass           bool
	wait                 bool
	waitFor              time.Duration
}

func newElevateRequestCommand(f *elevateFlags) *cobra.Command {
	var r elevateRequest
	cmd := &cobra.Command{
		Use:   "request TOOL --reason TEXT",
		Short: "Ask for an elevation, or for the approval of one exact call",
		Long: `Request asks for the right to call a tool for some time. With --arguments (of an MCP
server) or --method and --path (of a REST API) it asks for the approval of exactly that
call, which must then be made with the same arguments.

--arguments and --body take the text itself, "@FILE", or "-" for standard input.

With --wait it ends when somebody has decided: 0 approved, 4 not, 3 nobody within
--wait-timeout. The request waits on then; the same command finds it again.`,
		Example: `  sallyport elevate request refund_payment --reason "ticket 4711" --duration 15m --wait
  sallyport elevate request pay_invoice --reason "invoice 7" --arguments @call.json
  sallyport elevate request transfer --reason "x" --method POST --path /transfers --content-type application/json --body @body.json`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.tool = args[0]
			return r.run(cmd, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.server, "server", "", "the server's name; needed if several have the tool")
	flags.StringVar(&r.reason, "reason", "", "why, for the approver and the record")
	flags.DurationVar(&r.duration, "duration", 0, "how long the elevation lasts, or the approved call may wait (default: as configured)")
	flags.StringVar(&r.arguments, "arguments", "", "the exact call's arguments, one JSON object")
	flags.StringVar(&r.method, "method", "", "the exact call's method")
	flags.StringVar(&r.path, "path", "", "the exact call's path and query")
	flags.StringVar(&r.contentType, "content-type", "", "the exact call's Content-Type")
	flags.StringVar(&r.body, "body", "", "the exact call's body")
	flags.BoolVar(&r.breakGlass, "break-glass", false, "ask for a grant that counts only while the external provider fails")
	flags.BoolVar(&r.wait, "wait", false, "wait for the decision")
	flags.DurationVar(&r.waitFor, "wait-timeout", 8*time.Hour, "how long --wait waits")
	enumerated(cmd, "method", "GET", "POST", "PUT", "PATCH", "DELETE")
	return cmd
}

func (r *elevateRequest) run(cmd *cobra.Command, f *elevateFlags) error {
	body, err := r.members(cmd, f)
	if err != nil {
		return usage(err)
	}
	client, printer, err := f.open(cmd)
	if err != nil {
		return err
	}
	made, err := itemOf(client.call(cmd.Context(), http.MethodPost, "elevate", nil, body))
	if err != nil {
		return err
	}
	if r.wait && made.Status == "pending" {
		fmt.Fprintf(cmd.ErrOrStderr(), "Request %s waits for its decision at %s\n", visible(made.ID), visible(made.URL))
		decided, err := client.await(cmd.Context(), made, r.waitFor, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		made = decided
	}
	if err := printer.item(made); err != nil {
		return err
	}
	return r.outcome(made)
}

// outcome is the exit code.
func (r *elevateRequest) outcome(made *elevateItem) error {
	switch made.Status {
	case "approved", "spent": // it was approved, and has been used since
		return nil
	case "pending":
		if !r.wait {
			return nil
		}
		return exitError{code: exitPending, err: fmt.Errorf("nobody has decided on request %s yet", made.ID)}
	}
	return exitError{code: exitDenied, err: fmt.Errorf("request %s is %s", made.ID, visible(made.Status))}
}

// members are those of the API's body.
func (r *elevateRequest) members(cmd *cobra.Command, f *elevateFlags) (map[string]any, error) {
	body := map[string]any{"tool": r.tool, "reason": r.reason}
	if r.server != "" {
		body["server"] = r.server
	}
	if r.breakGlass {
		body["break_glass"] = true
	}
	if cmd.Flags().Changed("duration") {
		if r.duration < time.Second || r.duration%time.Second != 0 {
			return nil, fmt.Errorf("--duration: %v is not a whole number of seconds, 1 at least", r.duration)
		}
		body["duration_seconds"] = int64(r.duration / time.Second)
	}
	given := cmd.Flags().Changed
	switch rest := given("method") || given("path") || given("content-type") || given("body"); {
	case rest && given("arguments"):
		return nil, errors.New("--arguments is for MCP servers, and --method, --path, --content-type and --body for REST APIs: give either")
	case given("arguments"):
		text, err := r.text(cmd, f, "arguments", r.arguments)
		if err != nil {
			return nil, err
		}
		if !json.Valid([]byte(text)) || !strings.HasPrefix(strings.TrimSpace(text), "{") {
			return nil, errors.New("--arguments: it is not a JSON object")
		}
		body["arguments"] = json.RawMessage(text)
	case rest:
		call, err := r.call(cmd, f)
		if err != nil {
			return nil, err
		}
		body["request"] = call
	}
	return body, nil
}

func (r *elevateRequest) call(cmd *cobra.Command, f *elevateFlags) (map[string]any, error) {
	if r.method == "" || r.path == "" {
		return nil, errors.New("--method and --path: both are required for a call to a REST API")
	}
	call := map[string]any{"method": r.method, "path": r.path}
	if r.contentType != "" {
		call["content_type"] = r.contentType
	}
	if cmd.Flags().Changed("body") {
		text, err := r.text(cmd, f, "body", r.body)
		if err != nil {
			return nil, err
		}
		call["body"] = text
	}
	return call, nil
}

// maxCallBytes is more than the API takes.
const maxCallBytes = 64 << 10

// text is the value of a flag that may name a file.
func (r *elevateRequest) text(cmd *cobra.Command, f *elevateFlags, flag, value string) (string, error) {
	var text []byte
	var err error
	switch file, named := strings.CutPrefix(value, "@"); {
	case value == "-" && f.tokenFile == "-":
		err = errors.New("standard input is the token already")
	case value == "-":
		text, err = bounded(cmd.InOrStdin(), "standard input", maxCallBytes)
	case named:
		text, err = readAtMost(file, maxCallBytes)
	default:
		return value, nil
	}
	if err != nil {
		return "", fmt.Errorf("--%s: %w", flag, err)
	}
	return string(text), nil
}

// awaitEvery is how often a request is looked at.
const awaitEvery = 2 * time.Second

// await returns the request as it is when it is decided, when the time is over, or when
// it is told to stop. What is away for a while is waited for.
func (c *elevateClient) await(ctx context.Context, item *elevateItem, most time.Duration, stderr io.Writer) (*elevateItem, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	away := false
	for {
		pause := awaitEvery
		got, err := c.get(ctx, item.ID)
		later, transient := passes(err)
		switch {
		case err == nil && got.Status != "pending":
			return got, nil
		case err == nil:
			item, away = got, false
		case ctx.Err() != nil:
			return item, nil
		case !transient:
			return nil, err
		default:
			if pause = max(pause, later); !away {
				fmt.Fprintln(stderr, "The service is away, and asked again:", visible(err.Error()))
			}
			away = true
		}
		if !sleep(ctx, pause) {
			return item, nil
		}
	}
}

// sleep reports whether the time is over; false: ctx is.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
