package host

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"go.opentelemetry.io/otel"
	"go.uber.org/zap"

	"fauxlet/authchain"
	"fauxlet/internal/admin"
	"fauxlet/internal/admin/page"
	"fauxlet/internal/decisions"
	"fauxlet/internal/explain"
)

// adminListener keeps the decisions of all nodes, shows them on the admin listener, and exports them as
// OpenTelemetry spans.
type adminListener struct {
	recorder *decisions.Recorder // nil if there is neither a listener nor tracing
	server   *admin.Server       // nil if there is no listener
	spans    *decisions.Spans    // nil if the configuration has no tracing
	ready    atomic.Bool         // true once all nodes listen
}

// openAdmin opens the admin listener and begins to export spans, each only if the options configure it.
func (h *Host) openAdmin() (*adminListener, error) {
	a := &adminListener{recorder: decisions.NewRecorder(h.options.Admin.KeepDecisions)}
	var err error
	if a.server, err = h.listenAdmin(a); err != nil {
		return nil, err
	}
	if a.server != nil {
		h.group.Go(func() error { return a.server.Serve(h.running) })
	}
	if c := h.options.Config.Kubelet.Tracing; c != nil {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { h.logger.Warn(spansLost, zap.Error(err)) }))
		if a.spans, err = decisions.NewSpans(h.running, a.recorder, c, h.options.Config.NodeName); err != nil {
			return nil, fmt.Errorf("tracing: %w", err)
		}
		if warning := a.spans.Warning(); warning != "" {
			h.logger.Warn(warning)
		}
		h.group.Go(func() error {
			if err := a.spans.Run(h.running); err != nil {
				h.logger.Warn(spansLost, zap.Error(err))
			}
			return nil
		})
	}
	if a.server == nil && a.spans == nil {
		a.recorder = nil
	}
	return a, nil
}

// listenAdmin opens the admin listener. It returns neither a server nor an error if no address is configured, or if the
// address is optional and cannot be used.
func (h *Host) listenAdmin(a *adminListener) (*admin.Server, error) {
	o := &h.options.Admin
	if o.Address == "" {
		return nil, nil
	}
	set := h.faults
	if h.options.Nodes.None {
		set = nil // the host's faults do not affect servers added with Host.Add
	}
	server, err := admin.Listen(o.Address, admin.Options{Recorder: a.recorder, Facts: h.facts, Faults: set,
		Token: o.Token, MakeToken: o.MakeToken, Build: NewBuild(h.options.Version), Logger: h.logger, WhatIf: whatIf{h},
		Sender: o.Sender, Page: page.Handler(), Ready: a.checkReady, Targets: h.targets})
	switch {
	case err == nil:
		h.logger.Info("admin listener is open", zap.String("admin", server.Addr()),
			zap.Bool("token", o.Token != "" || o.MakeToken), zap.String("tokenFile", server.TokenFile()))
		return server, nil
	case o.Optional:
		h.logger.Warn("no admin listener: its default address cannot be used, perhaps because another fauxlet uses it",
			zap.Error(err))
		return nil, nil
	case errors.Is(err, syscall.EADDRINUSE):
		err = fmt.Errorf("%w; choose another port, or 0 for a free one", err)
	}
	return nil, optionErrorf("Admin.Address", "%q: %w", o.Address, err)
}

// spansLost is the log message for spans that could not be exported.
const spansLost = "OpenTelemetry: spans are lost; check that a collector accepts OTLP at tracing.endpoint or " +
	"OTEL_EXPORTER_OTLP_ENDPOINT, with the same protocol and the same choice of TLS"

func (a *adminListener) checkReady() error {
	if !a.ready.Load() {
		return errors.New("not all listeners are open yet")
	}
	return nil
}

// addresses returns the address, the link and the token file of the listener, all empty if there is no listener.
func (a *adminListener) addresses() Addresses {
	if a.server == nil {
		return Addresses{}
	}
	return Addresses{Admin: a.server.Addr(), AdminLink: a.server.Link(), AdminTokenFile: a.server.TokenFile()}
}

// observer returns a function that records each decision of a node, and then passes the decision to the function "next"
// unless "next" is nil.
func (a *adminListener) observer(node string, next func(*authchain.Decision)) func(*authchain.Decision) {
	if a.recorder == nil {
		return next
	}
	record := a.recorder.For(node)
	if next == nil {
		return record
	}
	return func(d *authchain.Decision) {
		record(d)
		next(d)
	}
}

// facts returns the facts about a node's configuration that explanations of its decisions use.
func (h *Host) facts(name string) explain.Facts {
	if n := h.node(name); n != nil {
		cfg := n.config()
		if !h.ownCredentials() { // the certificate of a shared kubeconfig is not rotated
			copied := *cfg
			copied.Kubelet.RotateCertificates = false
			cfg = &copied
		}
		facts := explain.FactsOf(cfg)
		if reviewer := h.options.Admin.Reviewer; reviewer != nil {
			facts.Policy = reviewer.Policy()
		}
		return facts
	}
	return explain.Facts{}
}
