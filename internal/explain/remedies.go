package explain

import (
	"fmt"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/authchain"
	"fauxlet/internal/shellword"
	"fauxlet/internal/tlserror"
)

// Remedy is a change after which a refused request would be allowed. The change is given in one or more forms. Words
// in capitals are placeholders.
type Remedy struct {
	// Summary describes the change: a sentence without a full stop.
	Summary string `json:"summary"`
	// Kubelet is YAML for KubeletConfiguration, Apiserver are flags of kube-apiserver, Kubectl are shell commands.
	Kubelet   string `json:"kubelet,omitempty"`
	Apiserver string `json:"apiserver,omitempty"`
	Kubectl   string `json:"kubectl,omitempty"`
	// Caution describes side effects of the change.
	Caution string `json:"caution,omitempty"`
}

// remedies returns all remedies for a request that was refused or ended with an error.
func remedies(d *authchain.Report, facts Facts) []Remedy {
	switch {
	case d.Handshake != "":
		return handshakeRemedies[tlserror.Recognize(d.Handshake)]
	case d.User == nil:
		return authenticationRemedies(d, facts)
	case len(d.Authorization) > 0 && d.Authorization[len(d.Authorization)-1].Result == authchain.CheckError:
		return reviewRemedies(d.Why, facts, accessReviews)
	}
	return authorizationRemedies(d, facts)
}

// authenticationRemedies returns the remedies for a 401.
func authenticationRemedies(d *authchain.Report, facts Facts) []Remedy {
	var all []Remedy
	hasCredential := false
	for i := range d.Authentication {
		s := &d.Authentication[i]
		switch {
		case s.Outcome == authchain.OutcomeError:
			all = append(all, reviewRemedies(s.Reason, facts, tokenReviews)...)
			hasCredential = true
		case s.Outcome == authchain.OutcomeRefused && s.Method == authchain.MethodX509:
			all = append(all, clientCertificateRemedies(d, facts)...)
			hasCredential = true
		case s.Outcome == authchain.OutcomeRefused:
			all = append(all, sendValidToken)
			hasCredential = true
		case s.Outcome == authchain.OutcomeSkipped && s.Method == authchain.MethodBearerToken &&
			strings.Contains(s.Reason, "was not read"):
			all = append(all, readTokens)
		}
	}
	if hasCredential {
		return all
	}
	return append(append(all, credentialRemedies(d, facts)...), allowAnonymous)
}

// credentialRemedies returns the remedies for a client without a credential.
func credentialRemedies(d *authchain.Report, facts Facts) []Remedy {
	var all []Remedy
	switch {
	case facts.noClientCA():
		all = append(all, setClientCA)
	case d.Connection != nil && d.Connection.Certificate != nil:
		all = append(all, addCommonName)
	default:
		all = append(all, presentCertificate)
	}
	if !facts.webhookOff() {
		all = append(all, sendToken)
	}
	return all
}

// clientCertificateRemedies returns the remedies for each problem of a client certificate that was refused.
func clientCertificateRemedies(d *authchain.Report, facts Facts) []Remedy {
	if d.Connection == nil || d.Connection.Certificate == nil {
		return []Remedy{presentCertificate}
	}
	certificate := d.Connection.Certificate
	issuer := certificate.Issuer
	problems := dateProblems("it", certificate.NotBefore, certificate.NotAfter, d.Time)
	if len(facts.Presented) > 0 {
		issuer = nameOf(facts.Presented[0].Issuer.CommonName, issuer)
		problems = clientCertificateProblems(facts.Presented, facts.ClientCAs, d.Time)
	}
	var all []Remedy
	for _, p := range problems {
		if remedy, ok := clientProblemRemedies[p.ID]; ok {
			all = append(all, remedy)
		} else if !p.Harmless {
			all = append(all, unknownCARemedies(issuer)...)
		}
	}
	if len(all) == 0 { // no problem was found; without the client CAs, the signer was not checked
		all = unknownCARemedies(issuer)
	}
	return all
}

func unknownCARemedies(issuer string) []Remedy {
	return []Remedy{{
		Summary:   "use a client certificate that is signed by a CA in the kubelet's clientCAFile",
		Apiserver: clientFiles,
		Kubectl:   "openssl verify -CAfile ca.crt kubelet-client.crt",
	}, {
		Summary: fmt.Sprintf("add the certificate of the CA %q to the kubelet's clientCAFile; the file may contain "+
			"several, "+
			"and the kubelet reloads it without a restart", issuer),
		Kubelet: clientCA,
		Caution: "the kubelet then accepts every certificate of that CA: the common name becomes the user name, " +
			"the organizations become the groups",
	}}
}

// review is a kind of review, with its resource as kubectl names it.
type review struct{ kind, resource string }

var (
	tokenReviews  = review{"TokenReviews", "tokenreviews.authentication.k8s.io"}
	accessReviews = review{"SubjectAccessReviews", "subjectaccessreviews.authorization.k8s.io"}
)

// reviewRemedies returns the remedies for a review that failed or got no response.
func reviewRemedies(why string, facts Facts, r review) []Remedy {
	node := "NODE"
	if facts.Config != nil {
		node = facts.Config.NodeName
	}
	permit := Remedy{
		Summary: fmt.Sprintf("allow the kubelet's user to create %s; a node's own credential (user system:node:%s, "+
			"group system:nodes) may do so without any binding", r.kind, node),
		Kubectl: fmt.Sprintf("kubectl auth can-i create %s --as system:node:%s --as-group system:nodes\n"+
			"kubectl create clusterrolebinding kubelet-reviews --clusterrole=system:auth-delegator "+
			"--user=USER-OF-THE-KUBELET",
			r.resource, node),
	}
	reach := Remedy{
		Summary: fmt.Sprintf("make sure that the kubelet reaches its apiserver, which answers %s: check the "+
			"server in the "+
			"kubelet's --kubeconfig, and that the apiserver runs", r.kind),
		Kubectl: "kubectl --kubeconfig /etc/kubernetes/kubelet.conf get --raw /readyz",
	}
	for _, refusal := range []string{"forbidden", "Unauthorized", "asked for the client to provide credentials"} {
		if strings.Contains(why, refusal) {
			return []Remedy{permit, reach}
		}
	}
	return []Remedy{reach, permit}
}

// authorizationRemedies returns the remedies for a 403.
func authorizationRemedies(d *authchain.Report, facts Facts) []Remedy {
	check := &d.Authorization[0]
	if check.Verb == "" {
		return []Remedy{{Summary: fmt.Sprintf(
			"use another HTTP method: %s has no verb, so only a rule with the verb * allows it", d.Method)}}
	}
	if d.User.Name == user.Anonymous {
		return append(credentialRemedies(d, facts), bindAnonymous)
	}
	denialTTL := "30s by default"
	if facts.Config != nil {
		denialTTL = facts.Config.Kubelet.Authorization.Webhook.CacheUnauthorizedTTL.Duration.String()
	}
	all := bindingRemedies(d)
	for i := range all {
		all[i].Summary += "; the kubelet caches a denial for " + denialTTL
	}
	return append(all, alwaysAllow)
}

// bindingRemedies returns remedies that bind the user to a role. For a service account, a role that allows only this
// request comes first. For other users, the role system:kubelet-api-admin comes first, because such a user is
// usually kube-apiserver's and needs that role.
func bindingRemedies(d *authchain.Report) []Remedy {
	check, name := &d.Authorization[0], d.User.Name
	subject := shellword.Quote("--user=" + name)
	serviceAccount, isServiceAccount := strings.CutPrefix(name, "system:serviceaccount:")
	if isServiceAccount {
		subject = shellword.Quote("--serviceaccount=" + serviceAccount)
	}
	object := shellword.Quote(objectName(name))
	verify := canI(d)
	wide := Remedy{
		Summary: fmt.Sprintf("bind %q to the role for the whole kubelet API", name),
		Kubectl: fmt.Sprintf("kubectl create clusterrolebinding %s --clusterrole=system:kubelet-api-admin %s\n%s",
			object, subject, verify),
	}
	narrow := Remedy{
		Summary: fmt.Sprintf("bind %q to a role that allows only this", name),
		Kubectl: fmt.Sprintf("kubectl create clusterrole %s --verb=%s --resource=%s\n"+
			"kubectl create clusterrolebinding %s --clusterrole=%s %s\n%s",
			object, check.Verb, resource(check), object, object, subject, verify),
	}
	if check.Subresource == "proxy" {
		narrow.Caution = "nodes/proxy covers the whole kubelet API except metrics, stats and log; even the verb " +
			"get allows " +
			"running commands, over a WebSocket"
	}
	switch {
	case check.Subresource == "statusz" || check.Subresource == "checkpoint": // not in system:kubelet-api-admin
		return []Remedy{narrow}
	case isServiceAccount:
		return []Remedy{narrow, wide}
	}
	return []Remedy{wide, narrow}
}

// canI returns the kubectl auth can-i command for the Decision's first authorization check.
func canI(d *authchain.Report) string {
	c := &d.Authorization[0]
	words := []string{
		"kubectl auth can-i", c.Verb, c.Resource + "/" + c.Name, "--subresource=" + c.Subresource,
		shellword.Quote("--as=" + d.User.Name),
	}
	for _, group := range d.User.Groups {
		words = append(words, shellword.Quote("--as-group="+group))
	}
	return strings.Join(words, " ")
}

// objectName derives the name of a ClusterRole from a user name. It is the last part of the user name, without
// characters that object names must not contain.
func objectName(userName string) string {
	if i := strings.LastIndex(userName, ":"); i >= 0 && i < len(userName)-1 {
		userName = userName[i+1:]
	}
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '%' || r == ' ' {
			return '-'
		}
		return r
	}, userName)
}
