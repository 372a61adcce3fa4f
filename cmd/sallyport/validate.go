package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/catalogue"
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
			switch {
			case err == nil:
				warnings, err = check(loaded)
			case loaded != nil: // what else is wrong, as far as it can be seen
				tools := catalogueConfig(loaded.Config)
				tools.Servers = nil // their list may be broken, too
				_, catalogueErr := catalogue.Load(tools, time.Now())
				err = errors.Join(err, catalogueErr)
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
	errs := []error{err}
	if err == nil {
		warnings = append(s.warnings, warnings...)
		_, err = authz.Compile(s.authz)
		errs = append(errs, err)
	}
	if _, err := bootstrap(loaded.Config, "yaml"); err != nil {
		warnings = append(warnings, "envoy bootstrap: "+err.Error())
	}
	return warnings, invalid(errors.Join(errs...))
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
	switch e := err.(type) { //nolint:errorlint // what is joined is taken apart, not searched
	case nil:
	case settings.Problems:
		for _, p := range e {
			list = append(list, p.String())
		}
	case invalidError:
		list = flatten(e.error)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			list = append(list, flatten(one)...)
		}
	default:
		list = append(list, err.Error())
	}
	return list
}
