// Command sallyport is the security layer that an Envoy mesh puts in front of
// MCP servers and REST APIs.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // an image has no time zones, and providers may speak in them
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if text := err.Error(); text != "" {
			fmt.Fprintln(os.Stderr, "sallyport:", text)
		}
		os.Exit(exitCode(err))
	}
}
