// Command fauxlet is a stand-in kubelet: it answers on the kubelet's ports, asks who a client is and what it may do as a
// kubelet does, and serves the logs of pods that do not run.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		// A second signal ends the process at once.
		stop()
	}()
	os.Exit(run(ctx, os.Args[1:]))
}

// run is the process: 0 when all went well, 1 when the command failed, 2 when it was not understood, or what the command
// itself says.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var exit *exitError
	if errors.As(err, &exit) && exit.error == nil { // all is said
		return exit.code
	}
	fmt.Fprintln(root.ErrOrStderr(), "fauxlet:", err)
	if exit != nil {
		return exit.code
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(root.ErrOrStderr(), "Run '%s --help' for usage.\n", usage.command)
		return 2
	}
	return 1
}
