package testcerts

import "errors"

// maker makes a certificate of a [Kind].
type maker func(a *Authority, r Request, mutate ...Mutate) (*Pair, error)

// otherHosts are a DNS name and an IP address that never belong to a real host (RFC 2606, RFC 5737).
var otherHosts = []string{"other.invalid", "192.0.2.1"}

func client(a *Authority, r Request, mutate ...Mutate) (*Pair, error) {
	return a.Client(r.CommonName, r.Organizations, mutate...)
}

func server(a *Authority, r Request, mutate ...Mutate) (*Pair, error) {
	return a.Server(r.CommonName, r.Hosts, mutate...)
}

func selfSigned(_ *Authority, r Request, mutate ...Mutate) (*Pair, error) {
	return SelfSigned(r.CommonName, r.Hosts, mutate...)
}

func kubeletSelfSigned(_ *Authority, r Request, mutate ...Mutate) (*Pair, error) {
	if r.CommonName == "" {
		return nil, errors.New("common name: empty; give the node's host name")
	}
	return KubeletSelfSigned(r.CommonName, r.Hosts, mutate...)
}

// with returns a maker that applies a mutation after all others, so that the mutation also overrides Request.Life.
func with(mutation Mutate, m maker) maker {
	return func(a *Authority, r Request, mutate ...Mutate) (*Pair, error) {
		return m(a, r, append(mutate, mutation)...)
	}
}

func forHosts(hosts []string, m maker) maker {
	return func(a *Authority, r Request, mutate ...Mutate) (*Pair, error) {
		r.Hosts = hosts
		return m(a, r, mutate...)
	}
}

func byUnknownCA(m maker) maker {
	return func(_ *Authority, r Request, mutate ...Mutate) (*Pair, error) {
		unknown, err := NewAuthority("unknown-ca")
		if err != nil {
			return nil, err
		}
		return m(unknown, r, mutate...)
	}
}

func byIntermediate(m maker) maker {
	return func(a *Authority, r Request, mutate ...Mutate) (*Pair, error) {
		intermediate, err := a.Intermediate(a.Cert.Subject.CommonName + "-intermediate")
		if err != nil {
			return nil, err
		}
		return m(intermediate, r, mutate...)
	}
}

// withoutChain returns a maker whose pairs do not contain the intermediate CAs.
func withoutChain(m maker) maker {
	return func(a *Authority, r Request, mutate ...Mutate) (*Pair, error) {
		p, err := m(a, r, mutate...)
		if err != nil {
			return nil, err
		}
		return newPair(p.Leaf, p.key, nil)
	}
}
