package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/authz/identity"
)

func newTokenCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "token",
		Short: "Revoke access tokens",
	})
	cmd.AddCommand(newTokenRevokeCommand())
	return cmd
}

func newTokenRevokeCommand() *cobra.Command {
	var entry identity.Revocation
	var issuedBefore, until, why string
	var lift, dryRun bool
	kinds := map[string]*string{"token_id": new(string), "subject": new(string), "client": new(string), "session": new(string)}
	cmd := &cobra.Command{
		Use:   "revoke --issuer NAME --subject SUBJECT --why TEXT",
		Short: "Refuse tokens although they are valid, at all replicas",
		Long: `Revoke refuses the tokens of a subject, a client or a session, or a single one,
from now on and at all replicas within a second. Name exactly one of them. The
same again replaces what was said before; --lift takes it back.

Who revoked what and why goes to the audit trail before it is done. Without
Redis write the file that authentication.revocations_file names instead.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			for kind, value := range kinds {
				if *value != "" { // the flags exclude each other
					entry.Kind, entry.Value = kind, *value
				}
			}
			if entry.IssuedBefore, err = parseTime("--issued-before", issuedBefore); err != nil {
				return err
			}
			if entry.Until, err = parseTime("--until", until); err != nil {
				return err
			}
			if lift {
				entry.Until = time.Now()
			}
			return revoke(cmd, entry, why, lift, dryRun)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&entry.Issuer, "issuer", "", "the issuer's name in the configuration (required)")
	flags.StringVar(kinds["subject"], "subject", "", "whose tokens are refused, also where it acts for others")
	flags.StringVar(kinds["client"], "client", "", "client whose tokens are refused")
	flags.StringVar(kinds["session"], "session", "", "session (sid) whose tokens are refused")
	flags.StringVar(kinds["token_id"], "token-id", "", "the single token (jti) that is refused")
	flags.StringVar(&issuedBefore, "issued-before", "", "tokens that were issued later are good, a time like 2026-03-01T09:30:00Z")
	flags.StringVar(&until, "until", "", "no longer revoked from then on; give it where it has an end, such as a token's expiry")
	flags.StringVar(&why, "why", "", "the reason, for the record (required)")
	flags.BoolVar(&lift, "lift", false, "take the revocation back")
	flags.BoolVar(&dryRun, "dry-run", false, "only say what would be revoked")
	cmd.MarkFlagsMutuallyExclusive("lift", "until")
	cmd.MarkFlagsMutuallyExclusive("subject", "client", "session", "token-id")
	cmd.MarkFlagsOneRequired("subject", "client", "session", "token-id")
	_ = cmd.MarkFlagRequired("issuer") // the flags are defined above
	_ = cmd.MarkFlagRequired("why")
	return cmd
}

func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%s: %q is not a time like 2026-03-01T09:30:00Z", flag, text)
	}
	return t, nil
}

func revoke(cmd *cobra.Command, entry identity.Revocation, why string, lift, dryRun bool) (err error) {
	o, err := newOperator(cmd, "write the file that authentication.revocations_file names")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	if err := entry.Validate(); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	names := make([]string, 0, len(o.cfg.Issuers))
	for i := range o.cfg.Issuers {
		names = append(names, o.cfg.Issuers[i].Name)
	}
	if !slices.Contains(names, entry.Issuer) {
		return fmt.Errorf("--issuer: %q is not configured; there are %s", entry.Issuer, strings.Join(names, ", "))
	}
	what := fmt.Sprintf("%s %s of %s", strings.ReplaceAll(entry.Kind, "_", " "), entry.Value, entry.Issuer)
	would, done, action := "Would be revoked:", "Revoked:", "token.revoke"
	if lift {
		would, done, action = "Would be taken back, the revocation of", "Taken back, the revocation of", "token.lift"
	}
	if dryRun {
		fmt.Fprintln(cmd.OutOrStdout(), would, what)
		return nil
	}
	feed, err := identity.NewRedisRevocations(o.client, identity.RedisConfig{Prefix: o.cfg.Redis.Prefix, Timeout: o.cfg.Redis.Timeout})
	if err != nil {
		return err
	}
	err = o.do(cmd.Context(), action, why, entry, func(ctx context.Context) error { return feed.Append(ctx, entry) })
	if err == nil {
		fmt.Fprintln(cmd.OutOrStdout(), done, what)
	}
	return err
}
