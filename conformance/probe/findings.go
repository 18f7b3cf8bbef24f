package probe

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Severity rates a finding.
type Severity string

const (
	Critical Severity = "critical" // any client that reaches the port can take over the node's containers
	High     Severity = "high"     // secrets are readable, or a protection is missing
	Medium   Severity = "medium"   // becomes High with one more mistake, or with an attacker on the network
	Note     Severity = "note"     // not dangerous
)

// severities lists all severities in the order of the report.
var severities = []Severity{Critical, High, Medium, Note}

// Finding is something that the operator of the kubelet should know or change.
type Finding struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	What     string   `json:"what"`
	Evidence string   `json:"evidence"`
	// Risk is what an attacker could do. Empty for a Note.
	Risk string `json:"risk,omitempty"`
	// Configuration is a part of a KubeletConfiguration. Adding it to the kubelet's configuration fixes the problem.
	// Remedy describes other steps that fix the problem.
	Configuration string `json:"configuration,omitempty"`
	Remedy        string `json:"remedy,omitempty"`
	// CIS is the recommendation of the CIS Kubernetes Benchmark, for example 4.2.1. CVE is a known vulnerability.
	CIS string `json:"cis,omitempty"`
	CVE string `json:"cve,omitempty"`
}

// numbers returns the finding's numbers in public lists, each after a comma.
func (f *Finding) numbers() string {
	text := ""
	if f.CIS != "" {
		text = ", CIS " + f.CIS
	}
	if f.CVE != "" {
		text += ", " + f.CVE
	}
	return text
}

const (
	anonymousOff = "authentication:\n  anonymous:\n    enabled: false\n"
	webhookOn    = "authentication:\n  webhook:\n    enabled: true\n"
	webhookMode  = "authorization:\n  mode: Webhook\n"
	bootstrapOn  = "serverTLSBootstrap: true\n"

	unbind = "Remove the bindings of anonymous users: " +
		"kubectl get clusterrolebindings -o wide | grep -E 'system:(anonymous|unauthenticated)'"
	approve  = "Approve the kubelet's requests: kubectl get csr; kubectl certificate approve NAME"
	giveCA   = approve + ". Then give kube-apiserver --kubelet-certificate-authority."
	delegate = "(system:auth-delegator, or a node's credential)"
)

// A certificate is reported if its remaining lifetime is shorter than expiresSoon.
const expiresSoon = 7 * 24 * time.Hour

func (o *observation) findings(now time.Time) []Finding {
	all, values := []Finding{}, o.values()
	if o.isKubelet() {
		all = append(append(all, o.judgeAnonymous(values)...), o.judgeCredentials(values)...)
	}
	all = append(append(all, o.judgeAuthorization(values)...), o.judgeReadOnly(values)...)
	all = append(append(all, o.judgeVersions(values)...), o.judgeCertificate(now)...)
	if o.throughAPIServer {
		all = append(all, o.judgeAPIServer()...)
	}
	for i := range all {
		all[i].CIS = cisNumber(all[i].ID, parseVersion(o.version()))
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity))
	})
	return all
}

func runsCommand(r *row) bool { return strings.HasPrefix(r.path, "/exec/") }

func readsData(r *row) bool {
	return r.method == "GET" && r.path != "/healthz" && !runsCommand(r) && !isCheckpoint(r)
}

func isCheckpoint(r *row) bool { return strings.HasPrefix(r.path, "/checkpoint/") }

// admitted returns the requests of an identity that the kubelet admitted, if the function "kind" returns true for them.
func (o *observation) admitted(identity string, kind func(*row) bool) []string {
	var all []string
	for _, a := range o.responses[identity] {
		if kind(a.row) && a.Access == Admitted {
			all = append(all, a.row.String())
		}
	}
	return all
}

// judgeAnonymous judges requests without a credential by the responses to them or, if kube-apiserver sent the requests,
// by the settings: with AlwaysAllow, every request is allowed.
func (o *observation) judgeAnonymous(values map[string]string) []Finding {
	accepted := o.accepted(NoCredential)
	run, read := o.admitted(NoCredential, runsCommand), o.admitted(NoCredential, readsData)
	runs, reads, may := len(run) > 0, len(read) > 0, ", which may do little."
	evidence := "without a credential: " + strings.Join(read, ", ") + " were admitted"
	switch {
	case o.throughAPIServer && values[anonymousEnabled] == isTrue:
		reads, may = values[authorizationMode] == "AlwaysAllow", ". The probe did not find out what this user may do."
		runs = reads && values[debuggingHandlers] == isTrue
		evidence = anonymousEnabled + " is true, and " + authorizationMode + " is " + values[authorizationMode]
	case accepted == nil:
		return nil
	case runs:
		evidence = "without a credential: " + strings.Join(run, ", ") + " were admitted"
	case !reads:
		evidence = accepted.String()
	}
	switch {
	case runs:
		return []Finding{{ID: "anonymous-runs", Severity: Critical,
			What:     "Requests without a credential may run commands in every container of the node.",
			Evidence: evidence,
			Risk: "Anyone who reaches the port becomes root in containers that run as root, and gets mounted " +
				"secrets, service account tokens, and with a privileged container the node.",
			Configuration: anonymousOff + webhookMode, Remedy: unbind}}
	case reads:
		return []Finding{{ID: "anonymous-reads", Severity: High,
			What:     "Requests without a credential may read from the node.",
			Evidence: evidence,
			Risk: "Anyone who reaches the port can read these paths: /pods has the environment of all containers, " +
				"logs have what they write, /configz and /metrics help to plan an attack.",
			Configuration: anonymousOff, Remedy: unbind}}
	}
	return []Finding{{ID: "anonymous-enabled", Severity: Medium,
		What:     "Requests without a credential are authenticated as system:anonymous" + may,
		Evidence: evidence,
		Risk: "A single binding to system:anonymous or system:unauthenticated, made for another purpose, would open " +
			"the node.",
		Configuration: anonymousOff}}
}

func (o *observation) judgeCredentials(values map[string]string) []Finding {
	var all []Finding
	if a := o.accepted(UnknownCA); a != nil && o.tls.ClientCertificateRequested {
		all = append(all, Finding{ID: "unknown-ca-accepted", Severity: Critical, Evidence: a.String(),
			What:   "A client certificate of a CA that the probe generated is accepted.",
			Risk:   "Anyone can act as any user, for example with a certificate for system:masters.",
			Remedy: "No kubelet does this. Find out which program listens on this port."})
	}
	if values[webhookEnabled] == isFalse {
		f := Finding{ID: "tokens-ignored", Severity: Note, Evidence: webhookEnabled + " is false",
			What: "Tokens are ignored: scrapers that send one get 401.", Configuration: webhookOn,
			Remedy: "The kubelet's user must be allowed to create tokenreviews " + delegate + "."}
		a := o.accepted(InvalidToken)
		configured := o.throughAPIServer && values[anonymousEnabled] == isTrue
		if a != nil || configured {
			f.ID, f.Severity, f.Evidence = "invalid-token-accepted", Medium, f.Evidence+", and "+anonymousEnabled+" true"
			if a != nil {
				f.Evidence = a.String()
			}
			f.What = "Tokens are ignored: a request with an invalid token is authenticated as system:anonymous."
			f.Risk = "An expired or revoked token still has the rights of anonymous, and no log shows that it is " +
				"invalid."
			if len(o.admitted(InvalidToken, readsData)) > 0 || configured && values[authorizationMode] == "AlwaysAllow" {
				f.Severity = High
			}
		}
		all = append(all, f)
	}
	if values[clientCAFile] == notSet {
		evidence := "the handshake had no CertificateRequest"
		if o.throughAPIServer {
			evidence = clientCAFile + " is not set in /configz"
		}
		all = append(all, Finding{ID: "no-client-ca", Severity: Note, Evidence: evidence,
			What:          "The kubelet requests no client certificate, so it cannot authenticate kube-apiserver.",
			Configuration: "authentication:\n  x509:\n    clientCAFile: /etc/kubernetes/pki/ca.crt\n",
			Remedy:        "Use the CA that signs kube-apiserver's --kubelet-client-certificate."})
	}
	return all
}

func (o *observation) judgeAuthorization(values map[string]string) []Finding {
	var all []Finding
	if values[authorizationMode] == "AlwaysAllow" {
		all = append(all, Finding{ID: "always-allow", Severity: High,
			What:     "Every authenticated user may do everything: there are no authorization checks.",
			Evidence: "authorization.mode is AlwaysAllow",
			Risk: "Any certificate of the client CA, and the token of any workload, runs commands in all containers " +
				"of the node.",
			Configuration: webhookMode,
			Remedy: "Bind the users that need access: kubectl create clusterrolebinding kubelet-client " +
				"--clusterrole=system:kubelet-api-admin --user=kube-apiserver-kubelet-client"})
	}
	for _, i := range o.identities {
		get, post := o.response(i.Name, "GET /exec"+impossiblePod), o.response(i.Name, "POST /exec"+impossiblePod)
		if get.Access == Admitted && post.Access == Forbidden && i.Name != NoCredential {
			grant := "Grant the necessary ones of nodes/metrics, nodes/stats, nodes/log, nodes/pods, " +
				"nodes/healthz and nodes/configz instead of nodes/proxy."
			if values[fineGrained] == isFalse {
				grant = "Grant the necessary ones of nodes/metrics, nodes/stats and nodes/log instead of nodes/proxy. " +
					"For /pods, /healthz and /configz this kubelet requires nodes/proxy; from v1.33 on, nodes/pods, " +
					"nodes/healthz and nodes/configz are enough."
			}
			all = append(all, Finding{ID: "get-runs", Severity: Medium,
				Evidence: fmt.Sprintf("%s: GET /exec…: %d, POST /exec…: %d", i.Name, get.Status, post.Status),
				What: i.Name + " may get nodes/proxy but not create it. That is not read-only: exec over WebSocket " +
					"is a GET.",
				Risk:   "This credential, perhaps of a monitoring agent, runs commands in all containers of the node.",
				Remedy: grant})
		}
	}
	reaches := "Check that it reaches the kube-apiserver of its --kubeconfig and may create "
	if a := o.find(func(a *Response) bool { return a.Access == AuthorizationError }); a != nil {
		all = append(all, Finding{ID: "reviews-fail", Severity: Note, Evidence: a.String(),
			What:   "The kubelet cannot authorize requests: it answers 500.",
			Remedy: reaches + "subjectaccessreviews " + delegate + "."})
	}
	for _, i := range o.identities {
		if a := o.find(func(a *Response) bool { return a.identity == i.Name && a.slow }); a != nil {
			all = append(all, Finding{ID: "slow-refusal", Severity: Note,
				What:     "The kubelet takes long to refuse " + i.Name + ". Perhaps its TokenReviews fail.",
				Evidence: fmt.Sprintf("%s: 401 after %v", i.Name, a.took.Round(100*time.Millisecond)),
				Remedy:   reaches + "tokenreviews " + delegate + "."})
		}
	}
	return all
}

// judgeReadOnly judges the read-only port. If the probe did not reach the port, the kubelet's /configz decides.
func (o *observation) judgeReadOnly(values map[string]string) []Finding {
	port, v := values[readOnlyPort], parseVersion(o.version())
	f := Finding{ID: "read-only-port", Severity: High,
		Evidence: "without a credential: " + list(o.readOnly.served(), "a kubelet responds"),
		Risk: "Anyone who reaches the port reads the specifications of all pods, with the environment of their " +
			"containers. Anyone on the network path reads along.",
		Configuration: "readOnlyPort: 0\n",
		Remedy:        "Let scrapers use the secure port, with a token that may get nodes/metrics and nodes/stats."}
	checkpoint := Finding{ID: "checkpoint-unauthenticated", Severity: High, CVE: "CVE-2025-0426",
		Evidence:      fmt.Sprintf("the version is v%s, and the read-only port is enabled", v),
		Risk:          "Anyone who reaches the port can make checkpoints of containers until the node's disk is full.",
		Configuration: f.Configuration,
		Remedy:        "Or update the kubelet: v1.30.10, v1.31.6, v1.32.2 and later are not affected."}
	serves := servesCheckpoint(v)
	switch _, err := strconv.ParseUint(port, 10, 16); {
	case o.readOnly.State == Open:
		port = strconv.Itoa(o.readOnly.Port)
		a := o.readOnly.Responses["GET /checkpoint"+impossiblePod]
		serves, checkpoint.Evidence = a.Access == Admitted, fmt.Sprintf("without a credential: %s: %d", a.row, a.Status)
	case o.readOnly.State != Unresponsive && o.readOnly.State != NotProbed || err != nil || port == "0":
		return nil
	default:
		f.Evidence = "readOnlyPort is " + port + " in the kubelet's /configz"
	}
	f.What = "Port " + port + " serves every client without authentication and TLS."
	checkpoint.What = "Port " + port + " lets every client make checkpoints of containers (CVE-2025-0426)."
	if serves {
		return []Finding{f, checkpoint}
	}
	return []Finding{f}
}

// judgeVersions judges the TLS versions and cipher suites that the handshakes showed or, if kube-apiserver sent the
// requests, those in the kubelet's /configz.
func (o *observation) judgeVersions(values map[string]string) []Finding {
	var old, weak []string
	var all []Finding
	seen, where := o.tls.Versions, ""
	if o.throughAPIServer {
		configuration, _ := o.configuration()
		suites, _, _ := unstructured.NestedStringSlice(configuration, "tlsCipherSuites")
		seen, where = []Version{{Name: values[tlsMinVersion], Accepted: true, CipherSuites: suites}}, " in /configz"
	}
	for _, v := range seen {
		if v.Accepted && (v.Name == "VersionTLS10" || v.Name == "VersionTLS11") {
			old = append(old, v.Name)
		}
		for _, suite := range tls.InsecureCipherSuites() {
			if slices.Contains(v.CipherSuites, suite.Name) && !slices.Contains(weak, suite.Name) {
				weak = append(weak, suite.Name)
			}
		}
	}
	if len(old) > 0 {
		all = append(all, Finding{ID: "old-tls", Severity: Medium, Evidence: strings.Join(old, ", ") + where,
			What:          "Deprecated TLS versions are accepted (RFC 8996).",
			Risk:          "An attacker on the network path can attack connections of clients that still use them.",
			Configuration: "tlsMinVersion: VersionTLS12\n"})
	}
	if len(weak) > 0 {
		all = append(all, Finding{ID: "weak-ciphers", Severity: Medium, Evidence: strings.Join(weak, ", ") + where,
			What: "Cipher suites are accepted that Go lists as insecure.", Remedy: "Or remove tlsCipherSuites.",
			Risk: "An attacker on the network path can attack connections of clients that choose them.",
			Configuration: "tlsCipherSuites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, " +
				"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, " +
				"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n"})
	}
	return all
}

func (o *observation) judgeCertificate(now time.Time) []Finding {
	if o.tls.pending() {
		return []Finding{{ID: "no-serving-certificate", Severity: Note, Evidence: o.tls.Error,
			What: "The kubelet has no serving certificate: every handshake fails, and so do kubectl logs and exec.",
			Remedy: approve + ". Without serverTLSBootstrap, check that tlsCertFile and tlsPrivateKeyFile are both " +
				"set."}}
	}
	c := o.certificate
	if c == nil {
		return nil
	}
	const impostor = "An attacker on the network path can take the kubelet's place: they read logs and the input of " +
		"exec, and get the tokens of scrapers."
	const unusable = "Clients that verify it cannot connect. If verification is then disabled: " + impostor
	const renew = "Put a new pair into tlsCertFile and tlsPrivateKeyFile, or let the cluster issue one: " +
		"serverTLSBootstrap: true. " + approve
	var all []Finding
	add := func(f Finding) { all = append(all, f) }
	expiry := "it is valid from " + c.NotBefore.Format(time.RFC3339) + " to " + c.NotAfter.Format(time.RFC3339)
	switch {
	case now.After(c.NotAfter):
		add(Finding{ID: "certificate-expired", Severity: High, What: "The serving certificate has expired.",
			Evidence: expiry, Risk: unusable, Configuration: bootstrapOn, Remedy: renew})
	case now.Before(c.NotBefore):
		add(Finding{ID: "certificate-not-yet-valid", Severity: High, What: "The serving certificate is not valid yet.",
			Evidence: expiry, Risk: unusable, Remedy: "Compare the clocks. " + renew})
	case c.NotAfter.Sub(now) < expiresSoon:
		add(Finding{ID: "certificate-expires", Severity: Note, What: "The serving certificate expires soon.",
			Evidence: expiry, Remedy: renew})
	}
	switch {
	case c.Kind == KubeletSelfSigned:
		add(Finding{ID: "certificate-kubelet-self-signed", Severity: Medium,
			What:     "The kubelet generated its serving certificate itself: no client has a CA to verify it.",
			Evidence: "subject " + c.Subject + ", issuer " + c.Issuer,
			Risk:     impostor, Configuration: bootstrapOn, Remedy: giveCA})
	case len(all) > 0 && all[0].Severity != Note: // the dates in the certificate explain why it is not verified
	case c.Verified == "no" && !c.otherHost:
		add(Finding{ID: "certificate-unverified", Severity: High,
			What:     "The given CA does not verify the serving certificate.",
			Evidence: c.Error, Risk: impostor, Configuration: bootstrapOn, Remedy: renew})
	case c.Kind == SelfSigned:
		add(Finding{ID: "certificate-self-signed", Severity: Medium,
			What:     "The serving certificate is signed by its own key: no client has a CA to verify it.",
			Evidence: "subject " + c.Subject, Risk: impostor, Configuration: bootstrapOn, Remedy: giveCA})
	case !c.ForHost:
		f := Finding{ID: "certificate-other-host", Severity: Note,
			What:     "The serving certificate is not for the host that was probed.",
			Evidence: list(c.Names, "it has no host names"),
			Remedy: "Give --server-name with the name or address that clients use. If they use this host, they cannot " +
				"verify the certificate. " + renew}
		if c.otherHost {
			f.What = "The given CA verifies the serving certificate, but not for the host that was probed."
			f.Evidence = c.Error + "; names in the certificate: " + list(c.Names, "none")
		}
		if c.otherHost && !c.loopback { // clients on other machines may use this host, and no loopback address
			f.Severity, f.Risk = Medium, unusable
		}
		add(f)
	}
	if c.weakness != "" {
		add(Finding{ID: "certificate-weak", Severity: Medium,
			What: "The serving certificate is weak: " + c.weakness + ".", Evidence: c.Key + ", " + c.Signature,
			Risk:          "With enough computing power an attacker can forge it. " + impostor,
			Configuration: bootstrapOn, Remedy: renew})
	}
	return all
}
