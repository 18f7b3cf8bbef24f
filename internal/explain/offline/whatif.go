package offline

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/explain"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
)

// WhatIf finds out how a kubelet with other settings would have handled a request. It sends nothing over the network.
// The Reviewer answers TokenReviews and SubjectAccessReviews in memory. Without a Reviewer, they are answered with the
// results in the request's Decision; if the Decision has no such result, the outcome is an error.
type WhatIf struct {
	// Config is the kubelet's current configuration. It is required. WhatIf changes a copy of it.
	Config *config.Config
	// Reviewer answers TokenReviews and SubjectAccessReviews. If it is nil, only the results in the Decision are
	// available.
	Reviewer *reviewapi.Server
	// Pods are the node's pods.
	Pods *pods.Store
}

// errNoAuthentication is the error of [WhatIf.Explain] for a request that needed no authentication.
var errNoAuthentication = errors.New("the request was not authenticated, so these settings do not change its result")

// Explain explains how the request of a Decision would have been handled with changed settings. The map "set" contains
// the new value of each changed field. The parameter "original" is the original request, or nil if it is not available.
// It supplies the query and the token, because a Decision does not contain them.
func (w WhatIf) Explain(
	ctx context.Context, d *authchain.Decision, original *Request, set map[string]string) (explain.Explanation, error) {
	if d.Handshake != "" || d.NoRequest != "" || len(d.Authentication) == 0 {
		return explain.Explanation{}, errNoAuthentication
	}
	changed, err := w.configWith(set)
	if err != nil {
		return explain.Explanation{}, err
	}
	request := requestOf(d)
	if original != nil {
		request.Target, request.Token, request.Header = original.Target, original.Token, original.Header
	}
	reviews := &replay{d, w.Reviewer}
	tokens, access, err := reviews.clients()
	if err != nil {
		return explain.Explanation{}, err
	}
	k, err := New(Options{Config: changed, TokenReviews: tokens, AccessReviews: access, Pods: w.Pods})
	if err != nil {
		return explain.Explanation{}, err
	}
	if w.Reviewer != nil {
		k.facts.Policy = w.Reviewer.Policy()
	}
	decided, response, err := k.decide(ctx, request)
	if err != nil {
		return explain.Explanation{}, err
	}
	reviews.restoreToken(decided)
	upgrade := response.wantsUpgrade()
	if explain.Outcome(d.Outcome()) == explain.Allowed && explain.Outcome(decided.Outcome()) == explain.Allowed {
		// The settings do not affect the handler, so it would have sent the same response as to the original request.
		decided.Status, decided.Err, upgrade = d.Status, d.Err, false
	}
	explanation := explain.Decision(decided, k.facts)
	if upgrade && explanation.Outcome == explain.Allowed {
		explainUpgrade(&explanation)
	}
	actual := explain.Decision(d, explain.Facts{})
	*explanation.Stage(explain.StageTLS) = *actual.Stage(explain.StageTLS) // the settings do not affect TLS
	return explanation, nil
}

// requestOf rebuilds a request from the Decision about the request. A Decision does not contain the token of the
// request, so the rebuilt request has a made-up token.
func requestOf(d *authchain.Decision) Request {
	target := url.URL{Path: d.Path}
	request := Request{Method: d.Method, Target: target.RequestURI(), Header: http.Header{}}
	if d.TLS != nil {
		request.Certificates = d.TLS.PeerCertificates
	}
	for i := range d.Authentication {
		switch s := &d.Authentication[i]; {
		case s.Method == authchain.MethodWebSocketToken && s.Token != "":
			request.Header.Set("Sec-WebSocket-Protocol",
				"base64url.bearer.authorization.k8s.io."+encodedPlaceholder+", v4.channel.k8s.io")
			request.Header.Set("Upgrade", "websocket")
			request.Header.Set("Connection", "Upgrade")
		case s.Method == authchain.MethodBearerToken && (s.Token != "" || strings.Contains(s.Reason, "was not read")):
			request.Token = placeholder
		}
	}
	return request
}
