package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// elevateFilter are the flags that say which requests are meant.
type elevateFilter struct {
	state, kind, tool, server string
	mine                      bool
}

func elevateStates() []string {
	return []string{"pending", "approved", "denied", "expired", "cancelled", "revoked", "spent"}
}

func elevateKinds() []string { return []string{"elevation", "call"} }

func (f *elevateFilter) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.kind, "kind", "", "elevation or call")
	flags.StringVar(&f.tool, "tool", "", "name of the tool")
	flags.StringVar(&f.server, "server", "", "name of the server")
	flags.BoolVar(&f.mine, "mine", false, "only own requests, also for an approver")
	enumerated(cmd, "kind", elevateKinds()...)
}

func (f *elevateFilter) query() (url.Values, error) {
	if err := oneOfValues("state", f.state, elevateStates()); err != nil {
		return nil, err
	}
	if err := oneOfValues("kind", f.kind, elevateKinds()); err != nil {
		return nil, err
	}
	query := url.Values{}
	for name, value := range map[string]string{"state": f.state, "kind": f.kind, "tool": f.tool, "server": f.server} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if f.mine {
		query.Set("mine", "true")
	}
	return query, nil
}

// largestPage is what the API gives at once.
const largestPage = 100

func newElevateListCommand(f *elevateFlags) *cobra.Command {
	var filter elevateFilter
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List own requests, and those that you may decide on, newest first",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			query, err := filter.query()
			if err != nil {
				return err
			}
			if limit < 1 {
				return usage(fmt.Errorf("--limit: %d is not positive", limit))
			}
			client, printer, err := f.open(cmd)
			if err != nil {
				return err
			}
			items, more, err := client.list(cmd.Context(), query, limit)
			if err != nil {
				return err
			}
			if err := printer.list(items); err != nil {
				return err
			}
			if more {
				fmt.Fprintln(cmd.ErrOrStderr(), "There are more: give a larger --limit, or say which.")
			}
			return nil
		},
	}
	filter.add(cmd)
	cmd.Flags().StringVar(&filter.state, "state", "", "pending, approved, denied, expired, cancelled, revoked or spent")
	cmd.Flags().IntVarP(&limit, "limit", "n", 50, "how many")
	enumerated(cmd, "state", elevateStates()...)
	return cmd
}

// list fetches pages until there are enough.
func (c *elevateClient) list(ctx context.Context, query url.Values, limit int) (items []*elevateItem, more bool, err error) {
	query = maps.Clone(query)
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(items), largestPage)))
		page, next, err := c.page(ctx, query)
		if err != nil {
			return nil, false, err
		}
		items = append(items, page...)
		if next == "" || len(items) >= limit {
			return items, next != "", nil
		}
		query.Set("after", next)
	}
}

func newElevateShowCommand(f *elevateFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show a request, with the exact call that it is for",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, printer, err := f.open(cmd)
			if err != nil {
				return err
			}
			item, err := client.get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return printer.item(item)
		},
	}
}

func newElevateWatchCommand(f *elevateFlags) *cobra.Command {
	var filter elevateFilter
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show what becomes of requests, a line for each change",
		Long: `Watch shows the requests that are pending, and from then on each new one and each
change, until it is interrupted. It asks the service again and again; what is made and
decided between two of these, and a service that is away, is caught up with.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			query, err := filter.query()
			if err != nil {
				return err
			}
			if every < time.Second {
				return usage(fmt.Errorf("--interval: %v is less than 1s", every))
			}
			client, printer, err := f.open(cmd)
			if err != nil {
				return err
			}
			w := elevateWatch{client: client, printer: printer, query: query, known: make(map[string]string)}
			return w.run(cmd, every)
		},
	}
	filter.add(cmd)
	cmd.Flags().DurationVar(&every, "interval", 5*time.Second, "how often the service is asked")
	return cmd
}

// elevateWatch remembers the requests that it has seen.
type elevateWatch struct {
	client  *elevateClient
	printer *elevatePrinter
	query   url.Values
	known   map[string]string // status by id
	newest  string            // id; ids grow
	begun   bool              // the first look is done
	away    bool              // the last one failed
}

// mostWatchedPages bounds one look at the service.
const mostWatchedPages = 20

func (w *elevateWatch) run(cmd *cobra.Command, every time.Duration) error {
	ctx := cmd.Context()
	for ctx.Err() == nil {
		pause, err := w.step(ctx, every, cmd.ErrOrStderr())
		if err != nil && ctx.Err() == nil {
			return err
		}
		sleep(ctx, pause)
	}
	return nil // it was told to stop
}

// step shows what has changed, and says when to look again. What is away for a while
// is waited for.
func (w *elevateWatch) step(ctx context.Context, every time.Duration, stderr io.Writer) (pause time.Duration, err error) {
	changed, err := w.look(ctx)
	later, transient := passes(err)
	switch {
	case err == nil:
		w.away, w.begun = false, true
	case transient:
		if !w.away {
			fmt.Fprintln(stderr, "The service is away, and asked again:", visible(err.Error()))
		}
		w.away = true
		return max(every, later), nil
	default:
		return 0, err
	}
	for _, item := range changed {
		if err := w.show(item); err != nil {
			return 0, err
		}
	}
	return every, nil
}

// look returns what has changed since the last look, the oldest first. It goes back to
// the oldest request that still has a way on. The first look returns what is pending.
func (w *elevateWatch) look(ctx context.Context) (changed []*elevateItem, err error) {
	open := make(map[string]bool)
	for id, status := range w.known {
		if status == "pending" || status == "approved" {
			open[id] = true
		}
	}
	query := maps.Clone(w.query)
	query.Set("limit", strconv.Itoa(largestPage))
	var seen []*elevateItem
	caughtUp := false
	for range mostWatchedPages {
		page, next, err := w.client.page(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, item := range page {
			seen = append(seen, item)
			delete(open, item.ID)
			caughtUp = caughtUp || item.ID <= w.newest
		}
		if next == "" || w.begun && caughtUp && len(open) == 0 {
			break
		}
		query.Set("after", next)
	}
	for id := range open {
		w.known[id] = "" // it isn't kept any more, or too long ago to be looked for each time
	}
	slices.Reverse(seen)
	for _, item := range seen {
		before := w.known[item.ID]
		w.known[item.ID] = item.Status
		w.newest = max(w.newest, item.ID)
		if before != item.Status && (w.begun || item.Status == "pending") {
			changed = append(changed, item)
		}
	}
	return changed, nil
}

func (w *elevateWatch) show(item *elevateItem) error {
	if w.printer.asJSON {
		return w.printer.line(item.raw)
	}
	when := cmp.Or(item.EndedAt, item.SpentAt, item.DecidedAt, item.RequestedAt)
	_, err := fmt.Fprintln(w.printer.out, visible(fmt.Sprintf("%s  %-9s  %s  %s of %s  for %s  %s",
		when, item.Status, item.ID, item.Tool, item.Server, item.who(), shortened(item.Reason))))
	return err
}
