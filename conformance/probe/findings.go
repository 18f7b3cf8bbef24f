package probe

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Severity is how bad a finding is.
type Severity string

const (
	Critical Severity = "critical" // who has no credential takes over the node's containers
	High     Severity = "high"     // secrets are read, or a protection is missing altogether
	Medium   Severity = "medium"   // one mistake, or somebody on the network, away from that
	Note     Severity = "note"     // not dangerous, and good to know
)

// severities are in the order of a report.
var severities = []Severity{Critical, High, Medium, Note}

// Finding is something that the operator of the kubelet may want to change.
type Finding struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	What     string   `json:"what"`
	Evidence string   `json:"evidence"`
	// Risk is what an attacker could do. Empty in a note.
	Risk string `json:"risk,omitempty"`
	// Configuration are the lines of the KubeletConfiguration that change it, and Remedy what there is to do besides.
	Configuration string `json:"configuration,omitempty"`
	Remedy        string `json:"remedy,omitempty"`
}

const (
	anonymousOff = "authentication:\n  anonymous:\n    enabled: false\n"
	webhookOn    = "authentication:\n  webhook:\n    enabled: true\n"
	webhookMode  = "authorization:\n  mode: Webhook\n"
	bootstrapOn  = "serverTLSBootstrap: true\n"

	unbind  = "Find what is bound to those without a credential: kubectl get clusterrolebindings -o wide | grep -E 'system:(anonymous|unauthenticated)'"
	approve = "Approve what the kubelet then asks for: kubectl get csr; kubectl certificate approve NAME"
)

// expiresSoon is when a certificate is worth a word.
const expiresSoon = 7 * 24 * time.Hour

// findings judges what was seen.
func (o *observation) findings(values map[string]string, now time.Time) []Finding {
	all := []Finding{}
	for _, judge := range []func(map[string]string) []Finding{o.judgeNobody, o.judgeCredentials, o.judgeAuthorization, o.judgeReadOnly, o.judgeVersions} {
		all = append(all, judge(values)...)
	}
	all = append(all, o.judgeCertificate(now)...)
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity))
	})
	return all
}

// runs and reads sort the requests by what they are good for.
func runs(r *row) bool { return strings.HasPrefix(r.path, "/exec/") }

func reads(r *row) bool { return r.method == "GET" && r.path != "/healthz" && !runs(r) }

// may lists what somebody was let do, and is there to be done.
func (o *observation) may(identity string, what func(*row) bool) []string {
	var all []string
	for n := range o.answers[identity] {
		if what(&rows[n]) && o.answers[identity][n].Access == Admitted {
			all = append(all, rows[n].String())
		}
	}
	return all
}

func (o *observation) judgeNobody(map[string]string) []Finding {
	how, yes := o.accepted(NoCredential)
	run, read := o.may(NoCredential, runs), o.may(NoCredential, reads)
	switch {
	case !o.isKubelet() || !yes:
		return nil
	case len(run) > 0:
		return []Finding{{
			ID: "anonymous-runs", Severity: Critical, What: "Whoever has no credential may run commands in every container of the node.",
			Evidence:      "without a credential: " + strings.Join(run, ", ") + " were admitted",
			Risk:          "Anybody who reaches the port becomes root in the containers that run as root, takes the service accounts' tokens and the secrets that are mounted, and with a privileged container the node.",
			Configuration: anonymousOff + webhookMode, Remedy: unbind,
		}}
	case len(read) > 0:
		return []Finding{{
			ID: "anonymous-reads", Severity: High, What: "Whoever has no credential may read from the node.",
			Evidence:      "without a credential: " + strings.Join(read, ", ") + " were admitted",
			Risk:          "Anybody who reaches the port reads what is listed: /pods has the environment of all containers, logs what they write, /configz and /metrics what to attack next.",
			Configuration: anonymousOff, Remedy: unbind,
		}}
	}
	return []Finding{{
		ID: "anonymous-enabled", Severity: Medium, What: "Whoever has no credential is let in as system:anonymous, who may do nothing of note.",
		Evidence:      how,
		Risk:          "One binding to system:anonymous or system:unauthenticated, made for anything else in the cluster, opens the node.",
		Configuration: anonymousOff,
	}}
}

func (o *observation) judgeCredentials(values map[string]string) []Finding {
	var all []Finding
	if !o.isKubelet() {
		return nil
	}
	if how, yes := o.accepted(UnknownCA); yes && o.tls.ClientCertificateRequested {
		all = append(all, Finding{
			ID: "stranger-accepted", Severity: Critical, What: "A certificate of a CA that was minted a moment ago is accepted.",
			Evidence: how, Risk: "Anybody can be anybody: a certificate for system:masters costs nothing.",
			Remedy: "A kubelet does not do this: find out what answers on this port.",
		})
	}
	if values[webhookEnabled] == isFalse {
		f := Finding{
			ID: "tokens-unread", Severity: Note, What: "Tokens are not looked at: scrapers that send one get 401.",
			Evidence: webhookEnabled + " is false", Configuration: webhookOn,
			Remedy: "The kubelet's user must be allowed to create tokenreviews: by system:auth-delegator, or with a node's credential.",
		}
		if how, yes := o.accepted(InvalidToken); yes {
			f.ID, f.Severity, f.Evidence = "bad-token-accepted", Medium, how
			f.What = "Tokens are not looked at: who sends a bad one is let in as system:anonymous."
			f.Risk = "A token that has expired or been revoked still gets what anonymous gets, and no log tells it from another."
			if len(o.may(InvalidToken, reads)) > 0 {
				f.Severity = High
			}
		}
		all = append(all, f)
	}
	if values[clientCAFile] == notSet {
		all = append(all, Finding{
			ID: "no-client-ca", Severity: Note, What: "No client certificate is requested, and so none counts: kube-apiserver's neither.",
			Evidence:      "there was no CertificateRequest in the handshake",
			Configuration: "authentication:\n  x509:\n    clientCAFile: /etc/kubernetes/pki/ca.crt\n", Remedy: "Give the file of the CA that signs kube-apiserver's --kubelet-client-certificate.",
		})
	}
	return all
}

func (o *observation) judgeAuthorization(values map[string]string) []Finding {
	var all []Finding
	if values[authorizationMode] == "AlwaysAllow" {
		all = append(all, Finding{
			ID: "always-allow", Severity: High, What: "Whoever is authenticated may do everything: nobody asks the apiserver what they may.",
			Evidence:      "authorization.mode is AlwaysAllow",
			Risk:          "Every certificate of the client CA and every token of the cluster, of the least of its workloads, runs commands in all containers of the node.",
			Configuration: webhookMode, Remedy: "Bind who needs it, as in: kubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user=kube-apiserver-kubelet-client",
		})
	}
	for _, i := range o.identities {
		get, post := o.of(i.Name, "GET /exec"+nowhere), o.of(i.Name, "POST /exec"+nowhere)
		if get.Access == Admitted && post.Access == Forbidden && i.Name != NoCredential {
			all = append(all, Finding{
				ID: "get-runs", Severity: Medium, What: i.Name + " may get nodes/proxy and not create it, which looks read-only and is not: an exec over WebSockets is a GET.",
				Evidence: fmt.Sprintf("%s: GET /exec…: %d, POST /exec…: %d", i.Name, get.Status, post.Status),
				Risk:     "Who has this credential, of a monitoring agent perhaps, runs commands in all containers of the node.",
				Remedy:   "Give it what it needs of nodes/metrics, nodes/stats, nodes/log, nodes/pods, nodes/healthz and nodes/configz in place of nodes/proxy.",
			})
		}
	}
	if who, r, a := o.find(func(_ *row, a *Response) bool { return a.Access == AuthorizationError }); a != nil {
		all = append(all, Finding{
			ID: "reviews-fail", Severity: Note, What: "The kubelet cannot find out what users may do: it answers 500.",
			Evidence: fmt.Sprintf("%s: %s: %d", who, r, a.Status),
			Remedy:   "Look whether it reaches the apiserver of its --kubeconfig, and may create subjectaccessreviews there (system:auth-delegator, or a node's credential).",
		})
	}
	for _, i := range o.identities {
		for _, a := range o.answers[i.Name] {
			if a.slow {
				all = append(all, Finding{
					ID: "slow-refusal", Severity: Note, What: "The kubelet takes long to refuse " + i.Name + ", as one does whose TokenReviews fail.",
					Evidence: fmt.Sprintf("%s: 401 after %v", i.Name, a.took.Round(100*time.Millisecond)),
					Remedy:   "Look whether it reaches the apiserver of its --kubeconfig, and may create tokenreviews there (system:auth-delegator, or a node's credential).",
				})
				break
			}
		}
	}
	return all
}

func (o *observation) judgeReadOnly(map[string]string) []Finding {
	if o.readOnly.State != Open {
		return nil
	}
	return []Finding{{
		ID: "read-only-port", Severity: High, What: fmt.Sprintf("Port %d answers everybody, in the clear.", o.readOnly.Port),
		Evidence:      "without a credential: " + list(o.readOnly.open(), "it answers as a kubelet"),
		Risk:          "Anybody who reaches the port reads the specification of all pods with the environment of their containers, and whoever is on the way reads along.",
		Configuration: "readOnlyPort: 0\n", Remedy: "Have scrapers use the secure port with a token that may get nodes/metrics and nodes/stats.",
	}}
}

func (o *observation) judgeVersions(map[string]string) []Finding {
	var old, weak []string
	insecure := map[string]bool{}
	for _, suite := range tls.InsecureCipherSuites() {
		insecure[suite.Name] = true
	}
	for _, v := range o.tls.Versions {
		if !v.Accepted {
			continue
		}
		if v.Name == "VersionTLS10" || v.Name == "VersionTLS11" {
			old = append(old, v.Name)
		}
		for _, suite := range v.CipherSuites {
			if insecure[suite] && !slices.Contains(weak, suite) {
				weak = append(weak, suite)
			}
		}
	}
	var all []Finding
	if len(old) > 0 {
		all = append(all, Finding{
			ID: "old-tls", Severity: Medium, What: "Versions of TLS are accepted that are not to be used any more (RFC 8996).",
			Evidence: strings.Join(old, ", "), Risk: "Whoever is on the way between can attack connections of clients that still speak them.",
			Configuration: "tlsMinVersion: VersionTLS12\n",
		})
	}
	if len(weak) > 0 {
		all = append(all, Finding{
			ID: "weak-ciphers", Severity: Medium, What: "Cipher suites are accepted that Go calls insecure.",
			Evidence: strings.Join(weak, ", "), Risk: "Whoever is on the way between can attack connections of clients that choose them.",
			Configuration: "tlsCipherSuites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n",
			Remedy:        "Or leave tlsCipherSuites out.",
		})
	}
	return all
}

func (o *observation) judgeCertificate(now time.Time) []Finding {
	if o.tls.pending() {
		return []Finding{{
			ID: "no-serving-certificate", Severity: Note, What: "The kubelet has no serving certificate: every handshake fails, and so do kubectl logs and exec.",
			Evidence: o.tls.Error, Remedy: approve + ". Without serverTLSBootstrap, look whether tlsCertFile and tlsPrivateKeyFile are both set.",
		}}
	}
	c := o.chain
	if c == nil {
		return nil
	}
	const between = "Whoever is on the way between can take its place: they read logs and what is typed into exec, and get the tokens that scrapers send."
	const renew = "Issue a new pair into tlsCertFile and tlsPrivateKeyFile, or have the cluster do it: serverTLSBootstrap: true. " + approve
	var all []Finding
	switch {
	case now.After(c.NotAfter):
		all = append(all, Finding{ID: "certificate-expired", Severity: High, What: "The serving certificate has expired.", Evidence: "it was valid until " + c.NotAfter.Format(time.RFC3339),
			Risk: "Clients that verify it cannot connect, and the usual way out is to have them verify nothing: then " + lower(between), Configuration: bootstrapOn, Remedy: renew})
	case now.Before(c.NotBefore):
		all = append(all, Finding{ID: "certificate-not-yet-valid", Severity: High, What: "The serving certificate is not valid yet.", Evidence: "it is valid from " + c.NotBefore.Format(time.RFC3339),
			Risk: "Clients that verify it cannot connect, and the usual way out is to have them verify nothing: then " + lower(between), Remedy: "Compare the clocks. " + renew})
	case c.NotAfter.Sub(now) < expiresSoon:
		all = append(all, Finding{ID: "certificate-expires", Severity: Note, What: "The serving certificate expires soon.", Evidence: "it is valid until " + c.NotAfter.Format(time.RFC3339), Remedy: renew})
	}
	switch {
	case c.Kind == KubeletSelfSigned:
		all = append(all, Finding{ID: "certificate-self-made", Severity: Medium, What: "The serving certificate is one that the kubelet has made for itself: no client has a CA to verify it by.",
			Evidence: "subject " + c.Subject + ", issuer " + c.Issuer, Risk: between, Configuration: bootstrapOn,
			Remedy: approve + ". Then give kube-apiserver --kubelet-certificate-authority."})
	case len(all) > 0 && all[0].Severity != Note: // which is why it is not verified, too
	case c.Verified == "no":
		all = append(all, Finding{ID: "certificate-unverified", Severity: High, What: "The serving certificate is not verified by the given CA.", Evidence: c.Error,
			Risk: between, Configuration: bootstrapOn, Remedy: renew})
	case c.Kind == SelfSigned:
		all = append(all, Finding{ID: "certificate-self-signed", Severity: Medium, What: "The serving certificate is signed by its own key: no client has a CA to verify it by.",
			Evidence: "subject " + c.Subject, Risk: between, Configuration: bootstrapOn, Remedy: approve + ". Then give kube-apiserver --kubelet-certificate-authority."})
	case !c.ForHost:
		all = append(all, Finding{ID: "certificate-other-host", Severity: Note, What: "The serving certificate is for other hosts than the one that was asked.",
			Evidence: list(c.Names, "it is for no host at all"), Remedy: "If this is no address that clients use, give --server-name. If it is, they cannot verify it: " + lower(renew)})
	}
	if c.weak != "" {
		all = append(all, Finding{ID: "certificate-weak", Severity: Medium, What: "The serving certificate is weak: " + c.weak + ".", Evidence: c.Key + ", " + c.Signature,
			Risk: "Whoever can spend enough on it makes one that is taken for it. " + between, Configuration: bootstrapOn, Remedy: renew})
	}
	return all
}

func lower(sentence string) string { return strings.ToLower(sentence[:1]) + sentence[1:] }
