package probe

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Setting is a field of the KubeletConfiguration whose value is inferred from outside.
type Setting struct {
	// Name is the path of the field.
	Name string `json:"name"`
	// Value is the inferred value, or "unknown" if another value would lead to the same responses.
	Value string `json:"value"`
	// Evidence is the observation from which the value was inferred. If the value is unknown, Evidence is the reason.
	Evidence string `json:"evidence"`
}

const (
	unknown = "unknown"
	isTrue  = "true"
	isFalse = "false"
	set     = "set"
	notSet  = "not set"
)

// The names of settings that are used in more than one place.
const (
	anonymousEnabled   = "authentication.anonymous.enabled"
	serverTLSBootstrap = "serverTLSBootstrap"
	tlsMinVersion      = "tlsMinVersion"
	webhookEnabled     = "authentication.webhook.enabled"
	debuggingHandlers  = "enableDebuggingHandlers"
	clientCAFile       = "authentication.x509.clientCAFile"
	authorizationMode  = "authorization.mode"
	readOnlyPort       = "readOnlyPort"
	fineGrained        = "featureGates.KubeletFineGrainedAuthz"
)

// fields has the settings in the order of the report. The field "absent" is the value of the setting if a
// configuration does not contain it; "" means that this value is unknown.
var fields = []struct {
	name, absent string
	infer        func(*observation) (value, evidence string)
}{
	{anonymousEnabled, "", (*observation).anonymous},
	{webhookEnabled, "", (*observation).webhook},
	{clientCAFile, notSet, (*observation).clientCA},
	{authorizationMode, "", (*observation).mode},
	{readOnlyPort, "0", (*observation).readOnlySetting},
	{serverTLSBootstrap, isFalse, (*observation).bootstrap},
	{tlsMinVersion, "VersionTLS12", (*observation).minVersion},
	{debuggingHandlers, "", (*observation).debugging},
	{"enableSystemLogHandler", "", handler("/logs/", "logs")},
	{"enableProfilingHandler", "", handler("/debug/pprof/", "profiling")},
	{"enableDebugFlagsHandler", "", handler("/debug/flags/v", "flags")},
	{fineGrained, "", (*observation).fineGrained},
}

// hiddenSettings are the settings that the responses to kube-apiserver do not show. They may be in /configz.
var hiddenSettings = []string{anonymousEnabled, webhookEnabled, clientCAFile, serverTLSBootstrap, tlsMinVersion}

// anonymousUser is the user of a request without a credential, if anonymous authentication is enabled.
const anonymousUser = "system:anonymous"

// settings infers all settings. If an identity may read /configz, settings that cannot be inferred come from /configz.
func (o *observation) settings() []Setting {
	var all []Setting
	reported, reader := o.configz()
	for _, f := range fields {
		s := Setting{Name: f.name, Value: unknown, Evidence: "no response is typical of a kubelet"}
		if o.isKubelet() || o.tls.pending() {
			s.Value, s.Evidence = f.infer(o)
			if s.Value == unknown && o.throughAPIServer && slices.Contains(hiddenSettings, f.name) {
				s.Evidence = "a probe through kube-apiserver cannot see it"
			}
			s.compareWith(reported[f.name], reader)
		}
		all = append(all, s)
	}
	return all
}

// values returns a map from the name of each setting to its value.
func (o *observation) values() map[string]string {
	values := map[string]string{}
	for _, s := range o.settings() {
		values[s.Name] = s.Value
	}
	return values
}

// compareWith compares the inferred value with the value in /configz, and replaces an unknown value. The parameter
// configz is "" if /configz does not have the setting. The parameter reader is the identity that read /configz.
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

// configz returns the settings in the kubelet's /configz, and the name of the identity that read /configz. It returns
// nil if no identity could read /configz.
func (o *observation) configz() (values map[string]string, reader string) {
	configuration, reader := o.configuration()
	if configuration == nil {
		return nil, ""
	}
	return valuesOf(configuration), reader
}

// configuration returns the KubeletConfiguration in /configz, and the identity that read it, or nil.
func (o *observation) configuration() (configuration map[string]any, reader string) {
	a := o.find(func(a *Response) bool { return a.row.path == "/configz" && a.body != nil })
	if a == nil {
		return nil, ""
	}
	var configz struct {
		KubeletConfig map[string]any `json:"kubeletconfig"`
	}
	if json.Unmarshal(a.body, &configz) != nil || configz.KubeletConfig == nil {
		return nil, ""
	}
	return configz.KubeletConfig, a.identity
}

// valuesOf returns a map from the name of each setting to its value in a KubeletConfiguration that was decoded from
// JSON.
func valuesOf(configuration map[string]any) map[string]string {
	values := map[string]string{}
	for _, f := range fields {
		value, _, _ := unstructured.NestedFieldNoCopy(configuration, strings.Split(f.name, ".")...)
		switch {
		case value == nil || value == "":
			values[f.name] = f.absent
		case f.name == clientCAFile:
			values[f.name] = set // the name of the file says nothing about the node's behaviour
		default:
			values[f.name] = fmt.Sprint(value)
		}
	}
	return values
}

// anonymous infers whether anonymous authentication is enabled. Without it, requests without a credential get a 401.
func (o *observation) anonymous() (value, evidence string) {
	if a := o.accepted(NoCredential); a != nil {
		return isTrue, a.String()
	}
	if o.refused(NoCredential) {
		return isFalse, NoCredential + ": 401"
	}
	if a := o.find(func(a *Response) bool { return o.throughAPIServer && a.user == anonymousUser }); a != nil {
		return isTrue, a.String() + ", for kube-apiserver as " + anonymousUser
	}
	return unknown, "no response to a request without a credential"
}

// webhook infers whether the token webhook is enabled. With the webhook, a request with an invalid token gets a 401.
// Without the webhook, a request with a token is anonymous. If anonymous authentication is disabled, an anonymous
// request also gets a 401, and only a valid token shows the difference.
func (o *observation) webhook() (value, evidence string) {
	anonymous, invalid := o.accepted(NoCredential), o.accepted(InvalidToken)
	switch {
	case invalid != nil && anonymous != nil:
		return isFalse, invalid.String() + ", like a request without a token"
	case invalid != nil:
		return unknown, invalid.String() + ", but requests without a credential get 401: no kubelet does that"
	case anonymous != nil && o.refused(InvalidToken):
		return isTrue, InvalidToken + ": 401, but requests without a credential are anonymous"
	case anonymous == nil:
		for i := range o.identities {
			identity := &o.identities[i]
			a := o.accepted(identity.Name)
			if a != nil && identity.secret() && (identity.Certificate == nil || !o.tls.ClientCertificateRequested) {
				return isTrue, a.String() + ", with only a token"
			}
		}
	}
	return unknown, "without anonymous authentication an invalid token gets 401 in any case; probe with a valid " +
		"token to find out"
}

// clientCA infers whether the kubelet has a client CA. A kubelet requests client certificates only if it has one.
func (o *observation) clientCA() (value, evidence string) {
	switch {
	case len(o.tls.chain) == 0:
		return unknown, "no handshake succeeded"
	case o.tls.ClientCertificateRequested:
		return set, "a client certificate is requested; listed CAs: " + list(o.tls.ClientCAs, "none")
	}
	return notSet, "no client certificate is requested"
}

// mode infers the authorization mode. A denied request or an authorization error shows that the mode is Webhook. If
// every request is allowed, the mode can be Webhook or AlwaysAllow.
func (o *observation) mode() (value, evidence string) {
	a := o.find(func(a *Response) bool { return a.kubelet && a.authenticated() && !a.admitted() })
	if a != nil {
		return "Webhook", a.String()
	}
	if a = o.find((*Response).admitted); a != nil {
		return unknown, "every request of " + a.identity +
			" was allowed: the mode is AlwaysAllow, or RBAC allows that user everything"
	}
	return unknown, "no request reached authorization; probe with a valid credential to find out"
}

func (o *observation) readOnlySetting() (value, evidence string) {
	port := strconv.Itoa(o.readOnly.Port)
	switch o.readOnly.State {
	case Open:
		return port, "it responds without authentication"
	case Closed:
		return "not " + port, "connections to " + port + " are refused; other ports were not probed"
	case NotKubelet:
		return "not " + port, "the server on port " + port + " is not a kubelet"
	case NotProbed:
		return unknown, "not probed"
	}
	return unknown, "no response on port " + port
}

// bootstrap infers serverTLSBootstrap. If it is true, a kubelet does not generate a self-signed certificate.
func (o *observation) bootstrap() (value, evidence string) {
	switch {
	case o.tls.pending():
		return unknown, "there is no serving certificate: it is true and no certificate was issued yet, or " +
			"tlsCertFile is set without tlsPrivateKeyFile"
	case o.certificate == nil:
		return unknown, "no handshake succeeded"
	case o.certificate.Kind == KubeletSelfSigned:
		return isFalse, "the serving certificate is self-signed by the kubelet"
	case o.certificate.Kind == IssuedForNode:
		return unknown, "the serving certificate has the subject that the cluster's signer requires; it may also " +
			"come from tlsCertFile"
	}
	return unknown, "the origin of the serving certificate is unknown"
}

// minVersion infers tlsMinVersion: the lowest TLS version that was accepted, if all lower versions were refused.
func (o *observation) minVersion() (value, evidence string) {
	for _, v := range o.tls.Versions {
		if v.Accepted {
			return v.Name, "the lowest accepted version"
		}
		if !v.refused {
			return unknown, v.Name + " was neither accepted nor refused: " + v.Error
		}
	}
	return unknown, "no handshake succeeded"
}

// debugging infers whether the debugging handlers are enabled. If they are disabled, even a request without a
// credential gets a 404 for /configz, not a 401.
func (o *observation) debugging() (value, evidence string) {
	if a := o.find(func(a *Response) bool { return a.handler == "Debug" }); a != nil {
		return isFalse, fmt.Sprintf("%s: %s: %q", a.identity, a.row, "Debug endpoints are disabled.")
	}
	switch a := o.response(o.identities[0].Name, "GET /configz"); { // NoCredential or APIServer
	case a.Access == NotServed && a.Status == 404:
		return isFalse, "/configz is not served: 404"
	case a.authenticated() || a.Access == Unauthenticated:
		return isTrue, fmt.Sprintf("/configz is served: %s: %d", a.identity, a.Status)
	}
	return unknown, "no response to /configz"
}

// handler returns a function that infers whether one debugging handler is enabled. If it is disabled, the kubelet's
// error message begins with the value of the parameter "word", for example "logs".
func handler(path, word string) func(*observation) (value, evidence string) {
	return func(o *observation) (value, evidence string) {
		a := o.find(func(a *Response) bool {
			return a.row.String() == "GET "+path && (a.Access == Admitted && a.Status < 500 || a.handler == word)
		})
		if a == nil {
			if on, _ := o.debugging(); on == isFalse {
				return unknown, "it has no effect without enableDebuggingHandlers"
			}
			return unknown, "no identity may get " + path + "; probe with one that may to find out"
		}
		if a.Access == Disabled {
			return isFalse, fmt.Sprintf("%s: %s: %q", a.identity, a.row, word+" endpoint is disabled.")
		}
		return isTrue, a.String()
	}
}

var gateMetric = regexp.MustCompile(`(?m)^kubernetes_feature_enabled\{name="KubeletFineGrainedAuthz"[^}]*\} (\d)`)

// fineGrained infers the feature gate KubeletFineGrainedAuthz: from the subresources that a 403 lists, from the
// responses to an identity that may get nodes/pods but not nodes/proxy, or from a metric.
func (o *observation) fineGrained() (value, evidence string) {
	a := o.find(func(a *Response) bool { return a.row.path == "/pods" && len(a.subresources) > 0 })
	if a != nil {
		return strconv.FormatBool(slices.Contains(a.subresources, "pods")),
			fmt.Sprintf("%s: %s: 403 for the subresources %s", a.identity, a.row, strings.Join(a.subresources, ", "))
	}
	for _, i := range o.identities {
		pods, exec := o.response(i.Name, "GET /pods"), o.response(i.Name, "GET /exec"+impossiblePod)
		if pods.admitted() && exec.Access == Forbidden {
			return isTrue, i.Name + " may get nodes/pods, but not nodes/proxy"
		}
	}
	if on := o.metric(gateMetric); on != "" {
		return strconv.FormatBool(on == "1"), "kubernetes_feature_enabled in the kubelet's /metrics"
	}
	return unknown, "no 403 for /pods, which would list the checked subresources"
}

var versionMetric = regexp.MustCompile(`(?m)^kubernetes_build_info\{[^}]*git_version="(v[0-9][^"]*)"`)

// metric searches the kubelet's /metrics for the pattern, and returns the text that the pattern's first group matches.
// It returns "" if nothing matches.
func (o *observation) metric(pattern *regexp.Regexp) string {
	a := o.find(func(a *Response) bool { return a.row.path == "/metrics" && pattern.Match(a.body) })
	if a == nil {
		return ""
	}
	return string(pattern.FindSubmatch(a.body)[1])
}
