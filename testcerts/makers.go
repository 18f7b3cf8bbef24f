package testcerts

import "errors"

// maker makes a certificate as a [Kind] has it.
type maker func(a *Authority, r Request, mutate ...Mutate) (*Pair, error)

// otherHosts are reserved never to be anybody's (RFC 2606, RFC 5737).
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

// with changes what m makes; it has the last word on the request's dates.
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

func ofStranger(m maker) maker {
	return func(_ *Authority, r Request, mutate ...Mutate) (*Pair, error) {
		stranger, err := NewAuthority("stranger-ca")
		if err != nil {
			return nil, err
		}
		return m(stranger, r, mutate...)
	}
}

func ofIntermediate(m maker) maker {
	return func(a *Authority, r Request, mutate ...Mutate) (*Pair, error) {
		intermediate, err := a.Intermediate(a.Cert.Subject.CommonName + "-intermediate")
		if err != nil {
			return nil, err
		}
		return m(intermediate, r, mutate...)
	}
}

// withoutChain keeps of what m makes the certificate alone.
func withoutChain(m maker) maker {
	return func(a *Authority, r Request, mutate ...Mutate) (*Pair, error) {
		p, err := m(a, r, mutate...)
		if err != nil {
			return nil, err
		}
		return newPair(p.Leaf, p.key, nil)
	}
}
