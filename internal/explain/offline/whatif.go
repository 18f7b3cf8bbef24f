package offline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/explain"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
)

// WhatIf asks what would have become of a request, had its kubelet been configured otherwise. Nothing is sent to anybody:
// who would have been asked is the Reviewer, in memory, or, where there is none, what the request's Decision remembers.
// What neither knows is not made up, and the road is broken there.
type WhatIf struct {
	// Config is the configuration that the kubelet has. Required; it is not changed.
	Config *config.Config
	// Reviewer answers reviews. Nil: there are only the answers of the Decision.
	Reviewer *reviewapi.Server
	// Pods are those of the node.
	Pods *pods.Store
}

// Switch is a field of the configuration that can be supposed to be otherwise.
type Switch struct {
	// Field is its path in KubeletConfiguration.
	Field string
	// Values are those that it can have. The first is the one that it has.
	Values []string
}

// switches are the fields that decide who a client is and what it may do.
var switches = []struct {
	field  string
	values func(*config.Config) []string
	get    func(*config.Config) string
	set    func(*config.Config, string)
}{
	{"authentication.x509.clientCAFile",
		func(c *config.Config) []string { return []string{c.Kubelet.Authentication.X509.ClientCAFile, ""} },
		func(c *config.Config) string { return c.Kubelet.Authentication.X509.ClientCAFile },
		func(c *config.Config, value string) { c.Kubelet.Authentication.X509.ClientCAFile = value }},
	{"authentication.webhook.enabled", booleans,
		func(c *config.Config) string { return text(c.Kubelet.Authentication.Webhook.Enabled) },
		func(c *config.Config, value string) { c.Kubelet.Authentication.Webhook.Enabled = boolean(value) }},
	{"authentication.anonymous.enabled", booleans,
		func(c *config.Config) string { return text(c.Kubelet.Authentication.Anonymous.Enabled) },
		func(c *config.Config, value string) { c.Kubelet.Authentication.Anonymous.Enabled = boolean(value) }},
	{"authorization.mode",
		func(*config.Config) []string { return []string{"Webhook", "AlwaysAllow"} },
		func(c *config.Config) string { return string(c.Kubelet.Authorization.Mode) },
		func(c *config.Config, value string) { setMode(&c.Kubelet.Authorization.Mode, value) }},
}

func booleans(*config.Config) []string { return []string{"true", "false"} }

func text(b *bool) string { return strconv.FormatBool(b != nil && *b) }

func boolean(value string) *bool {
	b := value == "true"
	return &b
}

// setMode sets a field whose type is a string of its own.
func setMode[T ~string](mode *T, value string) { *mode = T(value) }

// Switches are what can be supposed.
func (w WhatIf) Switches() []Switch {
	all := make([]Switch, len(switches))
	for i, s := range switches {
		values := append([]string{s.get(w.Config)}, s.values(w.Config)...)
		slices.Sort(values[1:])
		unique := values[:1]
		for _, value := range values[1:] {
			if !slices.Contains(unique, value) {
				unique = append(unique, value)
			}
		}
		all[i] = Switch{s.field, unique}
	}
	return all
}

// supposed is the configuration with other values of some fields.
func (w WhatIf) supposed(set map[string]string) (*config.Config, error) {
	c := *w.Config
	c.Kubelet = *w.Config.Kubelet.DeepCopy()
	known := w.Switches()
	for field, value := range set {
		i := slices.IndexFunc(known, func(s Switch) bool { return s.Field == field })
		if i < 0 {
			var names []string
			for _, s := range known {
				names = append(names, s.Field)
			}
			return nil, fmt.Errorf("%s: cannot be supposed here; what can be is %s", field, strings.Join(names, ", "))
		}
		if !slices.Contains(known[i].Values, value) {
			return nil, fmt.Errorf("%s: %q is none of %q", field, value, known[i].Values)
		}
		switches[i].set(&c, value)
	}
	return &c, nil
}

// ErrNotARequest is what Ask says of a Decision that is about no request, or about one that nobody had to judge.
var ErrNotARequest = errors.New("nobody had to judge this, and so no setting changes it")

// Ask gives the Road that the request of a Decision takes where some fields have other values. Sent is the request, where
// it is known in full; a Decision alone has neither its query nor its token.
func (w WhatIf) Ask(ctx context.Context, d *authchain.Decision, sent *Request, set map[string]string) (explain.Road, error) {
	if d.Handshake != "" || d.NoRequest != "" || len(d.Authentication) == 0 {
		return explain.Road{}, ErrNotARequest
	}
	supposed, err := w.supposed(set)
	if err != nil {
		return explain.Road{}, err
	}
	asked := requestOf(d)
	if sent != nil {
		asked.Target, asked.Token, asked.Header = sent.Target, sent.Token, sent.Header
	}
	remembered := newMemory(d, w.Reviewer)
	tokens, access, err := remembered.clients()
	if err != nil {
		return explain.Road{}, err
	}
	k, err := New(Options{Config: supposed, TokenReviews: tokens, AccessReviews: access, Pods: w.Pods})
	if err != nil {
		return explain.Road{}, err
	}
	decided, answer, err := k.ask(ctx, asked)
	if err != nil {
		return explain.Road{}, err
	}
	remembered.rename(decided)
	upgrade := answer.wantsUpgrade()
	if d.Outcome() == "allowed" && decided.Outcome() == "allowed" {
		// What it was let in to is the same, and has answered.
		decided.Status, decided.Err, upgrade = d.Status, d.Err, false
	}
	road := explain.Of(decided, k.facts)
	if stop := road.Stop(explain.StopAnswer); upgrade && road.Verdict == explain.Allowed {
		stop.Outcome, stop.Says, stop.Facts = explain.Passed, "let in, to a stream that would begin now", nil
		road.Status = http.StatusSwitchingProtocols
	}
	real := explain.Of(d, explain.Facts{})
	*road.Stop(explain.StopTLS) = *real.Stop(explain.StopTLS) // it is the same connection
	return road, nil
}

// requestOf is the request of a Decision, as far as that remembers it.
func requestOf(d *authchain.Decision) Request {
	asked := Request{Method: d.Method, Target: targetOf(d.Path), Header: http.Header{}}
	if d.TLS != nil {
		asked.Certificates = d.TLS.PeerCertificates
	}
	for i := range d.Authentication {
		switch s := &d.Authentication[i]; {
		case s.Method == authchain.MethodWebSocketToken && s.Token != "":
			asked.Header.Set("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io."+encodedStandIn+", v4.channel.k8s.io")
			asked.Header.Set("Upgrade", "websocket")
			asked.Header.Set("Connection", "Upgrade")
		case s.Method == authchain.MethodBearerToken && (s.Token != "" || strings.Contains(s.Reason, "was not read")):
			asked.Token = standIn
		}
	}
	return asked
}
