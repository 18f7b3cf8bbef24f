package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel"
	"go.uber.org/zap"

	"fauxlet/authchain"
	"fauxlet/internal/admin"
	web "fauxlet/internal/admin/page"
)

// adminAddress is where the trace is shown, and looked for, where nobody says.
const adminAddress = "127.0.0.1:10240"

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
	flags.StringVar(&f.address, "admin-address", adminAddress, "host and port on which to show what was decided and why, and to set faults, to fauxlet watch, fauxlet fault and a browser; port 0 takes a free one. Without this flag a port that is taken is no reason to stop. Empty: nowhere")
	flags.IntVar(&f.size, "keep-decisions", admin.DefaultSize, "how many decisions are kept, of all nodes; at most 16 KiB of memory is taken for each")
	flags.StringVar(&f.tokenFile, "admin-token-file", "", "file of the token that who asks at --admin-address must send; needed where that is not an address of loopback")
	f.flag = flags.Lookup("admin-address")
}

// tracing keeps what was decided, and tells it. Nil where nobody is told.
type tracing struct {
	recorder *admin.Recorder
	server   *admin.Server // nil where it is not shown
	spans    *admin.Spans  // nil without `tracing` in the kubelet's configuration
	ready    atomic.Bool
}

var errNotReady = errors.New("not all that is to be listened on is open yet")

// open opens what tells of the decisions of nodes.
func (f *traceFlags) open(ctx context.Context, k *kubelets) (*tracing, error) {
	if f.size < 1 || f.size > maxTraceSize {
		return nil, fmt.Errorf("--keep-decisions: %d: must be from 1 to %d; --admin-address= turns the admin listener off", f.size, maxTraceSize)
	}
	t := &tracing{recorder: admin.NewRecorder(f.size)}
	var err error
	if t.server, err = f.listen(t, k); err != nil {
		return nil, err
	}
	if c := k.cfg.Kubelet.Tracing; c != nil {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { k.logger.Warn(spansLost, zap.Error(err)) }))
		if t.spans, err = admin.NewSpans(ctx, t.recorder, c, k.cfg.NodeName); err != nil {
			return nil, errors.Join(fmt.Errorf("tracing: %w", err), t.close())
		}
	}
	if t.server == nil && t.spans == nil {
		return nil, nil
	}
	return t, nil
}

// listen opens the listener, and gives nil where there is to be none, or where its port is taken and nobody asked for it.
func (f *traceFlags) listen(t *tracing, k *kubelets) (*admin.Server, error) {
	if f.address == "" {
		return nil, nil
	}
	token, err := readToken(f.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("--admin-token-file: %w", err)
	}
	server, err := admin.Listen(f.address, admin.Options{
		Recorder: t.recorder, Facts: k.facts, Faults: k.faults, Token: token, Build: thisBuild(), Logger: k.logger,
		WhatIf: suppositions{k}, Visitors: k.asking.visitors, Page: web.Handler(),
		Ready: func() error {
			if !t.ready.Load() {
				return errNotReady
			}
			return nil
		},
	})
	switch {
	case err == nil:
		k.logger.Info("decisions are shown", zap.String("admin", server.Addr()), zap.Bool("token", token != ""))
		return server, nil
	case !f.flag.Changed:
		k.logger.Warn("decisions are not shown: another fauxlet on this machine may do so; set --admin-address to show them elsewhere", zap.Error(err))
		return nil, nil
	case errors.Is(err, admin.ErrNoToken):
		err = fmt.Errorf("%w; the token is that of --admin-token-file", err)
	case errors.Is(err, syscall.EADDRINUSE):
		err = fmt.Errorf("%w; take another port, or 0, which takes a free one", err)
	}
	return nil, fmt.Errorf("--admin-address: %q: %w", f.address, err)
}

// spansLost is what the log says where the endpoint of `tracing` does not take them.
const spansLost = "OpenTelemetry: spans are lost; tracing.endpoint must be that of a collector that takes OTLP by gRPC, in the clear"

// run tells of what is decided until the nodes end.
func (t *tracing) run(k *kubelets) {
	if t == nil {
		return
	}
	if t.server != nil {
		k.group.Go(func() error { return t.server.Serve(k.running) })
	}
	if t.spans != nil {
		k.group.Go(func() error {
			if err := t.spans.Run(k.running); err != nil {
				k.logger.Warn(spansLost, zap.Error(err))
			}
			return nil
		})
	}
}

// close closes what run was not called for.
func (t *tracing) close() error {
	if t.server == nil {
		return nil
	}
	return t.server.Close()
}

// listening is to be called when all nodes are.
func (t *tracing) listening() {
	if t != nil {
		t.ready.Store(true)
	}
}

// address is what is listened on, empty where nothing is.
func (t *tracing) address() string {
	if t == nil || t.server == nil {
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
