package main

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/settings"
)

// version is set by the linker from the tag; see the Makefile.
var version = "dev"

// run executes one command line. It returns when the command is done or ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "Security layer for MCP servers and REST APIs behind Envoy",
		Long: `Sallyport answers Envoy's ext_authz checks (who calls which tool, and may they)
and its ext_proc exchanges (a write takes effect at most once per key).

Start with:
  sallyport demo                            the whole path, with a real Envoy, on loopback
  sallyport validate --config FILE          every mistake of a configuration at once
  sallyport envoy bootstrap --config FILE   the Envoy configuration that goes with it
  sallyport serve --config FILE             the service`,
		Version:       versionText(),
		SilenceUsage:  true, // an error at run time is not one of usage
		SilenceErrors: true, // main prints it
	}
	root.PersistentFlags().String("config", defaultConfigFile(), "configuration file (environment: "+configVariable+")")
	root.AddCommand(
		newServeCommand(),
		newValidateCommand(),
		newEnvoyCommand(),
		newCatalogueCommand(),
		newIdempotencyCommand(),
		newTokenCommand(),
		newElevateCommand(),
		newAuditCommand(),
		newDemoCommand(),
		newExampleCommand(),
	)
	return root
}

// group makes a command of others alone one that refuses what is none of them;
// cobra would print the help, as if all were well.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// configVariable is the environment variable that names the configuration file.
const configVariable = "SALLYPORT_CONFIG"

func defaultConfigFile() string {
	if file := os.Getenv(configVariable); file != "" {
		return file
	}
	return "sallyport.yaml"
}

// loadSettings reads the configuration that the command line names.
func loadSettings(cmd *cobra.Command) (*settings.Loaded, error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	return settings.Load(file, os.Environ())
}

func newExampleCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "example [configuration|catalogue]",
		Short: "Print a commented example of the configuration or of the catalogue of tools",
		Long: `Example prints a commented example that shows every key: of the configuration, or
of the catalogue of tools that the configuration names.`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"configuration", "catalogue"},
		RunE: func(cmd *cobra.Command, args []string) error {
			text := settings.Example
			if len(args) == 1 && args[0] == "catalogue" {
				text = catalogue.Example
			}
			_, err := cmd.OutOrStdout().Write(text)
			return err
		},
	}
}

func versionText() string {
	text := version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				text += " " + s.Value
			}
		}
		text += " " + info.GoVersion
	}
	return text
}

// Exit codes. A refused configuration is told apart from a failure at run time.
const (
	exitFailure = 1
	exitConfig  = 2
)

func exitCode(err error) int {
	var exit exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	var problems settings.Problems
	var mistake invalidError
	if errors.As(err, &problems) || errors.As(err, &mistake) {
		return exitConfig
	}
	return exitFailure
}
