package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/internal/keyfile"
	"github.com/sallyport/sallyport/pim/webhook"
)

// maxNoticeBytes is more than a notice has.
const maxNoticeBytes = 1 << 20

func newVerifyWebhookCommand() *cobra.Command {
	var keyFiles []string
	var id, timestamp, signature, when string
	cmd := &cobra.Command{
		Use:   "verify-webhook [FILE]",
		Short: "Verify the signature of a notice that was received",
		Long: `Verify-webhook checks a notice as its receiver should: that one of the keys signed
exactly this body, under this id, at most five minutes ago. The body is read from the
file or from standard input, byte by byte as it came; the headers are given as flags.
It asks no service.`,
		Example: `  sallyport elevate verify-webhook body.json --key-file webhook.key \
    --id "$WEBHOOK_ID" --timestamp "$WEBHOOK_TIMESTAMP" --signature "$WEBHOOK_SIGNATURE"`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := needed(cmd, "key-file", "id", "timestamp", "signature"); err != nil {
				return err
			}
			now, err := parseTime("--at", when)
			if err != nil {
				return usage(err)
			}
			if now.IsZero() {
				now = time.Now()
			}
			keys, err := readKeys(keyFiles)
			if err != nil {
				return usage(err)
			}
			body, err := noticeBody(cmd, args)
			if err != nil {
				return err
			}
			header := http.Header{}
			header.Set(webhook.IDHeader, id)
			header.Set(webhook.TimestampHeader, timestamp)
			header.Set(webhook.SignatureHeader, signature)
			if err := webhook.Verify(keys, header, body, now, webhook.Tolerance); err != nil {
				return fmt.Errorf("don't believe it: %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "The signature is good.")
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&keyFiles, "key-file", nil, "file with a key, 32 bytes in hex or base64; may be repeated (required)")
	flags.StringVar(&id, "id", "", "the header webhook-id (required)")
	flags.StringVar(&timestamp, "timestamp", "", "the header webhook-timestamp (required)")
	flags.StringVar(&signature, "signature", "", "the header webhook-signature (required)")
	flags.StringVar(&when, "at", "", "when it was received, a time like 2026-03-01T09:30:00Z (default: now)")
	return cmd
}

func readKeys(files []string) (keys [][]byte, err error) {
	for _, name := range files {
		key, err := keyfile.Read(name)
		if err != nil {
			return nil, fmt.Errorf("--key-file: %s: %w", name, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func noticeBody(cmd *cobra.Command, args []string) ([]byte, error) {
	if len(args) == 1 && args[0] != "-" {
		return readAtMost(args[0], maxNoticeBytes)
	}
	return bounded(cmd.InOrStdin(), "the body", maxNoticeBytes)
}
