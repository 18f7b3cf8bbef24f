package explain

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/authchain"
	"fauxlet/internal/shellword"
	"fauxlet/internal/tlserror"
)

// Remedy is one change by which a request that was refused would not be, in the forms that it has. Names in capitals are the
// reader's to fill in.
type Remedy struct {
	// What is the change in words, a sentence without a full stop.
	Summary string `json:"summary"`
	// Kubelet are lines of a KubeletConfiguration, Apiserver are flags of kube-apiserver, Kubectl are commands.
	Kubelet   string `json:"kubelet,omitempty"`
	Apiserver string `json:"apiserver,omitempty"`
	Kubectl   string `json:"kubectl,omitempty"`
	// Caution is what else the change does.
	Caution string `json:"caution,omitempty"`
}

// What several cures change.
const (
	servingFiles = "tlsCertFile: kubelet.crt\ntlsPrivateKeyFile: kubelet.key"
	clientFiles  = "--kubelet-client-certificate=kubelet-client.crt\n--kubelet-client-key=kubelet-client.key"
	clientCA     = "authentication: {x509: {clientCAFile: ca.crt}}"
)

// cures are those of a request that was refused, or broke.
func remedies(d *authchain.Report, known Facts) []Remedy {
	switch {
	case d.Handshake != "":
		return handshakeRemedies(d.Handshake)
	case d.User == nil:
		return identityRemedies(d, known)
	case len(d.Authorization) > 0 && d.Authorization[len(d.Authorization)-1].Result == authchain.CheckError:
		return brokenReviewRemedies(d.Why, known, "SubjectAccessReviews")
	}
	return accessRemedies(d, known)
}

// handshakeRemedies returns the remedies of a failed handshake.
func handshakeRemedies(handshake string) []Remedy {
	switch tlserror.Recognize(handshake) {
	case tlserror.NoServingCertificate:
		return []Remedy{remedyApproveServing, remedyServeFiles}
	case tlserror.ExpiredCertificate:
		return []Remedy{remedyServingRenew, remedyApproveServing}
	case tlserror.BadCertificate, tlserror.UnknownAuthority:
		return []Remedy{remedyServingOfCA, remedyTrustServing, remedyNotVerify}
	case tlserror.PlainHTTP:
		return []Remedy{remedySpeakTLS}
	case tlserror.UnsupportedVersion:
		return []Remedy{remedyTLSVersion}
	case tlserror.NoCipherSuite:
		return []Remedy{remedyCipherSuites}
	}
	return nil
}

var (
	remedyApproveServing = Remedy{
		Summary: "approve the kubelet's request for a serving certificate: nobody does that by itself",
		Kubelet: "serverTLSBootstrap: true",
		Kubectl: "kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving\nkubectl certificate approve NAME",
	}
	remedyServeFiles = Remedy{
		Summary: "have the kubelet serve a certificate that is there already",
		Kubelet: "serverTLSBootstrap: false\n" + servingFiles,
	}
	remedyServingRenew = Remedy{
		Summary: "renew the kubelet's serving certificate; the files are read again without a restart",
		Kubelet: servingFiles,
	}
	remedyServingOfCA = Remedy{
		Summary:   "have the kubelet serve a certificate of the CA that the client trusts, with the address that it dials among its subject alternative names",
		Kubelet:   servingFiles,
		Apiserver: "--kubelet-certificate-authority=ca.crt",
		Kubectl:   "fauxlet certs server NODE --dir pki --host ADDRESS-OF-THE-NODE",
	}
	remedyServingName = Remedy{
		Summary:   "have the kubelet serve a certificate with the address that is dialled among its subject alternative names; or have another address dialled",
		Kubelet:   servingFiles,
		Apiserver: "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
		Kubectl:   "kubectl get node NODE -o jsonpath='{.status.addresses}'",
	}
	remedyClocks = Remedy{
		Summary: "set the clocks, or wait: the certificate is for later",
	}
	remedyTrustServing = Remedy{
		Summary:   "have the apiserver trust the CA that signed the kubelet's serving certificate: the file may have several",
		Apiserver: "--kubelet-certificate-authority=kubelet-ca.crt",
	}
	remedyNotVerify = Remedy{
		Summary:   "have the serving certificate not verified",
		Apiserver: "--kubelet-certificate-authority=",
		Kubectl:   "kubectl logs --insecure-skip-tls-verify-backend POD",
		Caution:   "then whoever answers at the node's address is taken for the kubelet, and reads all that is sent to it; to find out, and not to stay",
	}
	remedySpeakTLS = Remedy{
		Summary: "have the client speak TLS: https://, not http://; plain HTTP is for the read-only port alone",
		Kubelet: "readOnlyPort: 10255",
		Caution: "the read-only port asks nobody who they are, and shows everybody the pods and metrics of the node",
	}
	remedyTLSVersion = Remedy{
		Summary: "allow the client's TLS version, or have the client speak a newer one",
		Kubelet: "tlsMinVersion: VersionTLS12",
	}
	remedyCipherSuites = Remedy{
		Summary: "have a cipher suite and a curve in common with the client: without these fields the kubelet has Go's defaults",
		Kubelet: "tlsCipherSuites: []\ntlsCurvePreferences: []",
	}
)

// servingRemediesByProblem are those of a serving certificate, by what is wrong with it. What is not here is wrong with its chain.
var servingRemediesByProblem = map[ProblemID][]Remedy{
	ProblemExpired:       {remedyServingRenew, remedyApproveServing},
	ProblemNotYetValid:   {remedyClocks},
	ProblemName:          {remedyServingName, remedyApproveServing},
	ProblemNoSAN:         {remedyServingName, remedyApproveServing},
	ProblemUsage:         {remedyServingOfCA},
	ProblemWeakSignature: {remedyServingOfCA},
}

// servingRemedies are what cures a serving certificate of what is wrong with it.
func servingRemedies(faults []Problem) []Remedy {
	var once []Remedy
	add := func(cures ...Remedy) {
		for _, c := range cures {
			if !slices.Contains(once, c) {
				once = append(once, c)
			}
		}
	}
	for _, fault := range faults {
		cures, ok := servingRemediesByProblem[fault.ID]
		if !ok {
			cures = []Remedy{remedyServingOfCA, remedyTrustServing}
		}
		add(cures...)
	}
	add(remedyNotVerify)
	return once
}

// identityCures are those of a 401.
func identityRemedies(d *authchain.Report, known Facts) []Remedy {
	var all []Remedy
	credential := false
	for i := range d.Authentication {
		s := &d.Authentication[i]
		switch {
		case s.Outcome == authchain.OutcomeError:
			all = append(all, brokenReviewRemedies(s.Reason, known, "TokenReviews")...)
			credential = true
		case s.Outcome == authchain.OutcomeRefused && s.Method == authchain.MethodX509:
			all = append(all, certificateRemedies(d, known)...)
			credential = true
		case s.Outcome == authchain.OutcomeRefused:
			all = append(all, remedyToken)
			credential = true
		case s.Outcome == authchain.OutcomeSkipped && s.Method == authchain.MethodBearerToken && strings.Contains(s.Reason, "was not read"):
			all = append(all, remedyReadTokens)
		}
	}
	if credential {
		return all
	}
	return append(append(all, credentialRemedies(d, known)...), remedyAnonymous)
}

// credentialCures are those of a client that has shown nothing of itself.
func credentialRemedies(d *authchain.Report, known Facts) []Remedy {
	var all []Remedy
	switch {
	case known.noClientCA():
		all = append(all, remedyClientCA)
	case d.Connection != nil && d.Connection.Certificate != nil:
		all = append(all, remedyCommonName)
	default:
		all = append(all, remedyClientCertificate)
	}
	if !known.webhookOff() {
		all = append(all, remedySendToken)
	}
	return all
}

var (
	remedyClientCertificate = Remedy{
		Summary:   "have the apiserver present a client certificate of a CA that the kubelet knows",
		Apiserver: clientFiles,
		Kubelet:   clientCA,
	}
	remedyClientCA = Remedy{
		Summary:   "tell the kubelet which CA signs client certificates: as it is, none is even asked for",
		Kubelet:   clientCA,
		Apiserver: clientFiles,
	}
	remedyCommonName = Remedy{
		Summary:   "give the client a certificate with a common name, which is the user",
		Apiserver: clientFiles,
	}
	remedySendToken = Remedy{
		Summary: "for a client that is not the apiserver (metrics-server, Prometheus, curl): send a service account's token",
		Kubectl: `curl --cacert ca.crt -H "Authorization: Bearer $(kubectl create token SERVICE-ACCOUNT)" https://NODE:10250/metrics`,
	}
	remedyReadTokens = Remedy{
		Summary: "have the kubelet read bearer tokens: as it is, the one that was sent was not looked at",
		Kubelet: "authentication: {webhook: {enabled: true}}",
	}
	remedyToken = Remedy{
		Summary: "send a token that the apiserver knows: of this cluster, not expired, of a service account that is still there, and for the apiserver's audience",
		Kubectl: "kubectl create token SERVICE-ACCOUNT",
		Caution: "anonymous is no way out: a token that is bad is refused though anonymous is on",
	}
	remedyAnonymous = Remedy{
		Summary: "let everybody in as system:anonymous",
		Kubelet: "authentication: {anonymous: {enabled: true}}",
		Kubectl: "kubectl create clusterrolebinding anonymous-kubelet-api --clusterrole=system:kubelet-api-admin --user=system:anonymous",
		Caution: "whoever reaches the port then runs commands in every pod of the node; by itself anonymous gives 403 in the place of 401, and only the binding, or authorization.mode AlwaysAllow, gives more",
	}
)

// clientRemediesByProblem are those of a client certificate, by what is wrong with it. What is not here is wrong with its chain.
var clientRemediesByProblem = map[ProblemID]Remedy{
	ProblemExpired: {
		Summary:   "renew the client certificate, and have the client read it again",
		Apiserver: clientFiles,
		Kubectl:   "kubeadm certs check-expiration\nkubeadm certs renew apiserver-kubelet-client",
	},
	ProblemNotYetValid: {
		Summary: "set the clocks: the node's is behind that of whoever made the certificate, or the certificate is for later",
		Kubectl: "timedatectl",
	},
	ProblemUsage: {
		Summary:   "make the client certificate anew, with the extended key usage clientAuth: what was presented is a serving certificate",
		Apiserver: clientFiles,
	},
	ProblemWeakSignature: {
		Summary:   "make the client certificate anew, signed with SHA-256 or better",
		Apiserver: clientFiles,
	},
}

// certificateCures are those of a client certificate that was refused, by what is wrong with it.
func certificateRemedies(d *authchain.Report, known Facts) []Remedy {
	if d.Connection == nil || d.Connection.Certificate == nil {
		return []Remedy{remedyClientCertificate}
	}
	issuer := d.Connection.Certificate.Issuer
	faults := dateProblems("it", d.Connection.Certificate.NotBefore, d.Connection.Certificate.NotAfter, d.Time)
	if len(known.Presented) > 0 {
		issuer = nameOf(known.Presented[0].Issuer.CommonName, issuer)
		faults = ClientCertificateProblems(known.Presented, known.ClientCAs, d.Time)
	}
	var all []Remedy
	for _, fault := range faults {
		if cure, ok := clientRemediesByProblem[fault.ID]; ok {
			all = append(all, cure)
		} else if !fault.Harmless {
			all = append(all, unknownAuthorityRemedies(issuer)...)
		}
	}
	if len(all) == 0 { // the roots are not known, and nothing else is wrong
		all = unknownAuthorityRemedies(issuer)
	}
	return all
}

func unknownAuthorityRemedies(issuer string) []Remedy {
	return []Remedy{{
		Summary:   "have the client present a certificate of a CA in the kubelet's clientCAFile",
		Apiserver: clientFiles,
		Kubectl:   "openssl verify -CAfile ca.crt kubelet-client.crt",
	}, {
		Summary: fmt.Sprintf("add the certificate of the CA %q to the kubelet's clientCAFile, which may have several and is read again without a restart", issuer),
		Kubelet: clientCA,
		Caution: "whatever that CA signs is then believed: a common name is a user, an organization a group",
	}}
}

// brokenReviewCures are those of a review that nobody answered.
func brokenReviewRemedies(why string, known Facts, kind string) []Remedy {
	node := "NODE"
	if known.Config != nil {
		node = known.Config.NodeName
	}
	resource := map[string]string{"TokenReviews": "tokenreviews.authentication.k8s.io", "SubjectAccessReviews": "subjectaccessreviews.authorization.k8s.io"}[kind]
	rights := Remedy{
		Summary: fmt.Sprintf("let the kubelet's own user create %s: a node's credential (system:node:%s of system:nodes) may by itself", kind, node),
		Kubectl: fmt.Sprintf("kubectl auth can-i create %s --as system:node:%s --as-group system:nodes\nkubectl create clusterrolebinding kubelet-reviews --clusterrole=system:auth-delegator --user=USER-OF-THE-KUBELET", resource, node),
	}
	reach := Remedy{
		Summary: fmt.Sprintf("have the kubelet reach its apiserver, which answers %s: see its --kubeconfig, and whether the apiserver runs", kind),
		Kubectl: "kubectl --kubeconfig /etc/kubernetes/kubelet.conf get --raw /readyz",
	}
	if strings.Contains(why, "forbidden") || strings.Contains(why, "Unauthorized") || strings.Contains(why, "asked for the client to provide credentials") {
		return []Remedy{rights, reach}
	}
	return []Remedy{reach, rights}
}

// accessCures are those of a 403.
func accessRemedies(d *authchain.Report, known Facts) []Remedy {
	name, groups := d.User.Name, d.User.Groups
	first := &d.Authorization[0]
	if first.Verb == "" {
		return []Remedy{{Summary: fmt.Sprintf("use another method: %s has no verb, and only a rule for the verb * allows that", d.Method)}}
	}
	if name == user.Anonymous {
		return append(credentialRemedies(d, known), Remedy{
			Summary: "let everybody do it who reaches the port",
			Kubectl: remedyAnonymous.Kubectl,
			Caution: "everybody is everybody: they run commands in every pod of the node",
		})
	}

	subject := shellword.Quote("--user=" + name)
	if rest, ok := strings.CutPrefix(name, "system:serviceaccount:"); ok {
		subject = shellword.Quote("--serviceaccount=" + rest)
	}
	short := shellword.Quote(shortName(name))
	narrow := fmt.Sprintf("kubectl create clusterrole %s --verb=%s --resource=%s\nkubectl create clusterrolebinding %s --clusterrole=%s %s",
		short, first.Verb, resource(first), short, short, subject)
	check := canI(d, name, groups)
	wide := Remedy{
		Summary: fmt.Sprintf("bind %q to the role for all of a kubelet's API", name),
		Kubectl: fmt.Sprintf("kubectl create clusterrolebinding %s --clusterrole=system:kubelet-api-admin %s\n%s", short, subject, check),
	}
	least := Remedy{
		Summary: fmt.Sprintf("bind %q to a role that allows this, and nothing else", name),
		Kubectl: narrow + "\n" + check,
	}
	if first.Subresource == "proxy" {
		least.Caution = "nodes/proxy is all of the kubelet's API but for metrics, stats and log: with the verb get it runs commands too, over a WebSocket"
	}
	var all []Remedy
	switch {
	case first.Subresource == "statusz" || first.Subresource == "checkpoint": // which system:kubelet-api-admin does not have
		all = []Remedy{least}
	case strings.HasPrefix(name, "system:serviceaccount:"):
		all = []Remedy{least, wide}
	default:
		all = []Remedy{wide, least}
	}
	ttl := "for 30s by default"
	if known.Config != nil {
		ttl = "for " + known.Config.Kubelet.Authorization.Webhook.CacheUnauthorizedTTL.Duration.String()
	}
	for i := range all {
		all[i].Summary += "; a denial is remembered " + ttl
	}
	return append(all, Remedy{
		Summary: "have nobody asked what a client may do",
		Kubelet: "authorization: {mode: AlwaysAllow}",
		Caution: "whoever is known may then do everything on the node, and with anonymous on that is everybody",
	})
}

// canI is the command that asks an apiserver the same.
func canI(d *authchain.Report, name string, groups []string) string {
	q := &d.Authorization[0]
	words := []string{"kubectl auth can-i", q.Verb, q.Resource + "/" + q.Name, "--subresource=" + q.Subresource, shellword.Quote("--as=" + name)}
	for _, group := range groups {
		words = append(words, shellword.Quote("--as-group="+group))
	}
	return strings.Join(words, " ")
}

// shortName is a user's name as a name of roles: the end of it, without what an object's name may not have.
func shortName(name string) string {
	if i := strings.LastIndex(name, ":"); i >= 0 && i < len(name)-1 {
		name = name[i+1:]
	}
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '%' || r == ' ' {
			return '-'
		}
		return r
	}, name)
}
