package probe

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"fauxlet/config"
)

// Comparison says where the kubelet is not as a stand-in of a configuration is.
type Comparison struct {
	// Configuration is the file.
	Configuration string `json:"configuration"`
	// Reviews says where the stand-in's answers about users came from.
	Reviews     string       `json:"reviews"`
	Differences []Difference `json:"differences"`
	// NotCompared says what could not be, and why.
	NotCompared []string `json:"notCompared"`
}

// Difference is one, or several of one sort.
type Difference struct {
	// What differs: a setting, or what is answered to whom.
	What string `json:"what"`
	// Requests are those in whose answers it shows.
	Requests []string `json:"requests,omitempty"`
	// Kubelet is how it is, Configuration how it would be.
	Kubelet       string `json:"kubelet"`
	Configuration string `json:"configuration"`
}

// compare holds what was seen against a stand-in of the configuration.
func (p *prober) compare(ctx context.Context, seen *observation, settings []Setting) (*Comparison, error) {
	standIn, written, err := p.observeStandIn(ctx, seen)
	if err != nil {
		return nil, err
	}
	c := &Comparison{Configuration: p.options.Compare.File, Reviews: "of the given apiserver", Differences: []Difference{}, NotCompared: []string{}}
	if p.options.Compare.asSeen() {
		c.Reviews = "as the kubelet was seen to have them answered"
	}
	values := valuesOf(&written.Kubelet)
	values[fineGrained] = strconv.FormatBool(written.Enabled(strings.TrimPrefix(fineGrained, "featureGates.")))
	c.settings(settings, values)
	if enabled := written.Kubelet.EnableServer; enabled != nil && !*enabled {
		c.differ("enableServer", isTrue, isFalse)
	}
	c.handshakes(&seen.tls, &standIn.tls)
	c.certificate(seen.chain, written)
	for n := range seen.identities {
		i := &seen.identities[n]
		if p.options.Compare.asSeen() && i.secret() && seen.tokenUnread(i) && values[webhookEnabled] == isTrue {
			c.skip("what " + i.Name + " is answered: whether its token is good was not seen")
			continue
		}
		c.answers("as "+i.Name, seen.answers[i.Name], standIn.answers[i.Name])
	}
	if seen.readOnly.State == Open && standIn.readOnly.State == Open {
		var kubelet, other []Response
		for n := range rows {
			kubelet, other = append(kubelet, seen.readOnly.Responses[rows[n].String()]), append(other, standIn.readOnly.Responses[rows[n].String()])
		}
		c.answers("on the read-only port", kubelet, other)
	}
	return c, nil
}

func (c *Comparison) differ(what, kubelet, configuration string, requests ...string) {
	c.Differences = append(c.Differences, Difference{what, requests, kubelet, configuration})
}

func (c *Comparison) skip(what string) { c.NotCompared = append(c.NotCompared, what) }

// settings compares those that are known.
func (c *Comparison) settings(settings []Setting, values map[string]string) {
	for _, s := range settings {
		value := values[s.Name]
		excluded, isExcluded := strings.CutPrefix(s.Value, "not ") // "not 10255"
		switch {
		case s.Value == unknown:
			c.skip(s.Name + ": unknown: " + s.Evidence)
		case s.Name == readOnlyPort && isExcluded:
			if value == excluded {
				c.differ(s.Name, s.Value, value)
			}
		case s.Value != value:
			c.differ(s.Name, s.Value, value)
		}
	}
}

// handshakes compares what TLS offers.
func (c *Comparison) handshakes(kubelet, standIn *TLS) {
	if len(kubelet.chain) == 0 {
		c.skip("TLS: there was no handshake")
		return
	}
	compare := func(what string, a, b []string, none string) {
		if !slices.Equal(a, b) {
			c.differ(what, list(a, none), list(b, none))
		}
	}
	for n, v := range kubelet.Versions {
		other := standIn.Versions[n]
		if v.Accepted != other.Accepted {
			c.differ(v.Name, accepted(v.Accepted), accepted(other.Accepted))
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
		compare("the CAs whose client certificates are asked for", a, b, "none that is named")
	}
}

func accepted(yes bool) string {
	if yes {
		return "accepted"
	}
	return "refused"
}

// certificate compares where the serving certificate comes from: the file's own is on the node.
func (c *Comparison) certificate(kubelet *Certificate, written *config.Config) {
	if kubelet == nil {
		return
	}
	_, _, own := written.ServingFiles()
	switch {
	case own && kubelet.Kind != KubeletSelfSigned:
		c.differ("serving certificate", "of "+kubelet.Issuer, "the kubelet's own, for there is no tlsCertFile and no serverTLSBootstrap")
	case written.Kubelet.TLSCertFile != "":
		c.skip("the serving certificate: " + written.Kubelet.TLSCertFile + " is the node's")
	}
}

// answers compares what one client was answered with, in the order of rows: whether it was let in, and if so with which
// status.
func (c *Comparison) answers(whose string, kubelet, standIn []Response) {
	var differences []Difference
	var undecided []string
	for n := range min(len(kubelet), len(standIn)) {
		a, b := &kubelet[n], &standIn[n]
		if a.Status == 0 || b.Status == 0 || a.Status == b.Status {
			continue
		}
		d := Difference{What: whose, Kubelet: strconv.Itoa(a.Status), Configuration: strconv.Itoa(b.Status)}
		switch {
		case b.Access == AuthorizationError && a.authenticated():
			undecided = append(undecided, rows[n].String())
			continue
		case b.Access == AuthorizationError:
			d.Configuration = "let in as somebody, and then RBAC decides"
		case a.admitted() && !b.admitted():
			d.Kubelet = "let in"
		case b.admitted() && !a.admitted():
			d.Configuration = "let in"
		}
		at := slices.IndexFunc(differences, func(other Difference) bool {
			return other.Kubelet == d.Kubelet && other.Configuration == d.Configuration
		})
		if at < 0 {
			at, differences = len(differences), append(differences, d)
		}
		differences[at].Requests = append(differences[at].Requests, rows[n].String())
	}
	c.Differences = append(c.Differences, differences...)
	if len(undecided) > 0 {
		c.skip(fmt.Sprintf("what is answered %s to %s: RBAC decides", whose, strings.Join(undecided, ", ")))
	}
}
