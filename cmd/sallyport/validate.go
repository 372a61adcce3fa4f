package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/identity"
	"github.com/sallyport/sallyport/settings"
)

func newValidateCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Report every mistake of a configuration at once",
		Long: `Validate reads the configuration, the environment, the catalogue and every file
that they name, and compiles them as serve would. It opens no connection.

Mistakes are printed with their file and line, and the exit code is 2. Warnings
don't change the exit code.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := loadSettings(cmd)
			var warnings []string
			if err == nil {
				warnings, err = check(loaded)
			}
			return reportCheck(cmd.OutOrStdout(), asJSON, warnings, err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// check compiles what serve would, without fetching anything.
func check(loaded *settings.Loaded) (warnings []string, err error) {
	newKeys := func(set identity.KeySetConfig) (identity.Keys, error) { return identity.NewKeySet(set) }
	revocations := identity.NewRevocationList(time.Now)
	s, err := buildState(loaded, newKeys, identity.NewMemoryReplays(1, time.Now), revocations, time.Now)
	if err != nil {
		return nil, invalid(err)
	}
	var errs []error
	if file := loaded.Config.Authentication.RevocationsFile; file != "" {
		errs = append(errs, revocations.ReloadFile(file))
		s.warnings = append(s.warnings, strangeIssuers(loaded.Config, revocations)...)
	}
	_, err = authz.Compile(s.authz)
	errs = append(errs, err)
	if _, err := bootstrap(loaded.Config, "yaml"); err != nil {
		s.warnings = append(s.warnings, "envoy bootstrap: "+err.Error())
	}
	return s.warnings, invalid(errors.Join(errs...))
}

// invalidError is a mistake in a file, for the exit code.
type invalidError struct{ error }

func (e invalidError) Unwrap() error { return e.error }

func invalid(err error) error {
	if err == nil {
		return nil
	}
	return invalidError{err}
}

func reportCheck(out io.Writer, asJSON bool, warnings []string, err error) error {
	if asJSON {
		report := struct {
			Valid    bool     `json:"valid"`
			Problems []string `json:"problems"`
			Warnings []string `json:"warnings"`
		}{Valid: err == nil, Problems: flatten(err), Warnings: append([]string{}, warnings...)}
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return errors.Join(encoder.Encode(report), err)
	}
	for _, warning := range warnings {
		fmt.Fprintln(out, "warning:", warning)
	}
	if err == nil {
		fmt.Fprintln(out, "The configuration is valid.")
	}
	return err
}

// flatten lists what errors.Join and Problems hold.
func flatten(err error) []string {
	list := []string{}
	var problems settings.Problems
	var many interface{ Unwrap() []error }
	switch {
	case err == nil:
	case errors.As(err, &problems):
		for _, p := range problems {
			list = append(list, p.String())
		}
	case errors.As(err, &many):
		for _, e := range many.Unwrap() {
			if e != nil {
				list = append(list, flatten(e)...)
			}
		}
	default:
		list = append(list, err.Error())
	}
	return list
}
