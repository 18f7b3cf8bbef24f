package probe

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"fauxlet/config"
)

// Comparison lists the differences between the probed kubelet and a stand-in with a given configuration.
type Comparison struct {
	// Configuration is the name of the KubeletConfiguration file.
	Configuration string `json:"configuration"`
	// Reviews describes how the stand-in gets the answers to its TokenReviews and SubjectAccessReviews.
	Reviews     string       `json:"reviews"`
	Differences []Difference `json:"differences"`
	// NotCompared lists what could not be compared, with the reason.
	NotCompared []string `json:"notCompared"`
}

// Difference is a difference in a setting, or in the responses to one or more requests.
type Difference struct {
	// The field What names a setting or a property of TLS. If responses differ, the field describes their client, for
	// example "as unknown-ca".
	What string `json:"what"`
	// Requests are the requests whose responses differ.
	Requests []string `json:"requests,omitempty"`
	// Kubelet is the real kubelet's value or response. Configuration is the stand-in's value or response.
	Kubelet       string `json:"kubelet"`
	Configuration string `json:"configuration"`
}

// compare starts a stand-in with the given configuration and lists how it differs from the observed kubelet.
func (p *prober) compare(ctx context.Context, seen *observation, settings []Setting) (*Comparison, error) {
	standIn, configured, err := p.standIn(ctx, seen)
	if err != nil {
		return nil, err
	}
	reviewsObserved := p.options.Compare.reviewsObserved()
	c := &Comparison{Configuration: p.options.Compare.File, Reviews: "from the given kube-apiserver",
		Differences: []Difference{}, NotCompared: []string{}}
	if reviewsObserved {
		c.Reviews = "inferred from the kubelet's responses"
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&configured.Kubelet)
	if err != nil {
		return nil, err
	}
	values := valuesOf(fields)
	values[fineGrained] = strconv.FormatBool(configured.Enabled(strings.TrimPrefix(fineGrained, "featureGates.")))
	c.settings(settings, values)
	if enabled := configured.Kubelet.EnableServer; enabled != nil && !*enabled {
		c.differ("enableServer", isTrue, isFalse)
	}
	c.handshakes(&seen.tls, &standIn.tls)
	c.certificate(seen.certificate, configured)
	for n := range seen.identities {
		i := &seen.identities[n]
		if reviewsObserved && i.secret() && seen.tokenIgnored(i) && values[webhookEnabled] == isTrue {
			c.skip("responses to " + i.Name + ": it is unknown whether its token is valid")
			continue
		}
		c.responses("as "+i.Name, seen.responses[i.Name], standIn.responses[i.Name])
	}
	if seen.readOnly.State == Open && standIn.readOnly.State == Open {
		c.responses("on the read-only port", seen.readOnly.ordered(), standIn.readOnly.ordered())
	}
	return c, nil
}

func (c *Comparison) differ(what, kubelet, configuration string, requests ...string) {
	c.Differences = append(c.Differences, Difference{what, requests, kubelet, configuration})
}

func (c *Comparison) skip(what string) { c.NotCompared = append(c.NotCompared, what) }

// settings compares the kubelet's settings with the values of the configuration. Settings whose value in the kubelet is
// unknown are added to NotCompared.
func (c *Comparison) settings(settings []Setting, values map[string]string) {
	for _, s := range settings {
		value := values[s.Name]
		excluded, isExcluded := strings.CutPrefix(s.Value, "not ") // "not 10255"
		switch {
		case s.Value == unknown:
			c.skip(s.Name + ": unknown: " + s.Evidence)
		case isExcluded && value == excluded, !isExcluded && value != s.Value:
			c.differ(s.Name, s.Value, value)
		}
	}
}

func (c *Comparison) handshakes(kubelet, standIn *TLS) {
	if len(kubelet.chain) == 0 {
		c.skip("TLS: no handshake succeeded")
		return
	}
	compare := func(what string, a, b []string, none string) {
		if !slices.Equal(a, b) {
			c.differ(what, list(a, none), list(b, none))
		}
	}
	words := map[bool]string{true: "accepted", false: "refused"}
	for n, v := range kubelet.Versions {
		other := standIn.Versions[n]
		if v.Accepted != other.Accepted {
			c.differ(v.Name, words[v.Accepted], words[other.Accepted])
			continue
		}
		if v.Name != "VersionTLS13" {
			compare("cipher suites of "+v.Name, v.CipherSuites, other.CipherSuites, "none")
		}
	}
	compare("ALPN", kubelet.Protocols, standIn.Protocols, "none")
	if kubelet.ClientCertificateRequested && standIn.ClientCertificateRequested {
		a, b := slices.Clone(kubelet.ClientCAs), slices.Clone(standIn.ClientCAs)
		slices.Sort(a)
		slices.Sort(b)
		compare("the requested client CAs", a, b, "none listed")
	}
}

// certificate compares only whether the kubelet itself or another CA issued the serving certificate. It cannot compare
// the certificate with the file tlsCertFile, because that file is on the node.
func (c *Comparison) certificate(kubelet *Certificate, configured *config.Config) {
	if kubelet == nil {
		return
	}
	_, _, own := configured.ServingFiles()
	switch {
	case own && kubelet.Kind != KubeletSelfSigned:
		c.differ("serving certificate", "issued by "+kubelet.Issuer,
			"self-signed by the kubelet: neither tlsCertFile nor serverTLSBootstrap is set")
	case configured.Kubelet.TLSCertFile != "":
		c.skip("the serving certificate: " + configured.Kubelet.TLSCertFile + " is a file on the node")
	}
}

// responses compares the kubelet's responses to one client with the stand-in's responses. The two lists have the
// responses to the same requests, in the same order. Responses differ if their statuses differ. Requests with the same
// difference are reported together.
func (c *Comparison) responses(client string, kubelet, standIn []Response) {
	var differences []Difference
	var undecided []string
	for n := range min(len(kubelet), len(standIn)) {
		a, b := &kubelet[n], &standIn[n]
		if a.Status == 0 || b.Status == 0 || a.Status == b.Status {
			continue
		}
		d := Difference{What: client, Kubelet: strconv.Itoa(a.Status), Configuration: strconv.Itoa(b.Status)}
		switch {
		case b.Access == AuthorizationError && a.authenticated():
			undecided = append(undecided, a.row.String())
			continue
		case b.Access == AuthorizationError:
			d.Configuration = "authenticated, then RBAC decides"
		case a.admitted() && !b.admitted():
			d.Kubelet = "admitted"
		case b.admitted() && !a.admitted():
			d.Configuration = "admitted"
		}
		at := slices.IndexFunc(differences, func(other Difference) bool {
			return other.Kubelet == d.Kubelet && other.Configuration == d.Configuration
		})
		if at < 0 {
			at, differences = len(differences), append(differences, d)
		}
		differences[at].Requests = append(differences[at].Requests, a.row.String())
	}
	c.Differences = append(c.Differences, differences...)
	if len(undecided) > 0 {
		c.skip(fmt.Sprintf("responses %s to %s: RBAC decides", client, strings.Join(undecided, ", ")))
	}
}
