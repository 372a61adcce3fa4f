package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/audit/archive"
	"github.com/sallyport/sallyport/audit/index"
	"github.com/sallyport/sallyport/audit/report"
	"github.com/sallyport/sallyport/audit/verify"
	"github.com/sallyport/sallyport/settings"
)

func newAuditVerifyCommand() *cobra.Command {
	var v verifyCommand
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Find what was changed, removed, added or reordered in the archive",
		Long: `Verify reads the archive and recomputes every Merkle tree from its events: a changed,
removed, added or reordered event differs from what was signed. It lists all
versions of all objects, and compares the database's index with what is archived.

It needs only read access, and works on a downloaded copy (--archive). Without
--key it trusts the keys of the configuration; whoever could change those and the
archive is not found out. The end of a log can be cut off without a trace if nobody
has seen it: keep what evidence writes elsewhere, and name it with --anchor.

Exit codes: 0 all is well, 1 something was tampered with or is missing, 2 something
has not arrived yet, 3 it could not be found out.`,
		Args: func(cmd *cobra.Command, args []string) error { return operational(cobra.NoArgs(cmd, args)) },
		RunE: func(cmd *cobra.Command, _ []string) error { return v.run(cmd) },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return operational(err) })
	v.archive.add(cmd)
	v.period.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&v.anchors, "anchor", nil, "a checkpoint that was kept elsewhere; may be repeated")
	flags.StringArrayVar(&v.expect, "expect-writer", nil, "a writer whose log must be there; may be repeated")
	flags.BoolVar(&v.noIndex, "no-index", false, "don't compare the database's index")
	flags.Float64Var(&v.sample, "sample", 1, "part of the single objects whose content is read, above 0 up to 1")
	flags.IntVar(&v.parallel, "parallel", 0, "batches verified at a time (default: one per CPU)")
	flags.BoolVar(&v.strict, "strict", false, "warnings end with exit code 2")
	flags.BoolVar(&v.asJSON, "json", false, "write the report as JSON")
	flags.BoolVarP(&v.quiet, "quiet", "q", false, "don't show progress")
	return cmd
}

type verifyCommand struct {
	archive                        archiveFlags
	period                         period
	anchors, expect                []string
	sample                         float64
	parallel                       int
	noIndex, strict, asJSON, quiet bool
}

func (v *verifyCommand) run(cmd *cobra.Command) (err error) {
	store, keys, cfg, err := v.archive.open(cmd)
	if err != nil {
		return operational(err)
	}
	o := verify.Options{Keys: keys, Expect: v.expect, Sample: v.sample, Parallel: v.parallel, Strict: v.strict}
	if o.From, o.To, err = v.period.days(time.Now()); err != nil {
		return operational(err)
	}
	for _, name := range v.anchors {
		text, err := os.ReadFile(name)
		if err != nil {
			return operational(err)
		}
		o.Trusted = append(o.Trusted, text)
	}
	if cfg != nil {
		o.MaxHeartbeatGap = max(5*time.Minute, 5*cfg.Audit.HeartbeatInterval)
	}
	if cfg != nil && v.archive.folder == "" {
		o.Lock = lockPolicy(&cfg.Audit)
		if cfg.Audit.DualWrite && !v.noIndex {
			x, closeIndex, err := openIndex(cmd.Context(), cfg)
			if err != nil {
				return operational(fmt.Errorf("%w\n(--no-index verifies the archive alone)", err))
			}
			defer func() { err = errors.Join(err, closeIndex()) }()
			o.Index = verifiedIndex{x}
		}
	}
	if !v.quiet && !v.asJSON && onTerminal(cmd.ErrOrStderr()) {
		o.Progress = progress(cmd.ErrOrStderr())
	}
	found, err := verify.Verify(cmd.Context(), store, o)
	if found == nil {
		return operational(err)
	}
	if v.asJSON {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(found); err != nil {
			return operational(err)
		}
	} else if err := found.WriteHuman(cmd.OutOrStdout()); err != nil {
		return operational(err)
	}
	if code := found.ExitCode(); code != 0 {
		return exitError{code: code, err: err}
	}
	if err != nil {
		return operational(err)
	}
	return nil
}

// lockPolicy is how the configuration says that objects are locked.
func lockPolicy(a *settings.Audit) *verify.LockPolicy {
	if !a.S3Enabled {
		return nil
	}
	return &verify.LockPolicy{Mode: a.S3ObjectLockMode, MinRetention: time.Duration(a.S3RetentionDays) * 24 * time.Hour}
}

// onTerminal reports whether somebody sees what is written.
func onTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// progress shows how far it is, ten times a second at most.
func progress(out io.Writer) func(done, total uint64) {
	var last time.Time
	return func(done, total uint64) {
		if now := time.Now(); now.Sub(last) > 100*time.Millisecond || done == total {
			last = now
			fmt.Fprintf(out, "\r%d of %d events", done, total)
			if done == total {
				fmt.Fprint(out, "\r"+strings.Repeat(" ", 60)+"\r")
			}
		}
	}
}

// verifiedIndex is the index as verify sees it.
type verifiedIndex struct{ *index.Index }

func (v verifiedIndex) Names(ctx context.Context) (names []string, err error) {
	logs, err := v.Logs(ctx)
	for _, l := range logs {
		names = append(names, l.Log)
	}
	return names, err
}

func (v verifiedIndex) Rows(ctx context.Context, log string, from, to uint64) iter.Seq2[verify.IndexRow, error] {
	return func(yield func(verify.IndexRow, error) bool) {
		for row, err := range v.Index.Rows(ctx, log, from, to) {
			r := verify.IndexRow{Seq: row.Seq, Time: row.Time, LeafHash: row.LeafHash, Differs: func(leaf []byte, batch string) string { return differs(row, leaf, batch) }}
			if !yield(r, err) {
				return
			}
		}
	}
}

// differs names what in a row is not as its leaf says.
func differs(row index.Row, leaf []byte, batch string) string {
	want, err := index.RowOf(leaf, batch)
	if err != nil {
		return err.Error()
	}
	return row.Differs(&want)
}

// exitError ends the command with a code of its own, after what it has written.
type exitError struct {
	code int
	err  error // nil: everything is said
}

func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// operational is the end of a verification that couldn't be made; nil for nil.
func operational(err error) error {
	if err == nil {
		return nil
	}
	return exitError{code: 3, err: err}
}

func newAuditProveCommand() *cobra.Command {
	var flags archiveFlags
	var file string
	cmd := &cobra.Command{
		Use:   "prove EVENT_ID",
		Short: "Write a file that proves an event to anybody with the public key",
		Long: `Prove finds an event in the archive and writes it with the signed checkpoint and the
hashes between the two. check-proof verifies that file offline; so does any tool
that reads C2SP tlog-proofs.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			store, keys, _, err := flags.open(cmd)
			if err != nil {
				return err
			}
			proof, err := verify.Prove(cmd.Context(), store, keys, args[0])
			if err != nil {
				return err
			}
			text, err := json.MarshalIndent(proof, "", "  ")
			if err != nil {
				return err
			}
			to, closeFile, err := output(cmd, file)
			if err != nil {
				return err
			}
			_, err = to.Write(append(text, '\n'))
			return errors.Join(err, closeFile())
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "a new file (default: standard output)")
	return cmd
}

func newAuditCheckProofCommand() *cobra.Command {
	var flags archiveFlags
	cmd := &cobra.Command{
		Use:   "check-proof FILE --key KEY",
		Short: "Verify a proof, offline, with the public key alone",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(flags.keys) == 0 {
				return errors.New("--key is missing: a proof is worth what the key is that it is checked with")
			}
			keys, err := flags.verifiers(nil)
			if err != nil {
				return err
			}
			text, err := readProof(cmd, args[0])
			if err != nil {
				return err
			}
			proof, err := verify.ParseProof(text)
			if err != nil {
				return err
			}
			checked, err := proof.Check(keys)
			if err != nil {
				return err
			}
			event, err := audit.Parse([]byte(proof.Event))
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Proven: event %d of %s,\nin the checkpoint of %d events that %s signed; sealed %s.\n\n",
				checked.Seq, checked.Log, checked.Size, checked.Key, checked.Sealed.UTC().Format(time.RFC3339))
			return report.Show(cmd.OutOrStdout(), event)
		},
	}
	flags.addKeys(cmd)
	return cmd
}

// maxProof bounds what is read of a proof.
const maxProof = verify.MaxProof + 1

func readProof(cmd *cobra.Command, name string) ([]byte, error) {
	from := cmd.InOrStdin()
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	}
	return io.ReadAll(io.LimitReader(from, maxProof))
}

func newAuditPreflightCommand() *cobra.Command {
	var access, secret string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "preflight",
		Short: "Prove that the bucket refuses deletion",
		Long: `Preflight reads the bucket's Object Lock configuration back, writes an object as the
service would, and tries, with a second role, to delete it, to shorten its
retention and to overwrite it. It touches nothing but objects of its own, one for
each attempt, which stay for as long as the bucket's policy wants, a day at least.

Give the second role's credentials: the more it may do the more the result says.
With GOVERNANCE a role that may bypass it can delete; the report says so, and the
exit code is 1. Without a second role the service's own is tried.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := loadSettings(cmd)
			if err != nil {
				return err
			}
			a := &loaded.Config.Audit
			if !a.S3Enabled {
				return errors.New("audit.s3_enabled is off: the archive is a folder, which prevents nothing")
			}
			cfg := s3Config(a)
			writer, err := archive.NewS3(cmd.Context(), cfg, time.Now)
			if err != nil {
				return err
			}
			if err := writer.Check(cmd.Context()); err != nil {
				return err
			}
			if access != "" {
				cfg.AccessKeyFile, cfg.SecretKeyFile = access, secret
			}
			second, err := archive.NewS3(cmd.Context(), cfg, time.Now)
			if err != nil {
				return err
			}
			report, err := archive.Preflight(cmd.Context(), writer, second, time.Now)
			if err != nil {
				return err
			}
			return showPreflight(cmd.OutOrStdout(), report, asJSON)
		},
	}
	cmd.Flags().StringVar(&access, "access-key-file", "", "file with the second role's access key")
	cmd.Flags().StringVar(&secret, "secret-key-file", "", "file with its secret key")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the report as JSON")
	cmd.MarkFlagsRequiredTogether("access-key-file", "secret-key-file")
	return cmd
}

func showPreflight(out io.Writer, report archive.Report, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(report); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%s, %s\n", report.Archive, report.Mode)
		for _, a := range report.Attempts {
			verdict := "refused"
			if !a.Refused {
				verdict = "NOT REFUSED"
			}
			fmt.Fprintf(out, "%-12s %s: %s\n", verdict, a.What, a.How)
		}
	}
	if !report.Refused() {
		return exitError{code: exitFailure, err: errors.New("an object that should be locked could be destroyed")}
	}
	return nil
}
