package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/index"
	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/audit/pipeline"
	"github.com/sallyport/sallyport/audit/subjects"
	"github.com/sallyport/sallyport/audit/verify"
	"github.com/sallyport/sallyport/internal/database"
)

func newAuditRebuildCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "rebuild [ORIGIN…]",
		Short: "Build the database's index anew from the archive",
		Long: `Rebuild takes the rows of the named logs, or of all logs of the archive, out of the
database and adds them anew from the archive. Requests are decided and recorded as
ever meanwhile; searches find what has been added so far. It may be repeated.`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			loaded, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			cfg := loaded.Config
			store, err := openArchive(cmd.Context(), &cfg.Audit)
			if err != nil {
				return err
			}
			x, closeIndex, err := openIndex(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeIndex()) }()
			logs, err := archivedLogs(cmd.Context(), store, args)
			if err != nil {
				return err
			}
			for _, l := range logs {
				if dryRun {
					fmt.Fprintf(cmd.OutOrStdout(), "Would be rebuilt: %s, %d events\n", l.origin, l.size)
				} else if err := rebuild(cmd, store, x, l); err != nil {
					return fmt.Errorf("%s: %w", l.origin, err)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be rebuilt")
	return cmd
}

// archivedLog is a log as its newest seal says it, which nobody has verified.
type archivedLog struct {
	writer, origin string
	size           uint64
}

// archivedLogs are the logs of an archive; some, if origins are named.
func archivedLogs(ctx context.Context, store archive.Store, origins []string) (logs []archivedLog, err error) {
	writers, err := store.Folders(ctx, ledger.SealPrefix)
	if err != nil {
		return nil, err
	}
	missing := slices.Clone(origins)
	for _, writer := range writers {
		l := archivedLog{writer: writer}
		for sealed, err := range verify.Seals(ctx, store, writer, time.Now().AddDate(1, 0, 0), time.Time{}) { // the newest one alone
			if err != nil {
				return nil, err
			}
			if sealed.Seal == nil {
				return nil, fmt.Errorf("%s: %w", sealed.Key, sealed.Invalid)
			}
			l.origin, l.size = sealed.Seal.Origin, sealed.Size
		}
		if l.size == 0 || len(origins) > 0 && !slices.Contains(origins, l.origin) {
			continue
		}
		missing = slices.DeleteFunc(missing, func(origin string) bool { return origin == l.origin })
		logs = append(logs, l)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("the archive has no log %s", missing[0])
	}
	return logs, nil
}

func rebuild(cmd *cobra.Command, store archive.Store, x *index.Index, l archivedLog) error {
	ctx := cmd.Context()
	codec, err := ledger.NewCodec()
	if err != nil {
		return err
	}
	defer codec.Close()
	if err := x.Reset(ctx, l.origin); err != nil {
		return err
	}
	events := 0
	for sealed, err := range verify.Seals(ctx, store, l.writer, time.Time{}, time.Time{}) {
		if err != nil {
			return err
		}
		if sealed.Seal == nil {
			return fmt.Errorf("%s: %w", sealed.Key, sealed.Invalid)
		}
		leaves, err := archive.Leaves(ctx, store, codec, sealed.Seal)
		if err != nil {
			return err
		}
		rows, err := index.RowsOf(sealed.Seal, leaves)
		if err != nil {
			return err
		}
		if err := x.Add(ctx, rows); err != nil {
			return err
		}
		events += len(rows)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Rebuilt: %s, %d events\n", l.origin, events)
	return nil
}

func newAuditStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how far each log is archived and indexed, and what is missing",
		Long: `Status compares the archive's logs with the database's index. Events that are still
in a replica's journal are not seen; the metric sallyport_audit_events shows those.
It ends with exit code 1 if the index has gaps.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			loaded, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			cfg := loaded.Config
			store, err := openArchive(cmd.Context(), &cfg.Audit)
			if err != nil {
				return err
			}
			x, closeIndex, err := openIndex(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeIndex()) }()
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%-48s %12s %12s  %s\n", "LOG", "ARCHIVED", "INDEXED", "MISSING IN THE INDEX")
			missing := 0
			logs, err := archivedLogs(cmd.Context(), store, nil)
			if err != nil {
				return err
			}
			for _, l := range logs {
				indexed, err := x.Size(cmd.Context(), l.origin)
				if err != nil {
					return err
				}
				gaps, err := x.Gaps(cmd.Context(), l.origin)
				if err != nil {
					return err
				}
				missing += len(gaps)
				fmt.Fprintf(out, "%-48s %12d %12d  %s\n", l.origin, l.size, indexed, gapsText(gaps))
			}
			if missing > 0 {
				return errors.New("the index has gaps: `sallyport audit rebuild` fills them from the archive")
			}
			return nil
		},
	}
}

func gapsText(gaps []index.Range) string {
	if len(gaps) == 0 {
		return "-"
	}
	text := fmt.Sprintf("%d to %d", gaps[0].From, gaps[0].To-1)
	if len(gaps) > 1 {
		text += fmt.Sprintf(" and %d more", len(gaps)-1)
	}
	return text
}

// openSubjectsOf opens the subjects of the configuration.
func openSubjectsOf(cmd *cobra.Command) (*subjects.Subjects, func() error, error) {
	loaded, err := loadSettings(cmd)
	if err != nil {
		return nil, nil, err
	}
	cfg := loaded.Config
	if !cfg.Audit.PseudonymiseUsers {
		return nil, nil, errors.New("audit.pseudonymise_users is off: users are recorded as they are, so there is no key that could be erased")
	}
	db, err := database.Open(cmd.Context(), databaseConfig(cfg))
	if err != nil {
		return nil, nil, err
	}
	s, err := openSubjects(cmd.Context(), db, &cfg.Audit)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return s, db.Close, nil
}

func newAuditEraseCommand() *cobra.Command {
	var who subjects.Subject
	var why string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "erase --issuer NAME --subject SUBJECT --why TEXT",
		Short: "Forget who a pseudonym is, for good",
		Long: `Erase destroys the key that what tells who the user is was encrypted with, in every
event that was ever recorded of them, and the pseudonym that joins them. The events
stay, unchanged, and still verify. This can't be undone; backups of the database
must expire for it to be true of them, too.

It takes effect in every replica within a minute. Before it is done it is recorded
under the pseudonym alone, which is the proof: show finds that event, and shows
those of the user as erased.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			loaded, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			s, closeAll, err := openSubjectsOf(cmd)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeAll()) }()
			pseudonym, err := s.Find(cmd.Context(), who)
			if err != nil {
				return err
			}
			if dryRun {
				fmt.Fprintln(cmd.OutOrStdout(), "Would be erased: the user recorded as", pseudonym)
				return nil
			}
			err = recorded(cmd.Context(), loaded.Config, "subject.erase", why, pseudonym, func(ctx context.Context) error {
				_, err := s.Erase(ctx, who)
				return err
			})
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), "Erased: the user recorded as", pseudonym)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&who.Issuer, "issuer", "", "the issuer's name in the configuration (required)")
	flags.StringVar(&who.Subject, "subject", "", "the subject, as in tokens (required)")
	flags.StringVar(&why, "why", "", "the reason, for the record, without naming the user (required, but for --dry-run)")
	flags.BoolVar(&dryRun, "dry-run", false, "only say under which pseudonym the user was recorded")
	for _, name := range []string{"issuer", "subject"} {
		_ = cmd.MarkFlagRequired(name) // the flags are defined above
	}
	return cmd
}

// revealEvent shows who the user of an event is, after it has recorded who looked.
func revealEvent(cmd *cobra.Command, row index.Row, why string) (err error) {
	loaded, err := loadSettings(cmd)
	if err != nil {
		return err
	}
	s, closeAll, err := openSubjectsOf(cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	event, err := audit.Parse(row.Payload)
	if err != nil {
		return err
	}
	if event.Metadata.Personal == "" {
		return errors.New("the event hides no user")
	}
	sealed, err := base64.StdEncoding.DecodeString(event.Metadata.Personal)
	if err != nil {
		return err
	}
	return recorded(cmd.Context(), loaded.Config, "subject.reveal", why, map[string]any{"event": event.EventID, "user": event.UserID}, func(ctx context.Context) error {
		text, err := s.Reveal(ctx, event.UserID, sealed, pipeline.Bound(event.Log, event.Seq))
		if errors.Is(err, subjects.ErrErased) {
			fmt.Fprintln(cmd.OutOrStdout(), "Erased: who", event.UserID, "was can't be found out any more.")
			return nil
		}
		if err == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
		}
		return err
	})
}

func newAuditMaintainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "maintain",
		Short: "Bring the database's schema up to date, make partitions, remove what is too old",
		Long: `Maintain does what the service does by itself unless database.migrations is check:
run it then once a day, as the owner of the tables.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			loaded, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			cfg := *loaded.Config
			cfg.Database.Migrations = database.Apply
			db, err := database.Open(cmd.Context(), databaseConfig(&cfg))
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, db.Close()) }()
			x, err := index.Open(cmd.Context(), db, indexConfig(&cfg.Audit))
			if err != nil {
				return err
			}
			if cfg.Audit.PseudonymiseUsers {
				if _, err := openSubjects(cmd.Context(), db, &cfg.Audit); err != nil {
					return err
				}
			}
			return x.Maintain(cmd.Context(), time.Now())
		},
	}
}

func newAuditRekeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rekey",
		Short: "Protect the users' keys with the first of audit.subject_key_files",
		Long: `Rekey encrypts the keys of all users anew. To change the file: add the new one behind
the old one at all replicas and restart them, then move it to the front and restart,
then rekey, then remove the old one.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			s, closeAll, err := openSubjectsOf(cmd)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeAll()) }()
			n, err := s.Rewrap(cmd.Context())
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%d keys were encrypted anew\n", n)
			}
			return err
		},
	}
}
