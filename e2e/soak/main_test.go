// Package soak runs fauxlet for as long as one likes, sends it all kinds of requests, and fails if goroutines,
// descriptors or live heap grow. `make soak` runs it.
//
// Begin with TestSoak. A run consists of cycles of half a minute. In each cycle the steps of steps_test.go run, then
// all clients disconnect, and figures_test.go measures the idle process.
package soak

import (
	"flag"
	"io"
	"os"
	"testing"

	"k8s.io/klog/v2"

	"fauxlet/e2e/internal/programs"
)

func TestMain(m *testing.M) {
	// The client libraries log each connection that this test breaks on purpose.
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	_ = flags.Parse([]string{"-logtostderr=false", "-stderrthreshold=FATAL"})
	klog.SetOutput(io.Discard)
	os.Exit(programs.Main(m, "soak"))
}
