package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"fauxlet/authchain"
	"fauxlet/explain"
	"fauxlet/trace"
)

// traceAddress is where the trace is shown, and looked for, where nobody says.
const traceAddress = "127.0.0.1:10240"

// maxTraceSize keeps what a slip of the finger asks for from taking all memory.
const maxTraceSize = 1_000_000

// traceFlags say where to show what was decided, and how much of it.
type traceFlags struct {
	address, tokenFile string
	size               int
	flag               *pflag.Flag // of address
}

func (f *traceFlags) addTo(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.address, "trace-address", traceAddress, "host and port on which to show what was decided and why, and to set faults, to fauxlet watch, fauxlet fault and a browser; port 0 takes a free one. Without this flag a port that is taken is no reason to stop. Empty: nowhere")
	flags.IntVar(&f.size, "trace-size", trace.DefaultSize, "how many decisions are kept, of all nodes; at most 16 KiB of memory is taken for each")
	flags.StringVar(&f.tokenFile, "trace-token-file", "", "file of the token that who asks at --trace-address must send; needed where that is not an address of loopback")
	f.flag = flags.Lookup("trace-address")
}

// tracing keeps what was decided, and shows it. Nil where it is not shown.
type tracing struct {
	recorder *trace.Recorder
	server   *trace.Server
	ready    atomic.Bool
}

var errNotReady = errors.New("not all that is to be listened on is open yet")

// open opens the listener, and gives nil where there is to be none, or where its port is taken and nobody asked for it.
func (f *traceFlags) open(logger *zap.Logger, facts func(node string) explain.Facts) (*tracing, error) {
	if f.size < 1 || f.size > maxTraceSize {
		return nil, fmt.Errorf("--trace-size: %d: must be from 1 to %d; --trace-address= turns the trace off", f.size, maxTraceSize)
	}
	if f.address == "" {
		return nil, nil
	}
	token, err := readToken(f.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("--trace-token-file: %w", err)
	}
	t := &tracing{recorder: trace.NewRecorder(f.size)}
	t.server, err = trace.Listen(f.address, trace.Options{
		Recorder: t.recorder, Facts: facts, Token: token, Build: thisBuild(), Logger: logger,
		Ready: func() error {
			if !t.ready.Load() {
				return errNotReady
			}
			return nil
		},
	})
	switch {
	case err == nil:
		logger.Info("decisions are shown", zap.String("trace", t.server.Addr()), zap.Bool("token", token != ""))
		return t, nil
	case !f.flag.Changed:
		logger.Warn("decisions are not shown: another fauxlet on this machine may do so; set --trace-address to show them elsewhere", zap.Error(err))
		return nil, nil
	}
	if errors.Is(err, trace.ErrNoToken) {
		err = fmt.Errorf("%w; the token is that of --trace-token-file", err)
	}
	return nil, fmt.Errorf("--trace-address: %q: %w", f.address, err)
}

// address is what is listened on, empty where nothing is.
func (t *tracing) address() string {
	if t == nil {
		return ""
	}
	return t.server.Addr()
}

// observer has the decisions of a node kept, and passes them on to next, which may be nil.
func (t *tracing) observer(node string, next func(*authchain.Decision)) func(*authchain.Decision) {
	if t == nil {
		return next
	}
	record := t.recorder.For(node)
	if next == nil {
		return record
	}
	return func(d *authchain.Decision) {
		record(d)
		next(d)
	}
}

// readToken reads a token from a file, and none where there is no file.
func readToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("%s is empty; make a token with: openssl rand -hex 32", file)
	}
	return token, nil
}
