// Command fauxlet is a stand-in kubelet: it answers on the kubelet's ports, authenticates and authorizes each request
// as a kubelet does, and serves fake logs of pods whose containers do not run.
//
// Each command has its own file, which parses flags, calls a package and prints the result. [newRoot] lists the
// commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"fauxlet/internal/color"
	"fauxlet/internal/helptext"
	"fauxlet/internal/logging"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // stop catching signals, so that a second one ends the process at once
	context.AfterFunc(ctx, logging.EndBatches)
	os.Exit(run(ctx, helptext.ForProgram(newRoot(), os.Args[0]), os.Args[1:]))
}

// The function "run" runs a command line and returns the exit code of the process.
func run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	logging.EndBatches()
	if err == nil {
		return 0
	}
	var exit *exitError
	if errors.As(err, &exit) && exit.error == nil { // the command has already printed its result
		return exit.code
	}
	fmt.Fprintln(root.ErrOrStderr(), "fauxlet:", color.PrintableLines(err.Error()))
	if exit != nil {
		return exit.code
	}
	if usage, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(root.ErrOrStderr(), "Run '%s --help' for usage.\n", usage.command)
		return 2
	}
	return 1
}

// exitError is an error that sets the exit code of the process. If it wraps no error, run prints nothing.
type exitError struct {
	error
	code int
}

func (e *exitError) Unwrap() error { return e.error }
