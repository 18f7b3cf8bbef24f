package explain

import (
	"cmp"
	_ "embed"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"fauxlet/authchain"
	"fauxlet/internal/bootstrap"
	"fauxlet/internal/shellword"
	"fauxlet/internal/tlserror"
)

// Remedy is a change after which a refused request would be allowed. The change is given as configuration fields,
// flags, commands, or several of these. Words in capitals are placeholders.
type Remedy struct {
	// Summary is a sentence, without a full stop, that describes the change.
	Summary string `json:"summary"`
	// Kubelet contains fields of KubeletConfiguration in YAML. Apiserver contains flags of kube-apiserver. Kubectl
	// contains shell commands. Each is empty if the change does not need it.
	Kubelet   string `json:"kubelet,omitempty"`
	Apiserver string `json:"apiserver,omitempty"`
	Kubectl   string `json:"kubectl,omitempty"`
	// Caution describes side effects of the change.
	Caution string `json:"caution,omitempty"`
}

//go:embed remedies.yaml
var remediesFile []byte

// table is the content of remedies.yaml.
var table = sync.OnceValue(func() (t struct {
	Parts           []any // remedies with YAML anchors; the other fields refer to them
	Handshake       map[tlserror.Kind][]Remedy
	Serving, Client map[problemID][]Remedy
	Other           map[string][]Remedy
}) {
	if err := yaml.UnmarshalStrict(remediesFile, &t); err != nil {
		panic("remedies.yaml: " + err.Error())
	}
	return t
})

// otherProblem is a key in remedies.yaml. Its remedies are for all certificate problems that have no key of their own.
const otherProblem problemID = "other"

// fill returns a copy of the remedies in which each {name} is replaced by its value. The parameter "values" lists each
// name in braces, followed by its value.
func fill(remedies []Remedy, values ...string) []Remedy {
	replacer, filled := strings.NewReplacer(values...), slices.Clone(remedies)
	for i := range filled {
		filled[i].Summary = replacer.Replace(filled[i].Summary)
		filled[i].Kubectl = replacer.Replace(filled[i].Kubectl)
	}
	return filled
}

func remedies(d *authchain.Report, facts Facts) []Remedy {
	switch {
	case d.Handshake != "":
		return table().Handshake[tlserror.Recognize(d.Handshake)]
	case d.User == nil:
		return authenticationRemedies(d, facts)
	case len(d.Authorization) > 0 && d.Authorization[len(d.Authorization)-1].Result == authchain.CheckError:
		return reviewRemedies(d.Why, facts, "SubjectAccessReviews", "subjectaccessreviews.authorization.k8s.io")
	}
	return authorizationRemedies(d, facts)
}

// authenticationRemedies returns the remedies for a request that got status 401.
func authenticationRemedies(d *authchain.Report, facts Facts) []Remedy {
	var all []Remedy
	hasCredential := false
	for i := range d.Authentication {
		s := &d.Authentication[i]
		hasCredential = hasCredential || s.Outcome == authchain.OutcomeError || s.Outcome == authchain.OutcomeRefused
		switch {
		case s.Outcome == authchain.OutcomeError:
			all = append(all, reviewRemedies(s.Reason, facts, "TokenReviews", "tokenreviews.authentication.k8s.io")...)
		case s.Outcome == authchain.OutcomeRefused && s.Method == authchain.MethodX509:
			all = append(all, clientCertificateRemedies(d, facts)...)
		case s.Outcome == authchain.OutcomeRefused:
			all = append(all, table().Other["token refused"]...)
		case s.Method == authchain.MethodBearerToken && strings.Contains(s.Reason, "was not read"):
			all = append(all, table().Other["token ignored"]...)
		}
	}
	if hasCredential {
		return all
	}
	return slices.Concat(all, credentialRemedies(d, facts), table().Other["anonymous off"])
}

func credentialRemedies(d *authchain.Report, facts Facts) []Remedy {
	missing := "no certificate"
	if facts.noClientCA() {
		missing = "no client CA"
	} else if d.Connection != nil && d.Connection.Certificate != nil {
		missing = "no common name"
	}
	all := table().Other[missing]
	if missing == "no certificate" {
		all = certificateRemedies(facts)
	}
	if facts.webhookOff() {
		return all
	}
	return slices.Concat(all, table().Other["no token"])
}

// certificateRemedies returns the remedies for a missing client certificate. It does not ask for a client CA if the
// kubelet has one.
func certificateRemedies(facts Facts) []Remedy {
	all := slices.Clone(table().Other["no certificate"])
	if facts.Config != nil && !facts.noClientCA() {
		all[0].Kubelet = ""
	}
	return all
}

func clientCertificateRemedies(d *authchain.Report, facts Facts) []Remedy {
	if d.Connection == nil || d.Connection.Certificate == nil {
		return certificateRemedies(facts)
	}
	certificate := d.Connection.Certificate
	issuer := certificate.Issuer
	problems := dateProblems("it", certificate.NotBefore, certificate.NotAfter, d.Time)
	if len(facts.Presented) > 0 {
		issuer = nameOf(facts.Presented[0].Issuer)
		problems = clientCertificateProblems(facts.Presented, facts.ClientCAs, d.Time)
	}
	problems = slices.DeleteFunc(problems, func(p problem) bool { return p.Harmless })
	if len(problems) == 0 { // without the client CAs, clientCertificateProblems cannot check the signer
		problems = []problem{{ID: otherProblem}}
	}
	return fill(problemRemedies(table().Client, problems), "{issuer}", issuer)
}

// problemRemedies returns the remedies for the problems of a certificate, without duplicates.
func problemRemedies(remedies map[problemID][]Remedy, problems []problem) []Remedy {
	var all []Remedy
	for _, p := range problems {
		found, ok := remedies[p.ID]
		if !ok {
			found = remedies[otherProblem]
		}
		name := ""
		if p.At != nil {
			name = nameOf(p.At.Subject)
		}
		for _, remedy := range fill(found, "{ca}", name, "{place}", p.place, "{command}", p.command) {
			if !slices.Contains(all, remedy) {
				all = append(all, remedy)
			}
		}
	}
	return all
}

// reviewRemedies returns the remedies for a TokenReview or SubjectAccessReview that failed or got no response. The
// parameter "why" contains the error of the review.
func reviewRemedies(why string, facts Facts, reviews, resource string) []Remedy {
	node, kubeconfig, stored := "NODE", "/etc/kubernetes/kubelet.conf", ""
	if facts.Config != nil {
		node = facts.Config.NodeName
		kubeconfig = cmp.Or(facts.Config.Kubeconfig, kubeconfig)
		stored = shellword.Quote(filepath.Join(facts.Config.CertDir, "kubelet-client-current.pem"))
	}
	unauthorized := strings.Contains(why, "answered 401")
	all := slices.Concat(table().Other["review failed"], table().Other["review refused"])
	switch {
	case unauthorized && facts.Reviewer == bootstrap.NoCredential:
		all = table().Other["credential dropped"]
	case unauthorized && facts.Reviewer == bootstrap.Stored:
		all = slices.Concat(table().Other["stored certificate"], table().Other["credential refused"])
	case unauthorized:
		all = table().Other["credential refused"]
	case strings.Contains(why, "answered 403"):
		slices.Reverse(all)
	}
	return fill(all, "{reviews}", reviews, "{resource}", resource, "{node}", node, "{stored}", stored,
		"{kubeconfig}", shellword.Quote(kubeconfig))
}
