package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/index"
	"github.com/sallyport/sallyport/audit/journal"
	"github.com/sallyport/sallyport/audit/report"
	"github.com/sallyport/sallyport/authz"
)

func newAuditTailCommand() *cobra.Command {
	var last int
	var follow, asJSON bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show the newest events of this replica",
		Long: `Tail reads the journal of this machine, where an event is before its answer leaves
and until it is archived; older ones are found with search. It needs neither the
database nor the archive, and can be used while the service runs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if last < 0 || last > maxTail {
				return fmt.Errorf("--lines: %d is not within [0, %d]", last, maxTail)
			}
			loaded, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			t := tail{dir: filepath.Join(loaded.Config.Audit.Dir, "journal"), out: cmd.OutOrStdout(), asJSON: asJSON}
			return t.run(cmd.Context(), last, follow)
		},
	}
	cmd.Flags().IntVarP(&last, "lines", "n", 20, "how many events")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with those that come")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line, as recorded")
	return cmd
}

// maxTail bounds the events that tail holds.
const maxTail = 100_000

// followEvery is how often tail -f looks for more.
const followEvery = 200 * time.Millisecond

type tail struct {
	dir    string
	out    io.Writer
	asJSON bool
}

func (t *tail) run(ctx context.Context, last int, follow bool) error {
	var newest [][]byte
	events, err := journal.OpenReader(t.dir, 0)
	if err != nil {
		return err
	}
	err = events.Read(func(_ uint64, _ audit.Class, line []byte) bool {
		newest = append(newest, slices.Clone(line))
		if len(newest) > 2*last+100 {
			newest = slices.Delete(newest, 0, len(newest)-last)
		}
		return true
	})
	if err != nil {
		return err
	}
	if !t.asJSON {
		if err := report.Heading(t.out); err != nil {
			return err
		}
	}
	for _, line := range newest[max(0, len(newest)-last):] {
		if err := t.show(line); err != nil {
			return err
		}
	}
	if !follow {
		return nil
	}
	var showErr error
	err = events.Follow(ctx, followEvery, func(_ uint64, _ audit.Class, line []byte) bool {
		showErr = t.show(line)
		return showErr == nil
	})
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // it was told to stop
	}
	return errors.Join(err, showErr)
}

func (t *tail) show(line []byte) error {
	if t.asJSON {
		_, err := fmt.Fprintf(t.out, "%s\n", line)
		return err
	}
	event, err := audit.Parse(line)
	if err != nil {
		return err
	}
	return report.Human(t.out, event)
}

// queryFlags are what search and export look for.
type queryFlags struct {
	period period
	query  index.Query
}

func (f *queryFlags) add(cmd *cobra.Command) {
	f.period.add(cmd)
	q, flags := &f.query, cmd.Flags()
	flags.StringVar(&q.Type, "type", "", "type of event: decision, outcome, denials, elevation, operator, service or log")
	flags.StringVar(&q.UserID, "user", "", "user_id: subject, client or pseudonym")
	flags.StringVar(&q.Tool, "tool", "", "tool_name")
	flags.StringVar(&q.Action, "action", "", "action, such as tools/call or token.revoke")
	flags.StringVar(&q.Status, "status", "", "status, such as allow, deny or unknown")
	flags.StringVar(&q.Reason, "reason", "", "reason of a decision, such as scopes.insufficient")
	flags.StringVar(&q.CorrelationID, "request", "", "correlation_id: Envoy's request id")
	flags.StringVar(&q.DecisionID, "decision", "", "outcomes of this decision")
	flags.StringVar(&q.Log, "log", "", "origin of a log")
	flags.StringVar(&q.Text, "text", "", "text anywhere in the event; slow, give --since")
}

// prepare parses the period.
func (f *queryFlags) prepare() (err error) {
	f.query.From, f.query.To, err = f.period.parse(time.Now())
	return err
}

func newAuditSearchCommand() *cobra.Command {
	var f queryFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "search",
		Short: "Search the database for events, newest first",
		Long: `Search asks the database's index, which follows the archive by seconds. What it shows
is no evidence: prove an event for that.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := f.prepare(); err != nil {
				return err
			}
			x, closeIndex, err := searchable(cmd)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeIndex()) }()
			rows, next, err := x.Search(cmd.Context(), f.query)
			if err != nil {
				return err
			}
			if err := showRows(cmd.OutOrStdout(), rows, asJSON); err != nil {
				return err
			}
			if next != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "There are more: --cursor", next)
			}
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().IntVarP(&f.query.Limit, "limit", "n", index.DefaultLimit, fmt.Sprintf("how many, at most %d", index.MaxLimit))
	cmd.Flags().StringVar(&f.query.Cursor, "cursor", "", "where the last page ended")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per line, as recorded")
	return cmd
}

// searchable opens the index of the configuration.
func searchable(cmd *cobra.Command) (*index.Index, func() error, error) {
	loaded, err := loadSettings(cmd)
	if err != nil {
		return nil, nil, err
	}
	return openIndex(cmd.Context(), loaded.Config)
}

func showRows(out io.Writer, rows []index.Row, asJSON bool) error {
	if !asJSON {
		if err := report.Heading(out); err != nil {
			return err
		}
	}
	for _, row := range rows {
		event, err := audit.Parse(row.Payload)
		if err != nil {
			return fmt.Errorf("%s: %w", row.EventID, err)
		}
		if asJSON {
			_, err = fmt.Fprintf(out, "%s\n", row.Payload)
		} else {
			err = report.Human(out, event)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func newAuditShowCommand() *cobra.Command {
	var asJSON, reveal bool
	var why string
	cmd := &cobra.Command{
		Use:   "show EVENT_ID",
		Short: "Show one event",
		Long: `Show writes every member of an event, and where it lies in its log.

With --reveal it decrypts who a pseudonym is, if that was not erased; who looked, and
why, is recorded before.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			x, closeIndex, err := searchable(cmd)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeIndex()) }()
			row, err := x.Get(cmd.Context(), args[0])
			if err != nil {
				return notFound(err, args[0])
			}
			if reveal {
				return revealEvent(cmd, row, why)
			}
			if asJSON {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", row.Payload)
				return err
			}
			event, err := audit.Parse(row.Payload)
			if err != nil {
				return err
			}
			return report.Show(cmd.OutOrStdout(), event)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as recorded")
	cmd.Flags().BoolVar(&reveal, "reveal", false, "decrypt who the user is")
	cmd.Flags().StringVar(&why, "why", "", "the reason to reveal, for the record")
	cmd.MarkFlagsRequiredTogether("reveal", "why")
	cmd.MarkFlagsMutuallyExclusive("json", "reveal")
	return cmd
}

// notFound says what else can be done about an event that the index doesn't have.
func notFound(err error, id string) error {
	if errors.Is(err, index.ErrNotFound) {
		return fmt.Errorf("the database has no event %s: it follows by seconds (audit tail shows the newest, audit status what is missing; audit prove asks the archive)", id)
	}
	return err
}

func newAuditExplainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain EVENT_ID",
		Short: "Say in plain words why a decision fell, policy by policy",
		Long: `Explain takes the id of a decision, as in the answer's x-sallyport-decision-id, or of
its outcome.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			x, closeIndex, err := searchable(cmd)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeIndex()) }()
			rows, err := x.Related(cmd.Context(), args[0])
			if err != nil {
				return notFound(err, args[0])
			}
			var decision *audit.Event
			var related []*audit.Event
			for _, row := range rows {
				event, err := audit.Parse(row.Payload)
				if err != nil {
					return err
				}
				if event.EventType == "decision" {
					decision = event
				} else {
					related = append(related, event)
				}
			}
			if decision == nil {
				return fmt.Errorf("%s is no decision and not the outcome of one", args[0])
			}
			return report.Explain(cmd.OutOrStdout(), reasonTitles(), decision, related)
		},
	}
}

// reasonTitles has one sentence for each reason code.
func reasonTitles() map[string]string {
	titles := make(map[string]string)
	for _, reason := range authz.Reasons() {
		titles[reason.Code] = reason.Title
	}
	return titles
}

func newAuditExportCommand() *cobra.Command {
	var f queryFlags
	var format, file string
	cmd := &cobra.Command{
		Use:   "export --format ndjson|csv|ocsf",
		Short: "Write events for another system",
		Long: `Export writes the events that the flags describe, oldest last: as they were recorded
(ndjson), as a table (csv), or as OCSF 1.6 API Activity (class 6003, for decisions)
and Entity Management (3004, for acts of administrators). What a format has no place
for is left out and counted on standard error; recorded arguments are in ndjson only.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := f.prepare(); err != nil {
				return err
			}
			x, closeIndex, err := searchable(cmd)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeIndex()) }()
			to, closeFile, err := output(cmd, file)
			if err != nil {
				return err
			}
			events := found(cmd.Context(), x, f.query)
			var counts report.Counts
			switch format {
			case "ndjson":
				counts, err = report.NDJSON(to, events)
			case "csv":
				counts, err = report.CSV(to, events)
			case "ocsf":
				counts, err = report.OCSF(to, versionText(), events)
			default:
				err = fmt.Errorf("--format: %q is none of ndjson, csv and ocsf", format)
			}
			if err := errors.Join(err, closeFile()); err != nil {
				if file != "" && file != "-" { // a part would be taken for the whole
					err = errors.Join(err, os.Remove(file))
				}
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), exported(counts))
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&format, "format", "ndjson", "ndjson, csv or ocsf")
	cmd.Flags().StringVarP(&file, "output", "o", "", "a new file (default: standard output)")
	return cmd
}

func exported(counts report.Counts) string {
	text := fmt.Sprintf("%d events written", counts.Written)
	var parts []string
	for kind, n := range counts.LeftOut {
		parts = append(parts, fmt.Sprintf("%d %s", n, kind))
	}
	if slices.Sort(parts); len(parts) > 0 {
		text += "; the format has no place for " + strings.Join(parts, ", ")
	}
	return text
}

// found yields what a query finds, page by page.
func found(ctx context.Context, x *index.Index, q index.Query) iter.Seq2[*audit.Event, error] {
	q.Limit = index.MaxLimit
	return func(yield func(*audit.Event, error) bool) {
		for {
			rows, next, err := x.Search(ctx, q)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, row := range rows {
				event, err := audit.Parse(row.Payload)
				if !yield(event, err) || err != nil {
					return
				}
			}
			if next == "" {
				return
			}
			q.Cursor = next
		}
	}
}
