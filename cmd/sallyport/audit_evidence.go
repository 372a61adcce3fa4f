package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/sallyport/sallyport/audit/evidence"
	"github.com/sallyport/sallyport/audit/verify"
	"github.com/sallyport/sallyport/settings"
)

func newAuditEvidenceCommand() *cobra.Command {
	var flags archiveFlags
	var when period
	var file string
	var samples int
	var seed uint64
	cmd := &cobra.Command{
		Use:   "evidence --since DAY --until DAY --output FILE.zip",
		Short: "Write the bundle that an auditor asks for",
		Long: `Evidence verifies the archive for a period and writes a zip file: the report, the
whole population of events counted by day, every act of an administrator, the newest
signed checkpoint of each log, events chosen at random with their proofs, and the
list of all this, signed. Its README says how to check it.

It ends with verify's exit codes; the bundle is written whatever was found.`,
		Args: func(cmd *cobra.Command, args []string) error { return operational(cobra.NoArgs(cmd, args)) },
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if file == "" {
				return operational(errors.New("--output is missing: name the new file"))
			}
			store, keys, cfg, err := flags.open(cmd)
			if err != nil {
				return operational(err)
			}
			in := evidence.Input{Store: store, Keys: keys, Samples: samples, Seed: seed, Now: time.Now()}
			if seed == 0 {
				in.Seed = rand.Uint64() //nolint:gosec // chooses samples
			}
			in.Verify = verify.Options{Keys: keys}
			if in.Verify.From, in.Verify.To, err = when.days(in.Now); err != nil {
				return operational(err)
			}
			if in.Public, err = flags.public(cfg); err != nil {
				return operational(err)
			}
			if cfg != nil {
				if err := describe(&in, &cfg.Audit); err != nil {
					return operational(err)
				}
			}
			to, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return operational(err)
			}
			report, err := evidence.Write(cmd.Context(), to, in)
			if err := errors.Join(err, to.Close()); err != nil {
				return operational(errors.Join(err, os.Remove(file))) // it isn't complete
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d events verified, %d findings\n", file, report.Events, report.Found)
			if code := report.ExitCode(); code != 0 {
				return exitError{code: code, err: errors.New("verifying found something: see verify.txt in the bundle")}
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return operational(err) })
	flags.add(cmd)
	when.add(cmd)
	cmd.Flags().StringVarP(&file, "output", "o", "", "the new file (required)")
	cmd.Flags().IntVar(&samples, "samples", 25, "how many events are proven one by one")
	cmd.Flags().Uint64Var(&seed, "seed", 0, "chooses them: the same seed, the same events (default: by chance)")
	return cmd
}

// describe adds what the configuration says.
func describe(in *evidence.Input, a *settings.Audit) error {
	in.Verify.Lock = lockPolicy(a)
	in.Settings = map[string]any{
		"layout": a.Layout, "batch_interval": a.BatchInterval.String(), "heartbeat_interval": a.HeartbeatInterval.String(),
		"when_full": a.WhenFull, "dual_write": a.DualWrite, "pseudonymise_users": a.PseudonymiseUsers,
		"s3_enabled": a.S3Enabled, "s3_bucket": a.S3Bucket, "s3_object_lock_mode": a.S3ObjectLockMode, "s3_retention_days": a.S3RetentionDays,
	}
	keys, err := signingKeys(a)
	if err != nil {
		return err
	}
	in.Signers = []note.Signer{keys[0]}
	return nil
}
