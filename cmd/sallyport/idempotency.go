package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/idempotency"
)

func newIdempotencyCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "idempotency",
		Short: "Show or clear the claim of an idempotency key",
		Long: `Idempotency shows and clears claims: what the service knows about the key of a
write. A claim whose outcome is unknown stays until its time is over, and every
retry is refused until then; find out at the upstream whether the request took
effect, and clear the claim if it didn't.

KEY is the key_hash of the audit trail, 64 hex digits; or with --principal the
caller's own key.

Claims must be in Redis: those in the memory of a service end with it.`,
	})
	cmd.AddCommand(newIdempotencyShowCommand(), newIdempotencyClearCommand())
	return cmd
}

// keyFlags say which claim is meant.
type keyFlags struct{ principal string }

func (f *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.principal, "principal", "", "id of the caller (principal.id of the audit trail), whose own key KEY is")
}

func (f *keyFlags) key(text string) (key idempotency.Key, err error) {
	if f.principal != "" {
		return idempotency.KeyOf(f.principal, text), nil
	}
	if n, err := hex.Decode(key[:], []byte(text[:min(len(text), 2*len(key))])); err != nil || n != len(key) || len(text) != 2*len(key) {
		return key, fmt.Errorf("KEY: %.80q is not 64 hex digits, the key_hash of a decision; for a caller's own key name --principal", text)
	}
	return key, nil
}

// seen opens the claims and shows one.
func (f *keyFlags) seen(cmd *cobra.Command, text string) (o *operator, claims *idempotency.Redis, record idempotency.Record, err error) {
	key, err := f.key(text)
	if err != nil {
		return nil, nil, record, err
	}
	o, err = newOperator(cmd, "a restart forgets all claims, the others too")
	if err != nil {
		return nil, nil, record, err
	}
	if claims, err = o.claims(); err == nil {
		var known bool
		record, known, err = claims.Show(cmd.Context(), key)
		if err == nil && !known {
			err = fmt.Errorf("nothing is known about the key %x: it was never claimed, was released, or its time is over", key[:])
		}
	}
	if err != nil {
		return nil, nil, record, errors.Join(err, o.close())
	}
	return o, claims, record, nil
}

func newIdempotencyShowCommand() *cobra.Command {
	var flags keyFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show KEY",
		Short: "Say what is known about a key",
		Long: `Show says what is known about a key: its state, the decision that let the request
through, and until when. The exit code is 1 if nothing is known.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o, _, record, err := flags.seen(cmd, args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.close()) }()
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(newShownClaim(&record))
			}
			return newShownClaim(&record).print(cmd.OutOrStdout())
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the claim as JSON")
	return cmd
}

func newIdempotencyClearCommand() *cobra.Command {
	var flags keyFlags
	var why string
	var force, dryRun bool
	cmd := &cobra.Command{
		Use:   "clear KEY --why TEXT",
		Short: "Forget a claim, so that the next request with the key is executed",
		Long: `Clear forgets the claim of a key whose outcome is unknown: the next request with
the key is executed. Make sure at the upstream that the first one took no effect.

A claim that is being executed, or was, is cleared with --force only: it would be
executed a second time. Who cleared what and why goes to the audit trail before
it is done.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o, claims, record, err := flags.seen(cmd, args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.close()) }()
			shown := newShownClaim(&record)
			if err := shown.print(cmd.OutOrStdout()); err != nil {
				return err
			}
			switch {
			case record.State != idempotency.Unknown && !force:
				return fmt.Errorf("the claim is %s: a retry would be executed a second time; --force clears it all the same", shown.State)
			case dryRun:
				fmt.Fprintln(cmd.OutOrStdout(), "It would be cleared.")
				return nil
			}
			err = o.do(cmd.Context(), "idempotency.clear", why, shown, func(ctx context.Context) error {
				cleared, err := claims.Clear(ctx, record)
				if err == nil && !cleared {
					err = errors.New("the claim has changed meanwhile, and was not cleared: look again")
				}
				return err
			})
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), "It is cleared: the next request with the key will be executed.")
			}
			return err
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&why, "why", "", "what you found out, for the record (required)")
	cmd.Flags().BoolVar(&force, "force", false, "also a claim whose request is being executed, or was")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be cleared")
	_ = cmd.MarkFlagRequired("why") // the flag is defined above
	return cmd
}

// shownClaim is a claim for operators.
type shownClaim struct {
	KeyHash     string    `json:"key_hash"`
	State       string    `json:"state"`
	DecisionID  string    `json:"decision_id"` // that let the request through
	Fingerprint string    `json:"fingerprint"`
	Claimed     time.Time `json:"claimed"`
	LeaseEnds   time.Time `json:"lease_ends,omitzero"`
	Expires     time.Time `json:"expires"`
}

func newShownClaim(r *idempotency.Record) *shownClaim {
	return &shownClaim{
		KeyHash: hex.EncodeToString(r.Key[:]), State: stateText(r.State), DecisionID: r.Owner,
		Fingerprint: hex.EncodeToString(r.Fingerprint[:]), Claimed: r.Claimed, LeaseEnds: r.LeaseEnds, Expires: r.Expires,
	}
}

func stateText(s idempotency.State) string {
	switch s {
	case idempotency.Busy:
		return "in flight"
	case idempotency.Replay:
		return "executed"
	case idempotency.NotRetained:
		return "executed, its response not kept"
	default:
		return "unknown"
	}
}

func (c *shownClaim) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "key\t%s\nstate\t%s\ndecision\t%s\nfingerprint\t%s\nclaimed\t%s\n",
		c.KeyHash, c.State, c.DecisionID, c.Fingerprint, c.Claimed.Format(time.RFC3339))
	if !c.LeaseEnds.IsZero() {
		fmt.Fprintf(w, "lease ends\t%s\n", c.LeaseEnds.Format(time.RFC3339))
	}
	fmt.Fprintf(w, "expires\t%s\n", c.Expires.Format(time.RFC3339))
	return w.Flush()
}
