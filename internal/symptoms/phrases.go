package symptoms

import (
	"maps"
	"net"
	"strings"
)

// settingNames are the names of settings of programs. They are used in the causes of errors, and state
//   - trust: how the program is made to trust a CA
//   - skip: how it is made to accept any serving certificate
//   - addresses: how it is made to connect to another address of a Node
//   - credential: how it gets its credential for a kubelet
var settingNames = map[string]bool{"trust": true, "skip": true, "addresses": true, "credential": true}

// settingsOf returns the settings of a program. A setting that the catalog does not state is replaced by the general
// words of the first program in the catalog. These have no "skip": not every program can accept any certificate.
func settingsOf(name string) map[string]string {
	settings := maps.Clone(catalog().Programs[0].Settings)
	if p := programNamed(name); p != nil {
		maps.Copy(settings, p.Settings)
	}
	return settings
}

// values returns the facts by the names that they have in the catalog, without caller and callee.
func (f *Facts) values() map[string]string {
	values := map[string]string{}
	set := func(name, value string) {
		if value != "" {
			values[name] = value
		}
	}
	address := f.Address
	if host, _, err := net.SplitHostPort(address); err == nil {
		set("host", host)
	} else if address != "" {
		set("host", address)
		if f.Callee == kubelet {
			address = net.JoinHostPort(strings.Trim(address, "[]"), "10250") // the kubelet's port by default
		}
	}
	set("address", address)
	set("from", f.From)
	set("path", f.Path)
	set("node", f.Node)
	set("operation", f.Operation)
	return values
}

// callerPhrase returns the caller as the subject or object of a sentence.
func (f *Facts) callerPhrase() string {
	switch f.Caller {
	case "":
		if f.From != "" {
			return "the client at " + f.From
		}
		return "the client"
	case kubelet:
		if f.Node != "" {
			return "the kubelet of node " + f.Node
		}
		return "the kubelet"
	}
	return f.Caller
}

// calleePhrase returns the callee as an object of a sentence, with its address.
func (f *Facts) calleePhrase() string {
	at := ""
	if f.Address != "" {
		at = " at " + f.Address
	}
	switch f.Callee {
	case "":
		if at == "" {
			return "the server"
		}
		return "the server" + at
	case readOnlyPort, healthzPort:
		return "the kubelet's " + f.Callee + at
	case kubelet:
		return "the kubelet" + at
	case "container runtime", "webhook or aggregated API server", "registry", "proxy", "pod":
		return "the " + f.Callee + at
	}
	return f.Callee + at
}

// capitalized returns a sentence with a capital first letter. A sentence that begins with the name of a program is
// unchanged.
func capitalized(sentence string) string {
	first, _, _ := strings.Cut(sentence, " ")
	for _, p := range catalog().Programs {
		if strings.HasPrefix(sentence, p.Name) && p.Name != "" {
			return sentence
		}
	}
	if strings.HasPrefix(first, "kube") {
		return sentence
	}
	return strings.ToUpper(sentence[:1]) + sentence[1:]
}
