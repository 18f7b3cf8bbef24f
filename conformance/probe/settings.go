package probe

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// Setting is a field of the KubeletConfiguration whose value is inferred from outside.
type Setting struct {
	// Name is the path of the field.
	Name string `json:"name"`
	// Value is the inferred value, or "unknown" if other values would give the same responses.
	Value string `json:"value"`
	// Evidence is the observation behind the value, or what is missing to infer it.
	Evidence string `json:"evidence"`
}

const (
	unknown = "unknown"
	isTrue  = "true"
	isFalse = "false"
	set     = "set"
	notSet  = "not set"
)

// The names of the settings.
const (
	anonymousEnabled  = "authentication.anonymous.enabled"
	webhookEnabled    = "authentication.webhook.enabled"
	clientCAFile      = "authentication.x509.clientCAFile"
	authorizationMode = "authorization.mode"
	readOnlyPort      = "readOnlyPort"
	serverBootstrap   = "serverTLSBootstrap"
	tlsMinVersion     = "tlsMinVersion"
	debuggingHandlers = "enableDebuggingHandlers"
	systemLogHandler  = "enableSystemLogHandler"
	profilingHandler  = "enableProfilingHandler"
	debugFlagsHandler = "enableDebugFlagsHandler"
	fineGrained       = "featureGates.KubeletFineGrainedAuthz"
)

// observation is everything that was observed of a kubelet.
type observation struct {
	identities  []Identity
	tls         TLS
	certificate *Certificate          // nil without a handshake
	responses   map[string][]Response // by identity name, each in the order of rows
	readOnly    ReadOnlyPort
}

// response returns the response to a request (method and path) of an identity.
func (o *observation) response(identity, request string) Response {
	for n := range o.responses[identity] {
		if rows[n].String() == request {
			return o.responses[identity][n]
		}
	}
	return Response{Access: NotSent}
}

// find returns the first response that matches, with its identity and request, or nil.
func (o *observation) find(matches func(r *row, a *Response) bool) (identity string, r *row, a *Response) {
	for _, i := range o.identities {
		for n := range o.responses[i.Name] {
			if response := &o.responses[i.Name][n]; matches(&rows[n], response) {
				return i.Name, &rows[n], response
			}
		}
	}
	return "", nil, nil
}

// accepted reports whether an identity was authenticated, and returns the response that shows it.
func (o *observation) accepted(identity string) (string, bool) {
	for n := range o.responses[identity] {
		if a := &o.responses[identity][n]; a.authenticated() {
			return fmt.Sprintf("%s: %s: %d", identity, &rows[n], a.Status), true
		}
	}
	return "", false
}

// refused reports whether every authenticated request of an identity got a 401.
func (o *observation) refused(identity string) bool {
	n := 0
	for _, a := range o.responses[identity] {
		if a.authenticated() {
			return false
		}
		if a.Access == Unauthenticated {
			n++
		}
	}
	return n > 0
}

// isKubelet reports whether at least one response is typical of a kubelet.
func (o *observation) isKubelet() bool {
	_, _, a := o.find(func(_ *row, a *Response) bool { return a.kubelet })
	return a != nil
}

// settings infers the settings. If an identity may read /configz, settings that cannot be inferred are
// taken from there.
func (o *observation) settings() []Setting {
	all := []Setting{
		o.anonymous(), o.webhook(), o.clientCA(), o.mode(), o.readOnlySetting(), o.bootstrap(), o.minVersion(),
		o.debugging(), o.handler(systemLogHandler, "/logs/", "logs"), o.handler(profilingHandler,
			"/debug/pprof/", "profiling"),
		o.handler(debugFlagsHandler, "/debug/flags/v", "flags"), o.fineGrained(),
	}
	if !o.isKubelet() && !o.tls.pending() {
		for i := range all {
			all[i].Value, all[i].Evidence = unknown, "no response is typical of a kubelet"
		}
		return all
	}
	if configz, reader := o.configz(); configz != nil {
		reported := valuesOf(configz)
		for i := range all {
			all[i].compareWith(reported[all[i].Name], reader)
		}
	}
	return all
}

// compareWith compares the inferred value with the value in /configz, and uses the latter if no value was inferred.
// configz is "" if /configz does not have the setting. reader is the identity that could read /configz.
func (s *Setting) compareWith(configz, reader string) {
	switch {
	case configz == "":
	case s.Value == unknown:
		s.Value, s.Evidence = configz, "the kubelet's /configz, read by "+reader
	case s.Name == readOnlyPort && strings.HasPrefix(s.Value, "not ") && s.Value != "not "+configz:
		s.Value = configz
		s.Evidence += "; the kubelet's /configz has " + configz
	case s.Value == configz:
		s.Evidence += "; the kubelet's /configz agrees"
	default:
		s.Evidence += "; the kubelet's /configz has " + configz +
			", a contradiction: a proxy is in between, or /configz is from another kubelet"
	}
}

// anonymous: a request without a credential gets a 401 exactly if anonymous authentication is disabled.
func (o *observation) anonymous() Setting {
	if how, yes := o.accepted(NoCredential); yes {
		return Setting{anonymousEnabled, isTrue, how}
	}
	if o.refused(NoCredential) {
		return Setting{anonymousEnabled, isFalse, NoCredential + ": 401"}
	}
	return Setting{anonymousEnabled, unknown, "no response to a request without a credential"}
}

// webhook: with the webhook, an invalid token gets a 401. Without it, a request with a token is anonymous. If
// anonymous authentication is disabled, this request also gets a 401, and only a valid token shows the difference.
func (o *observation) webhook() Setting {
	_, anonymous := o.accepted(NoCredential)
	how, invalid := o.accepted(InvalidToken)
	switch {
	case invalid && anonymous:
		return Setting{webhookEnabled, isFalse, how + ", like a request without a token"}
	case invalid:
		return Setting{
			webhookEnabled,
			unknown,
			how + ", but requests without a credential get 401: no kubelet does that",
		}
	case anonymous && o.refused(InvalidToken):
		return Setting{webhookEnabled, isTrue, InvalidToken + ": 401, but requests without a credential are anonymous"}
	}
	for i := range o.identities {
		identity := &o.identities[i]
		if !identity.secret() || identity.Certificate != nil && o.tls.ClientCertificateRequested {
			continue
		}
		if how, yes := o.accepted(identity.Name); yes && !anonymous {
			return Setting{webhookEnabled, isTrue, how + ", with only a token"}
		}
	}
	return Setting{webhookEnabled, unknown,
		"without anonymous authentication an invalid token gets 401 in any case; probe with a valid token to find out"}
}

// clientCA: a kubelet requests client certificates exactly if it has a client CA.
func (o *observation) clientCA() Setting {
	switch {
	case len(o.tls.chain) == 0:
		return Setting{clientCAFile, unknown, "no handshake succeeded"}
	case o.tls.ClientCertificateRequested:
		return Setting{clientCAFile, set,
			"a client certificate is requested; listed CAs: " + list(o.tls.ClientCAs, "none")}
	}
	return Setting{clientCAFile, notSet, "no client certificate is requested"}
}

// mode: a denied request, or a failed authorization check, shows Webhook mode. If every request is allowed, the mode
// can be Webhook or AlwaysAllow.
func (o *observation) mode() Setting {
	identity, r, a := o.find(func(_ *row, a *Response) bool {
		return a.kubelet && (a.Access == Forbidden || a.Access == AuthorizationError)
	})
	if a != nil {
		return Setting{authorizationMode, "Webhook", fmt.Sprintf("%s: %s: %d", identity, r, a.Status)}
	}
	if identity, _, a = o.find(func(_ *row, a *Response) bool { return a.admitted() }); a != nil {
		return Setting{authorizationMode, unknown, "every request of " + identity +
			" was allowed: the mode is AlwaysAllow, or RBAC allows that user everything"}
	}
	return Setting{
		authorizationMode,
		unknown,
		"no request reached authorization; probe with a valid credential to find out",
	}
}

func (o *observation) readOnlySetting() Setting {
	port := strconv.Itoa(o.readOnly.Port)
	switch o.readOnly.State {
	case Open:
		return Setting{readOnlyPort, port, "it responds without authentication"}
	case Closed:
		return Setting{
			readOnlyPort,
			"not " + port,
			"connections to " + port + " are refused; other ports were not probed",
		}
	case NotKubelet:
		return Setting{readOnlyPort, "not " + port, "the server on port " + port + " is not a kubelet"}
	case NotProbed:
		return Setting{readOnlyPort, unknown, "not probed"}
	}
	return Setting{readOnlyPort, unknown, "no response on port " + port}
}

// bootstrap: a kubelet generates a self-signed certificate only without serverTLSBootstrap.
func (o *observation) bootstrap() Setting {
	switch {
	case o.tls.pending():
		return Setting{
			serverBootstrap,
			unknown,
			"there is no serving certificate: it is true and no certificate was issued yet, " +
				"or tlsCertFile is set without tlsPrivateKeyFile",
		}
	case o.certificate == nil:
		return Setting{serverBootstrap, unknown, "no handshake succeeded"}
	case o.certificate.Kind == KubeletSelfSigned:
		return Setting{serverBootstrap, isFalse, "the serving certificate is self-signed by the kubelet"}
	case o.certificate.Kind == IssuedForNode:
		return Setting{
			serverBootstrap,
			unknown,
			"the serving certificate has the subject that the cluster's signer requires; " +
				"it may also come from tlsCertFile",
		}
	}
	return Setting{serverBootstrap, unknown, "the origin of the serving certificate is unknown"}
}

// minVersion is the lowest accepted version, if the lower ones were refused.
func (o *observation) minVersion() Setting {
	for _, v := range o.tls.Versions {
		if v.Accepted {
			return Setting{tlsMinVersion, v.Name, "the lowest accepted version"}
		}
		if !v.refused {
			return Setting{tlsMinVersion, unknown, v.Name + " was neither accepted nor refused: " + v.Error}
		}
	}
	return Setting{tlsMinVersion, unknown, "no handshake succeeded"}
}

// debugging: without debugging handlers, /configz is a 404 before authentication.
func (o *observation) debugging() Setting {
	identity, r, a := o.find(func(_ *row, a *Response) bool { return a.handler == "Debug" })
	if a != nil {
		return Setting{
			debuggingHandlers,
			isFalse,
			fmt.Sprintf("%s: %s: %q", identity, r, "Debug endpoints are disabled."),
		}
	}
	switch a := o.response(NoCredential, "GET /configz"); {
	case a.Access == NotServed && a.Status == 404:
		return Setting{debuggingHandlers, isFalse, "/configz is not served: 404"}
	case a.authenticated() || a.Access == Unauthenticated:
		return Setting{debuggingHandlers, isTrue, fmt.Sprintf("/configz is served: %s: %d", NoCredential, a.Status)}
	}
	return Setting{debuggingHandlers, unknown, "no response to /configz"}
}

// handler infers the setting of one debugging handler. word is the handler's name in the kubelet's message that the
// handler is disabled.
func (o *observation) handler(name, path, word string) Setting {
	identity, r, a := o.find(func(r *row, a *Response) bool {
		return r.String() == "GET "+path && (a.Access == Admitted && a.Status < 500 || a.handler == word)
	})
	switch {
	case a == nil && o.debugging().Value == isFalse:
		return Setting{name, unknown, "it has no effect without enableDebuggingHandlers"}
	case a == nil:
		return Setting{name, unknown, "no identity may get " + path + "; probe with one that may to find out"}
	case a.Access == Disabled:
		return Setting{name, isFalse, fmt.Sprintf("%s: %s: %q", identity, r, word+" endpoint is disabled.")}
	}
	return Setting{name, isTrue, fmt.Sprintf("%s: %s: %d", identity, r, a.Status)}
}

var gateMetric = regexp.MustCompile(`(?m)^kubernetes_feature_enabled\{name="KubeletFineGrainedAuthz"[^}]*\} (\d)`)

// fineGrained: a 403 lists the checked subresources. The responses to an identity that may get nodes/pods but not
// nodes/proxy show the setting too.
func (o *observation) fineGrained() Setting {
	identity, r, a := o.find(func(r *row, a *Response) bool { return r.path == "/pods" && len(a.subresources) > 0 })
	if a != nil {
		value := strconv.FormatBool(slices.Contains(a.subresources, "pods"))
		return Setting{fineGrained, value,
			fmt.Sprintf("%s: %s: 403 for the subresources %s", identity, r, strings.Join(a.subresources, ", "))}
	}
	for _, i := range o.identities {
		pods, exec := o.response(i.Name, "GET /pods"), o.response(i.Name, "GET /exec"+impossiblePod)
		if pods.admitted() && exec.Access == Forbidden {
			return Setting{fineGrained, isTrue, i.Name + " may get nodes/pods, but not nodes/proxy"}
		}
	}
	if _, _, a := o.find(func(r *row, a *Response) bool {
		return r.path == "/metrics" && gateMetric.Match(a.body)
	}); a != nil {
		return Setting{fineGrained, strconv.FormatBool(string(gateMetric.FindSubmatch(a.body)[1]) == "1"),
			"kubernetes_feature_enabled in the kubelet's /metrics"}
	}
	return Setting{fineGrained, unknown, "no 403 for /pods, which would list the checked subresources"}
}

// configz returns the kubelet's /configz and the identity that could read it, or nil if no identity could.
func (o *observation) configz() (*kubeletconfigv1beta1.KubeletConfiguration, string) {
	identity, _, a := o.find(func(r *row, a *Response) bool { return r.path == "/configz" && a.body != nil })
	if a == nil {
		return nil, ""
	}
	var configz struct {
		KubeletConfig *kubeletconfigv1beta1.KubeletConfiguration `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(a.body, &configz); err != nil {
		return nil, ""
	}
	return configz.KubeletConfig, identity
}

// valuesOf returns the settings in a configuration. Fields that are not set have no entry.
func valuesOf(c *kubeletconfigv1beta1.KubeletConfiguration) map[string]string {
	values := map[string]string{
		clientCAFile: notSet, authorizationMode: string(c.Authorization.Mode),
		readOnlyPort: strconv.Itoa(
			int(c.ReadOnlyPort),
		), serverBootstrap: strconv.FormatBool(c.ServerTLSBootstrap), tlsMinVersion: c.TLSMinVersion,
	}
	if c.Authentication.X509.ClientCAFile != "" {
		values[clientCAFile] = set
	}
	if c.TLSMinVersion == "" {
		values[tlsMinVersion] = "VersionTLS12"
	}
	for name, value := range map[string]*bool{
		anonymousEnabled: c.Authentication.Anonymous.Enabled, webhookEnabled: c.Authentication.Webhook.Enabled,
		debuggingHandlers: c.EnableDebuggingHandlers, systemLogHandler: c.EnableSystemLogHandler,
		profilingHandler: c.EnableProfilingHandler, debugFlagsHandler: c.EnableDebugFlagsHandler,
	} {
		if value != nil {
			values[name] = strconv.FormatBool(*value)
		}
	}
	if on, there := c.FeatureGates["KubeletFineGrainedAuthz"]; there {
		values[fineGrained] = strconv.FormatBool(on)
	}
	return values
}

var versionMetric = regexp.MustCompile(`(?m)^kubernetes_build_info\{[^}]*git_version="(v[0-9][^"]*)"`)

// version returns the kubelet's version from /metrics, or "".
func (o *observation) version() string {
	metrics := func(r *row, a *Response) bool { return r.path == "/metrics" && a.body != nil }
	if _, _, a := o.find(metrics); a != nil {
		if m := versionMetric.FindSubmatch(a.body); m != nil {
			return string(m[1])
		}
	}
	return ""
}

// list joins names with semicolons.
func list(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, "; ")
}
