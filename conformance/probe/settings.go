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

// Setting is a field of the KubeletConfiguration, as far as it can be told from outside.
type Setting struct {
	// Name is the path of the field.
	Name string `json:"name"`
	// Value is "unknown" where the answers would be the same with another.
	Value string `json:"value"`
	// Evidence is what it was told from, or what would have to be known.
	Evidence string `json:"evidence"`
}

const (
	unknown = "unknown"
	isTrue  = "true"
	isFalse = "false"
	set     = "set"
	notSet  = "not set"
)

// The settings.
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

// observation is all that was seen of a kubelet.
type observation struct {
	identities []Identity
	tls        TLS
	chain      *Certificate
	answers    map[string][]Response
	readOnly   ReadOnlyPort
}

// of is the answer that an identity got.
func (o *observation) of(identity, row string) Response {
	for n := range o.answers[identity] {
		if rows[n].String() == row {
			return o.answers[identity][n]
		}
	}
	return Response{Access: NotSent}
}

// find gives the first answer, with who got it to what, that is as wanted.
func (o *observation) find(is func(r *row, a *Response) bool) (identity string, r *row, a *Response) {
	for _, i := range o.identities {
		for n := range o.answers[i.Name] {
			if answer := &o.answers[i.Name][n]; is(&rows[n], answer) {
				return i.Name, &rows[n], answer
			}
		}
	}
	return "", nil, nil
}

// accepted says whether somebody was taken for anybody, and by which answer.
func (o *observation) accepted(identity string) (string, bool) {
	for n := range o.answers[identity] {
		if a := &o.answers[identity][n]; a.authenticated() {
			return fmt.Sprintf("%s: %s: %d", identity, &rows[n], a.Status), true
		}
	}
	return "", false
}

// refused says whether all that somebody asked was answered with 401, as far as it was asked who it is.
func (o *observation) refused(identity string) bool {
	n := 0
	for _, a := range o.answers[identity] {
		if a.authenticated() {
			return false
		}
		if a.Access == Unauthenticated {
			n++
		}
	}
	return n > 0
}

// isKubelet says whether any answer is in the words of a kubelet.
func (o *observation) isKubelet() bool {
	_, _, a := o.find(func(_ *row, a *Response) bool { return a.kubelet })
	return a != nil
}

// settings tells what can be told. Where the kubelet's own /configz could be read, it fills in the rest.
func (o *observation) settings() []Setting {
	all := []Setting{
		o.anonymous(), o.webhook(), o.clientCA(), o.mode(), o.readOnlySetting(), o.bootstrap(), o.minVersion(),
		o.debugging(), o.handler(systemLogHandler, "/logs/", "logs"), o.handler(profilingHandler, "/debug/pprof/", "profiling"),
		o.handler(debugFlagsHandler, "/debug/flags/v", "flags"), o.fineGrained(),
	}
	if !o.isKubelet() && !o.tls.pending() {
		for i := range all {
			all[i].Value, all[i].Evidence = unknown, "no answer is in the words of a kubelet"
		}
		return all
	}
	if told, reader := o.configz(); told != nil {
		own := valuesOf(told)
		for i := range all {
			all[i].compareWith(own[all[i].Name], reader)
		}
	}
	return all
}

// compareWith holds what was inferred against what /configz says; own is empty where it says nothing.
func (s *Setting) compareWith(own, reader string) {
	switch {
	case own == "":
	case s.Value == unknown:
		s.Value, s.Evidence = own, "its own /configz, read by "+reader
	case s.Name == readOnlyPort && strings.HasPrefix(s.Value, "not ") && s.Value != "not "+own:
		s.Value = own
		s.Evidence += "; its own /configz says " + own
	case s.Value == own:
		s.Evidence += "; its own /configz says the same"
	default:
		s.Evidence += "; its own /configz says " + own + ", which cannot be: something stands between, or another kubelet wrote it"
	}
}

// anonymous: who has no credential is somebody where it is on, and 401 where it is off, whatever else is set.
func (o *observation) anonymous() Setting {
	if how, yes := o.accepted(NoCredential); yes {
		return Setting{anonymousEnabled, isTrue, how}
	}
	if o.refused(NoCredential) {
		return Setting{anonymousEnabled, isFalse, NoCredential + ": 401"}
	}
	return Setting{anonymousEnabled, unknown, "nobody got an answer"}
}

// webhook: a bad token is an error, and so 401, where tokens are looked at. Where they are not it is as if it was not
// there, which shows only where anonymous is on. Where that is off, only a good token tells.
func (o *observation) webhook() Setting {
	_, anonymous := o.accepted(NoCredential)
	how, nonsense := o.accepted(InvalidToken)
	switch {
	case nonsense && anonymous:
		return Setting{webhookEnabled, isFalse, how + ", as if there was no token"}
	case nonsense:
		return Setting{webhookEnabled, unknown, how + ", where nobody gets 401: a kubelet does not answer so"}
	case anonymous && o.refused(InvalidToken):
		return Setting{webhookEnabled, isTrue, InvalidToken + ": 401, where nobody is let in as anonymous"}
	}
	for i := range o.identities {
		identity := &o.identities[i]
		if !identity.secret() || identity.Certificate != nil && o.tls.ClientCertificateRequested {
			continue
		}
		if how, yes := o.accepted(identity.Name); yes && !anonymous {
			return Setting{webhookEnabled, isTrue, how + ", by its token alone"}
		}
	}
	return Setting{webhookEnabled, unknown, "a made-up token is 401 either way where anonymous is off; a good token that is let in would show that it is true"}
}

// clientCA: a kubelet requests client certificates if, and only if, it has a CA to judge them by.
func (o *observation) clientCA() Setting {
	switch {
	case len(o.tls.chain) == 0:
		return Setting{clientCAFile, unknown, "there was no handshake"}
	case o.tls.ClientCertificateRequested:
		return Setting{clientCAFile, set, "a client certificate is requested, of " + list(o.tls.ClientCAs, "no CA that is named")}
	}
	return Setting{clientCAFile, notSet, "no client certificate is requested"}
}

// mode: a refusal, and a review that fails, come of Webhook alone. That all is allowed comes of either.
func (o *observation) mode() Setting {
	who, r, a := o.find(func(_ *row, a *Response) bool {
		return a.kubelet && (a.Access == Forbidden || a.Access == AuthorizationError)
	})
	if a != nil {
		return Setting{authorizationMode, "Webhook", fmt.Sprintf("%s: %s: %d", who, r, a.Status)}
	}
	if who, _, a = o.find(func(_ *row, a *Response) bool { return a.admitted() }); a != nil {
		return Setting{authorizationMode, unknown, "all that " + who + " asked was allowed: it is AlwaysAllow, or RBAC gives that user everything"}
	}
	return Setting{authorizationMode, unknown, "nobody came as far as authorization; a credential that the kubelet accepts would tell"}
}

func (o *observation) readOnlySetting() Setting {
	port := strconv.Itoa(o.readOnly.Port)
	switch o.readOnly.State {
	case Open:
		return Setting{readOnlyPort, port, "it answers without asking who the client is"}
	case Closed:
		return Setting{readOnlyPort, "not " + port, "connections to " + port + " are refused; other ports were not looked at"}
	case NotKubelet:
		return Setting{readOnlyPort, "not " + port, "what answers on " + port + " is no kubelet"}
	case NotProbed:
		return Setting{readOnlyPort, unknown, "not looked at"}
	}
	return Setting{readOnlyPort, unknown, "nothing answers on " + port}
}

// bootstrap: the certificate that a kubelet makes for itself it makes where it is false.
func (o *observation) bootstrap() Setting {
	switch {
	case o.tls.pending():
		return Setting{serverBootstrap, unknown, "there is no serving certificate: it is true and none has been issued yet, or tlsCertFile is without its tlsPrivateKeyFile"}
	case o.chain == nil:
		return Setting{serverBootstrap, unknown, "there was no handshake"}
	case o.chain.Kind == KubeletSelfSigned:
		return Setting{serverBootstrap, isFalse, "the serving certificate is the kubelet's own"}
	case o.chain.Kind == OfNode:
		return Setting{serverBootstrap, unknown, "the serving certificate is a node's, as the cluster issues it where it is true; tlsCertFile may name such a one too"}
	}
	return Setting{serverBootstrap, unknown, "the serving certificate does not say where it comes from"}
}

// minVersion is the lowest that is accepted, where those below it were refused.
func (o *observation) minVersion() Setting {
	for _, v := range o.tls.Versions {
		if v.Accepted {
			return Setting{tlsMinVersion, v.Name, "the lowest version that is accepted"}
		}
		if !v.refused {
			return Setting{tlsMinVersion, unknown, v.Name + " was not refused, and not accepted: " + v.Error}
		}
	}
	return Setting{tlsMinVersion, unknown, "there was no handshake"}
}

// debugging: /configz is there where it is on, and gone where it is off, which is seen before anybody is asked who they
// are.
func (o *observation) debugging() Setting {
	who, r, a := o.find(func(_ *row, a *Response) bool { return a.handler == "Debug" })
	if a != nil {
		return Setting{debuggingHandlers, isFalse, fmt.Sprintf("%s: %s: %q", who, r, "Debug endpoints are disabled.")}
	}
	switch a := o.of(NoCredential, rowOf("/configz")); {
	case a.Access == NotServed && a.Status == 404:
		return Setting{debuggingHandlers, isFalse, "/configz is not served: 404"}
	case a.authenticated() || a.Access == Unauthenticated:
		return Setting{debuggingHandlers, isTrue, fmt.Sprintf("/configz is served: %s: %d", NoCredential, a.Status)}
	}
	return Setting{debuggingHandlers, unknown, "/configz was not answered"}
}

// handler is one of those that the debugging handlers have a switch for.
func (o *observation) handler(name, path, word string) Setting {
	who, r, a := o.find(func(r *row, a *Response) bool {
		return r.String() == rowOf(path) && (a.Access == Admitted && a.Status < 500 || a.handler == word)
	})
	switch {
	case a == nil && o.debugging().Value == isFalse:
		return Setting{name, unknown, "enableDebuggingHandlers is false, and it means nothing"}
	case a == nil:
		return Setting{name, unknown, "nobody may " + path + "; somebody who may would tell"}
	case a.Access == Disabled:
		return Setting{name, isFalse, fmt.Sprintf("%s: %s: %q", who, r, word+" endpoint is disabled.")}
	}
	return Setting{name, isTrue, fmt.Sprintf("%s: %s: %d", who, r, a.Status)}
}

var gateMetric = regexp.MustCompile(`(?m)^kubernetes_feature_enabled\{name="KubeletFineGrainedAuthz"[^}]*\} (\d)`)

// fineGrained: a refusal names what was asked about, and somebody who may get pods but not proxy shows it too.
func (o *observation) fineGrained() Setting {
	who, r, a := o.find(func(r *row, a *Response) bool { return r.path == "/pods" && len(a.subresources) > 0 })
	if a != nil {
		value := strconv.FormatBool(slices.Contains(a.subresources, "pods"))
		return Setting{fineGrained, value, fmt.Sprintf("%s: %s: 403, of subresource %s", who, r, strings.Join(a.subresources, ", "))}
	}
	for _, i := range o.identities {
		pods, exec := o.of(i.Name, rowOf("/pods")), o.of(i.Name, rowOf("/exec"+nowhere))
		if pods.admitted() && exec.Access == Forbidden {
			return Setting{fineGrained, isTrue, i.Name + " may get nodes/pods, and not nodes/proxy"}
		}
	}
	if _, _, a := o.find(func(r *row, a *Response) bool { return r.path == "/metrics" && gateMetric.Match(a.body) }); a != nil {
		return Setting{fineGrained, strconv.FormatBool(string(gateMetric.FindSubmatch(a.body)[1]) == "1"), "kubernetes_feature_enabled of its own /metrics"}
	}
	return Setting{fineGrained, unknown, "a refusal of /pods would name what was asked about"}
}

// configz is the kubelet's configuration in its own words, if somebody could read it, and who.
func (o *observation) configz() (*kubeletconfigv1beta1.KubeletConfiguration, string) {
	who, _, a := o.find(func(r *row, a *Response) bool { return r.path == "/configz" && a.body != nil })
	if a == nil {
		return nil, ""
	}
	var told struct {
		KubeletConfig *kubeletconfigv1beta1.KubeletConfiguration `json:"kubeletconfig"`
	}
	if err := json.Unmarshal(a.body, &told); err != nil {
		return nil, ""
	}
	return told.KubeletConfig, who
}

// valuesOf are the settings of a configuration; those that it does not have are missing.
func valuesOf(c *kubeletconfigv1beta1.KubeletConfiguration) map[string]string {
	values := map[string]string{
		clientCAFile: notSet, authorizationMode: string(c.Authorization.Mode),
		readOnlyPort: strconv.Itoa(int(c.ReadOnlyPort)), serverBootstrap: strconv.FormatBool(c.ServerTLSBootstrap), tlsMinVersion: c.TLSMinVersion,
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

// version is that of the kubelet, where somebody may read /metrics.
func (o *observation) version() string {
	metrics := func(r *row, a *Response) bool { return r.path == "/metrics" && a.body != nil }
	if _, _, a := o.find(metrics); a != nil {
		if m := versionMetric.FindSubmatch(a.body); m != nil {
			return string(m[1])
		}
	}
	return ""
}

// list joins names for reading.
func list(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, "; ")
}
