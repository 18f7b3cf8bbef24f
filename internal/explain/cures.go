package explain

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/authchain"
	"fauxlet/internal/shellword"
)

// Cure is one change by which a request that was refused would not be, in the forms that it has. Names in capitals are the
// reader's to fill in.
type Cure struct {
	// What is the change in words, a sentence without a full stop.
	What string `json:"what"`
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
func cures(d *authchain.Report, known Facts) []Cure {
	switch {
	case d.Handshake != "":
		return handshakeCures(d.Handshake)
	case d.User == nil:
		return identityCures(d, known)
	case len(d.Authorization) > 0 && d.Authorization[len(d.Authorization)-1].Result == authchain.CheckError:
		return brokenReviewCures(d.Why, known, "SubjectAccessReviews")
	}
	return accessCures(d, known)
}

// handshakeCures know the errors of crypto/tls, which end the words of a handshake that failed.
func handshakeCures(handshake string) []Cure {
	for _, known := range []struct {
		part  string
		cures []Cure
	}{
		{"no serving certificate available", []Cure{cureApproveServing, cureServeFiles}},
		{"remote error: tls: expired certificate", []Cure{cureServingRenew, cureApproveServing}},
		{"remote error: tls: bad certificate", []Cure{cureServingOfCA, cureTrustServing, cureNotVerify}},
		{"remote error: tls: unknown certificate", []Cure{cureServingOfCA, cureTrustServing, cureNotVerify}}, // and "… certificate authority"
		{"HTTP request to an HTTPS server", []Cure{cureSpeakTLS}},
		{"unsupported versions", []Cure{cureTLSVersion}},
		{"protocol version", []Cure{cureTLSVersion}},
		{"no cipher suite", []Cure{cureCipherSuites}},
		{"handshake failure", []Cure{cureCipherSuites}},
	} {
		if strings.Contains(handshake, known.part) {
			return known.cures
		}
	}
	return nil
}

var (
	cureApproveServing = Cure{
		What:    "approve the kubelet's request for a serving certificate: nobody does that by itself",
		Kubelet: "serverTLSBootstrap: true",
		Kubectl: "kubectl get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving\nkubectl certificate approve NAME",
	}
	cureServeFiles = Cure{
		What:    "have the kubelet serve a certificate that is there already",
		Kubelet: "serverTLSBootstrap: false\n" + servingFiles,
	}
	cureServingRenew = Cure{
		What:    "renew the kubelet's serving certificate; the files are read again without a restart",
		Kubelet: servingFiles,
	}
	cureServingOfCA = Cure{
		What:      "have the kubelet serve a certificate of the CA that the client trusts, with the address that it dials among its subject alternative names",
		Kubelet:   servingFiles,
		Apiserver: "--kubelet-certificate-authority=ca.crt",
		Kubectl:   "fauxlet certs server NODE --dir pki --host ADDRESS-OF-THE-NODE",
	}
	cureServingName = Cure{
		What:      "have the kubelet serve a certificate with the address that is dialled among its subject alternative names; or have another address dialled",
		Kubelet:   servingFiles,
		Apiserver: "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
		Kubectl:   "kubectl get node NODE -o jsonpath='{.status.addresses}'",
	}
	cureClocks = Cure{
		What: "set the clocks, or wait: the certificate is for later",
	}
	cureTrustServing = Cure{
		What:      "have the apiserver trust the CA that signed the kubelet's serving certificate: the file may have several",
		Apiserver: "--kubelet-certificate-authority=kubelet-ca.crt",
	}
	cureNotVerify = Cure{
		What:      "have the serving certificate not verified",
		Apiserver: "--kubelet-certificate-authority=",
		Kubectl:   "kubectl logs --insecure-skip-tls-verify-backend POD",
		Caution:   "then whoever answers at the node's address is taken for the kubelet, and reads all that is sent to it; to find out, and not to stay",
	}
	cureSpeakTLS = Cure{
		What:    "have the client speak TLS: https://, not http://; plain HTTP is for the read-only port alone",
		Kubelet: "readOnlyPort: 10255",
		Caution: "the read-only port asks nobody who they are, and shows everybody the pods and metrics of the node",
	}
	cureTLSVersion = Cure{
		What:    "allow the client's TLS version, or have the client speak a newer one",
		Kubelet: "tlsMinVersion: VersionTLS12",
	}
	cureCipherSuites = Cure{
		What:    "have a cipher suite and a curve in common with the client: without these fields the kubelet has Go's defaults",
		Kubelet: "tlsCipherSuites: []\ntlsCurvePreferences: []",
	}
)

// servingCures are those of a serving certificate, by what is wrong with it. What is not here is wrong with its chain.
var servingCures = map[FaultID][]Cure{
	FaultExpired:       {cureServingRenew, cureApproveServing},
	FaultNotYetValid:   {cureClocks},
	FaultName:          {cureServingName, cureApproveServing},
	FaultNoSAN:         {cureServingName, cureApproveServing},
	FaultUsage:         {cureServingOfCA},
	FaultWeakSignature: {cureServingOfCA},
}

// ServingCures are what cures a serving certificate of what is wrong with it.
func ServingCures(faults []Fault) []Cure {
	var once []Cure
	add := func(cures ...Cure) {
		for _, c := range cures {
			if !slices.Contains(once, c) {
				once = append(once, c)
			}
		}
	}
	for _, fault := range faults {
		cures, ok := servingCures[fault.ID]
		if !ok {
			cures = []Cure{cureServingOfCA, cureTrustServing}
		}
		add(cures...)
	}
	add(cureNotVerify)
	return once
}

// identityCures are those of a 401.
func identityCures(d *authchain.Report, known Facts) []Cure {
	var all []Cure
	credential := false
	for i := range d.Authentication {
		s := &d.Authentication[i]
		switch {
		case s.Outcome == authchain.OutcomeError:
			all = append(all, brokenReviewCures(s.Reason, known, "TokenReviews")...)
			credential = true
		case s.Outcome == authchain.OutcomeRefused && s.Method == authchain.MethodX509:
			all = append(all, certificateCures(d, known)...)
			credential = true
		case s.Outcome == authchain.OutcomeRefused:
			all = append(all, cureToken)
			credential = true
		case s.Outcome == authchain.OutcomeSkipped && s.Method == authchain.MethodBearerToken && strings.Contains(s.Reason, "was not read"):
			all = append(all, cureReadTokens)
		}
	}
	if credential {
		return all
	}
	return append(append(all, credentialCures(d, known)...), cureAnonymous)
}

// credentialCures are those of a client that has shown nothing of itself.
func credentialCures(d *authchain.Report, known Facts) []Cure {
	var all []Cure
	switch {
	case known.noClientCA():
		all = append(all, cureClientCA)
	case d.Connection != nil && d.Connection.Certificate != nil:
		all = append(all, cureCommonName)
	default:
		all = append(all, cureClientCertificate)
	}
	if !known.webhookOff() {
		all = append(all, cureSendToken)
	}
	return all
}

var (
	cureClientCertificate = Cure{
		What:      "have the apiserver present a client certificate of a CA that the kubelet knows",
		Apiserver: clientFiles,
		Kubelet:   clientCA,
	}
	cureClientCA = Cure{
		What:      "tell the kubelet which CA signs client certificates: as it is, none is even asked for",
		Kubelet:   clientCA,
		Apiserver: clientFiles,
	}
	cureCommonName = Cure{
		What:      "give the client a certificate with a common name, which is the user",
		Apiserver: clientFiles,
	}
	cureSendToken = Cure{
		What:    "for a client that is not the apiserver (metrics-server, Prometheus, curl): send a service account's token",
		Kubectl: `curl --cacert ca.crt -H "Authorization: Bearer $(kubectl create token SERVICE-ACCOUNT)" https://NODE:10250/metrics`,
	}
	cureReadTokens = Cure{
		What:    "have the kubelet read bearer tokens: as it is, the one that was sent was not looked at",
		Kubelet: "authentication: {webhook: {enabled: true}}",
	}
	cureToken = Cure{
		What:    "send a token that the apiserver knows: of this cluster, not expired, of a service account that is still there, and for the apiserver's audience",
		Kubectl: "kubectl create token SERVICE-ACCOUNT",
		Caution: "anonymous is no way out: a token that is bad is refused though anonymous is on",
	}
	cureAnonymous = Cure{
		What:    "let everybody in as system:anonymous",
		Kubelet: "authentication: {anonymous: {enabled: true}}",
		Kubectl: "kubectl create clusterrolebinding anonymous-kubelet-api --clusterrole=system:kubelet-api-admin --user=system:anonymous",
		Caution: "whoever reaches the port then runs commands in every pod of the node; by itself anonymous gives 403 in the place of 401, and only the binding, or authorization.mode AlwaysAllow, gives more",
	}
)

// clientCures are those of a client certificate, by what is wrong with it. What is not here is wrong with its chain.
var clientCures = map[FaultID]Cure{
	FaultExpired: {
		What:      "renew the client certificate, and have the client read it again",
		Apiserver: clientFiles,
		Kubectl:   "kubeadm certs check-expiration\nkubeadm certs renew apiserver-kubelet-client",
	},
	FaultNotYetValid: {
		What:    "set the clocks: the node's is behind that of whoever made the certificate, or the certificate is for later",
		Kubectl: "timedatectl",
	},
	FaultUsage: {
		What:      "make the client certificate anew, with the extended key usage clientAuth: what was presented is a serving certificate",
		Apiserver: clientFiles,
	},
	FaultWeakSignature: {
		What:      "make the client certificate anew, signed with SHA-256 or better",
		Apiserver: clientFiles,
	},
}

// certificateCures are those of a client certificate that was refused, by what is wrong with it.
func certificateCures(d *authchain.Report, known Facts) []Cure {
	if d.Connection == nil || d.Connection.Certificate == nil {
		return []Cure{cureClientCertificate}
	}
	issuer := d.Connection.Certificate.Issuer
	faults := dateFaults("it", d.Connection.Certificate.NotBefore, d.Connection.Certificate.NotAfter, d.Time)
	if len(known.Presented) > 0 {
		issuer = nameOf(known.Presented[0].Issuer.CommonName, issuer)
		faults = ClientFaults(known.Presented, known.ClientCAs, d.Time)
	}
	var all []Cure
	for _, fault := range faults {
		if cure, ok := clientCures[fault.ID]; ok {
			all = append(all, cure)
		} else if !fault.Harmless {
			all = append(all, unknownAuthorityCures(issuer)...)
		}
	}
	if len(all) == 0 { // the roots are not known, and nothing else is wrong
		all = unknownAuthorityCures(issuer)
	}
	return all
}

func unknownAuthorityCures(issuer string) []Cure {
	return []Cure{{
		What:      "have the client present a certificate of a CA in the kubelet's clientCAFile",
		Apiserver: clientFiles,
		Kubectl:   "openssl verify -CAfile ca.crt kubelet-client.crt",
	}, {
		What:    fmt.Sprintf("add the certificate of the CA %q to the kubelet's clientCAFile, which may have several and is read again without a restart", issuer),
		Kubelet: clientCA,
		Caution: "whatever that CA signs is then believed: a common name is a user, an organization a group",
	}}
}

// brokenReviewCures are those of a review that nobody answered.
func brokenReviewCures(why string, known Facts, kind string) []Cure {
	node := "NODE"
	if known.Config != nil {
		node = known.Config.NodeName
	}
	resource := map[string]string{"TokenReviews": "tokenreviews.authentication.k8s.io", "SubjectAccessReviews": "subjectaccessreviews.authorization.k8s.io"}[kind]
	rights := Cure{
		What:    fmt.Sprintf("let the kubelet's own user create %s: a node's credential (system:node:%s of system:nodes) may by itself", kind, node),
		Kubectl: fmt.Sprintf("kubectl auth can-i create %s --as system:node:%s --as-group system:nodes\nkubectl create clusterrolebinding kubelet-reviews --clusterrole=system:auth-delegator --user=USER-OF-THE-KUBELET", resource, node),
	}
	reach := Cure{
		What:    fmt.Sprintf("have the kubelet reach its apiserver, which answers %s: see its --kubeconfig, and whether the apiserver runs", kind),
		Kubectl: "kubectl --kubeconfig /etc/kubernetes/kubelet.conf get --raw /readyz",
	}
	if strings.Contains(why, "forbidden") || strings.Contains(why, "Unauthorized") || strings.Contains(why, "asked for the client to provide credentials") {
		return []Cure{rights, reach}
	}
	return []Cure{reach, rights}
}

// accessCures are those of a 403.
func accessCures(d *authchain.Report, known Facts) []Cure {
	name, groups := d.User.Name, d.User.Groups
	first := &d.Authorization[0]
	if first.Verb == "" {
		return []Cure{{What: fmt.Sprintf("use another method: %s has no verb, and only a rule for the verb * allows that", d.Method)}}
	}
	if name == user.Anonymous {
		return append(credentialCures(d, known), Cure{
			What:    "let everybody do it who reaches the port",
			Kubectl: cureAnonymous.Kubectl,
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
	wide := Cure{
		What:    fmt.Sprintf("bind %q to the role for all of a kubelet's API", name),
		Kubectl: fmt.Sprintf("kubectl create clusterrolebinding %s --clusterrole=system:kubelet-api-admin %s\n%s", short, subject, check),
	}
	least := Cure{
		What:    fmt.Sprintf("bind %q to a role that allows this, and nothing else", name),
		Kubectl: narrow + "\n" + check,
	}
	if first.Subresource == "proxy" {
		least.Caution = "nodes/proxy is all of the kubelet's API but for metrics, stats and log: with the verb get it runs commands too, over a WebSocket"
	}
	var all []Cure
	switch {
	case first.Subresource == "statusz" || first.Subresource == "checkpoint": // which system:kubelet-api-admin does not have
		all = []Cure{least}
	case strings.HasPrefix(name, "system:serviceaccount:"):
		all = []Cure{least, wide}
	default:
		all = []Cure{wide, least}
	}
	ttl := "for 30s by default"
	if known.Config != nil {
		ttl = "for " + known.Config.Kubelet.Authorization.Webhook.CacheUnauthorizedTTL.Duration.String()
	}
	for i := range all {
		all[i].What += "; a denial is remembered " + ttl
	}
	return append(all, Cure{
		What:    "have nobody asked what a client may do",
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
