package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/audit/ledger"
)

func newAuditKeyCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "key",
		Short: "Make the key that signs checkpoints, or show its public half",
	})
	cmd.AddCommand(newAuditKeyGenerateCommand(), newAuditKeyPublicCommand())
	return cmd
}

func newAuditKeyGenerateCommand() *cobra.Command {
	var name, file string
	cmd := &cobra.Command{
		Use:   "generate --output FILE",
		Short: "Make a signing key (Ed25519)",
		Long: `Generate makes a key for audit.signing_key_files, writes it to a new file that only
its owner can read, and prints the public half. Keep that where the archive's
administrators can't change it: verify and check-proof need it.

To change the key, put the new file before the old one in the list and restart each
replica: the change is announced under the old key. Then take the old one out.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, text, err := ledger.GenerateKey(name)
			if err != nil {
				return err
			}
			to, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			_, err = to.WriteString(text)
			if err := errors.Join(err, to.Close()); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), key.Public)
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "sallyport/audit", "name in the key, such as audit.origin")
	cmd.Flags().StringVarP(&file, "output", "o", "", "the new file (required)")
	_ = cmd.MarkFlagRequired("output") // the flag is defined above
	return cmd
}

func newAuditKeyPublicCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "public [FILE]",
		Short: "Show the public half of a signing key, or of the configuration's",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var keys []*ledger.Key
			if len(args) == 1 {
				key, err := ledger.LoadKey(args[0])
				if err != nil {
					return err
				}
				keys = append(keys, key)
			} else {
				loaded, err := loadSettings(cmd)
				if err != nil {
					return err
				}
				if keys, err = signingKeys(&loaded.Config.Audit); err != nil {
					return err
				}
			}
			for _, key := range keys {
				fmt.Fprintln(cmd.OutOrStdout(), key.Public)
			}
			return nil
		},
	}
}
