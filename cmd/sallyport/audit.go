package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/index"
	"github.com/sallyport/sallyport/audit/ledger"
	"github.com/sallyport/sallyport/internal/database"
	"github.com/sallyport/sallyport/settings"
)

func newAuditCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "audit",
		Short: "Read, search, explain and prove what was recorded",
		Long: `Audit reads the trail of decisions, outcomes and administrators' acts.

tail reads this replica's journal; search, show, explain and export ask the
database, which is no evidence; verify, prove and evidence read the archive, which
is: every event is a leaf of a Merkle tree whose checkpoints are signed.`,
	})
	cmd.AddCommand(
		newAuditTailCommand(), newAuditSearchCommand(), newAuditShowCommand(), newAuditExplainCommand(), newAuditExportCommand(),
		newAuditVerifyCommand(), newAuditProveCommand(), newAuditCheckProofCommand(), newAuditEvidenceCommand(),
		newAuditStatusCommand(), newAuditRebuildCommand(), newAuditMaintainCommand(), newAuditEraseCommand(), newAuditRekeyCommand(),
		newAuditPreflightCommand(), newAuditKeyCommand(),
	)
	return cmd
}

// archiveFlags say which archive is read, and which keys are trusted.
type archiveFlags struct {
	folder string
	keys   []string
}

func (f *archiveFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.folder, "archive", "", "a folder with a copy of the archive, in place of the configuration's")
	f.addKeys(cmd)
}

func (f *archiveFlags) addKeys(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.keys, "key", nil, "a public key, or a file of them, that was kept where the archive's administrators can't change it; may be repeated (default: those of audit.signing_key_files)")
}

// open opens the archive, and parses the keys. cfg is nil where everything is said
// by flags.
func (f *archiveFlags) open(cmd *cobra.Command) (store archive.Store, keys []note.Verifier, cfg *settings.Config, err error) {
	if f.folder == "" || len(f.keys) == 0 {
		loaded, err := loadSettings(cmd)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("%w\n(without a configuration, give --archive and --key)", err)
		}
		cfg = loaded.Config
	}
	if keys, err = f.verifiers(cfg); err != nil {
		return nil, nil, nil, err
	}
	if f.folder != "" {
		if _, err := os.Stat(f.folder); err != nil {
			return nil, nil, nil, err
		}
		store, err = archive.OpenFolder(f.folder)
	} else {
		store, err = openArchive(cmd.Context(), &cfg.Audit)
	}
	return store, keys, cfg, err
}

// verifiers parses the keys that flags or the configuration name.
func (f *archiveFlags) verifiers(cfg *settings.Config) ([]note.Verifier, error) {
	texts, err := f.public(cfg)
	if err != nil {
		return nil, err
	}
	var all []note.Verifier
	for _, text := range texts {
		keys, err := ledger.ParsePublic(text)
		if err != nil {
			return nil, fmt.Errorf("--key: %w", err)
		}
		all = append(all, keys...)
	}
	return all, nil
}

// public returns the public keys as text, one or more in each, and comments with
// them: those that flags name, or the public halves of the keys that this
// installation signs with, and those that it has signed with. Who can change the
// latter can change the archive.
func (f *archiveFlags) public(cfg *settings.Config) (texts []string, err error) {
	if len(f.keys) == 0 {
		keys, err := signingKeys(&cfg.Audit)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			texts = append(texts, key.Public)
		}
		return append(texts, cfg.Audit.TrustedKeys...), nil
	}
	for _, text := range f.keys {
		if !strings.Contains(text, "+") {
			file, err := os.ReadFile(text)
			if err != nil {
				return nil, fmt.Errorf("--key: %w", err)
			}
			text = string(file)
		}
		texts = append(texts, strings.TrimSpace(text))
	}
	return texts, nil
}

// openIndex opens the index of the configuration.
func openIndex(ctx context.Context, cfg *settings.Config) (*index.Index, func() error, error) {
	if !cfg.Audit.DualWrite {
		return nil, nil, errors.New("audit.dual_write is off, so nothing can be searched")
	}
	db, err := database.Open(ctx, databaseConfig(cfg))
	if err != nil {
		return nil, nil, err
	}
	x, err := index.Open(ctx, db, indexConfig(&cfg.Audit))
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return x, db.Close, nil
}

// output is where a command writes: a new file, or the standard output.
func output(cmd *cobra.Command, name string) (io.Writer, func() error, error) {
	if name == "" || name == "-" {
		return cmd.OutOrStdout(), func() error { return nil }, nil
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, nil, fmt.Errorf("%s exists: name another file", name)
	}
	if err != nil {
		return nil, nil, err
	}
	return file, file.Close, nil
}

// period are the flags --since and --until.
type period struct{ since, until string }

func (p *period) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.since, "since", "", "from then on: a time like 2026-03-01T09:30:00Z, a day like 2026-03-01, or how long ago, like 24h or 30d")
	cmd.Flags().StringVar(&p.until, "until", "", "before then, in the same forms")
}

func (p *period) parse(now time.Time) (from, to time.Time, err error) {
	if from, err = parseWhen("--since", p.since, now); err != nil {
		return from, to, err
	}
	to, err = parseWhen("--until", p.until, now)
	if err == nil && !to.IsZero() && !from.Before(to) {
		err = errors.New("--since is not before --until")
	}
	return from, to, err
}

// days is parse for what looks at whole days: a day that begins at --until isn't
// one of them.
func (p *period) days(now time.Time) (from, to time.Time, err error) {
	if from, to, err = p.parse(now); err == nil && !to.IsZero() {
		to = to.Add(-time.Nanosecond)
	}
	return from, to, err
}

func parseWhen(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days, "%d", &n); err == nil && n >= 0 && n < 100_000 && fmt.Sprint(n) == days {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%s: %q is not a time like 2026-03-01T09:30:00Z, a day like 2026-03-01 or a duration like 24h or 30d", flag, text)
	}
	return t, nil
}
