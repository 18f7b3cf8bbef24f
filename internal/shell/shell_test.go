package shell

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fauxlet/internal/pods"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	Config     = pods.ContainerConfig
	Streams    = pods.Streams
	Size       = pods.Size
	StartError = pods.StartError
)

// started is the start time of the tests' containers.
var started = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newContainer(t testing.TB, change ...func(*Config)) *container {
	t.Helper()
	config := Config{
		Hostname: "web-0", IP: "10.1.2.3", Env: []string{"COLOUR=blue", "EMPTY="},
		Command: []string{"nginx", "-g", "daemon off;"},
		Files: map[string]string{"/etc/motd": "hello\n", "/data/a.txt": "one\ntwo\nthree\n",
			"/data/b.txt": "1\n2\n3\n"},
		Started: started,
	}
	for _, change := range change {
		change(&config)
	}
	c, err := containerOf(config, func() time.Time { return started.Add(26*time.Hour + 5*time.Minute) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// result is the result of a command.
type result struct {
	stdout, stderr string
	exit           int
}

// run runs a command, which must end within a few seconds.
func run(t testing.TB, c *container, stdin string, argv ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var stdout, stderr bytes.Buffer
	exit, err := c.Run(ctx, argv, Streams{Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr})
	if failed, ok := errors.AsType[*StartError](err); ok {
		return result{stderr: failed.Text, exit: failed.Code}
	}
	if err != nil {
		t.Fatalf("%q: %v\nstdout: %.300q\nstderr: %.300q", argv, err, stdout.String(), stderr.String())
	}
	return result{stdout.String(), stderr.String(), exit}
}

// sh runs a script.
func sh(t testing.TB, c *container, script string) result {
	t.Helper()
	return run(t, c, "", "sh", "-c", script)
}
