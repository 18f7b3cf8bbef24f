package probe

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Target is the secure port of the kubelet to probe.
type Target struct {
	Host, Port string // a host name or an IP address, and a number
}

// ParseTarget parses https://HOST:PORT. The scheme is optional, and the port defaults to 10250.
func ParseTarget(text string) (Target, error) {
	whole := text
	if !strings.Contains(whole, "://") {
		whole = "https://" + whole
	}
	u, err := url.Parse(whole)
	if err != nil {
		return Target{}, fmt.Errorf("URL %q: %w; give https://HOST:PORT", text, err)
	}
	switch {
	case u.Scheme != "https":
		return Target{}, fmt.Errorf("URL %q: the scheme is %q; give https://HOST:PORT of the secure port; the "+
			"read-only port is probed as well", text, u.Scheme)
	case u.User != nil:
		return Target{}, fmt.Errorf("URL of %q: it must not contain credentials; give --as, --client-cert or "+
			"--token-file", u.Hostname())
	case u.Hostname() == "":
		return Target{}, fmt.Errorf("URL %q has no host; give https://HOST:PORT", text)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return Target{}, fmt.Errorf("URL %q has more than a host and a port; the probed paths are fixed", text)
	}
	t := Target{Host: u.Hostname(), Port: cmp.Or(u.Port(), "10250")} // 10250 is the kubelet's default port
	if n, err := strconv.ParseUint(t.Port, 10, 16); err != nil || n == 0 {
		return Target{}, fmt.Errorf("URL %q: port %q is not a number from 1 to 65535", text, t.Port)
	}
	return t, nil
}

func (t Target) String() string { return "https://" + t.authority() }

func (t Target) authority() string { return net.JoinHostPort(t.Host, t.Port) }

// Lookup returns the addresses of a host name, like [net.Resolver.LookupNetIP] with the network "ip".
type Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

// resolve returns the addresses of the target. Unless allowPublic is true, all of them must be loopback or private.
// The probe dials one of them, and does not resolve the name again, because the result could change.
func (t Target) resolve(ctx context.Context, lookup Lookup, allowPublic bool) ([]netip.Addr, error) {
	addresses := []netip.Addr{}
	if a, err := netip.ParseAddr(t.Host); err == nil {
		addresses = append(addresses, a)
	} else if addresses, err = lookup(ctx, t.Host); err != nil {
		return nil, err
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("%s: the host name has no address", t.Host)
	}
	for i, a := range addresses {
		addresses[i] = a.Unmap()
		if !allowPublic && !isLocal(addresses[i]) {
			name := addresses[i].String()
			if a.String() != t.Host {
				name += ", an address of " + t.Host + ","
			}
			return nil, fmt.Errorf("%s is neither a loopback nor a private address; nothing was sent; give --yes to "+
				"probe it, if it is yours", name)
		}
	}
	return addresses, nil
}

// isLocal reports whether an address is loopback or private (RFC 1918, RFC 4193). Link-local addresses do not count
// as local, because the metadata services of cloud providers serve credentials there.
func isLocal(a netip.Addr) bool { return a.IsLoopback() || a.IsPrivate() }

// connect returns the first of the addresses that accepts a TCP connection. If none of them does, it returns the error
// from the first address.
func (p *prober) connect(ctx context.Context, addresses []netip.Addr, port string) (netip.Addr, error) {
	var errs []error
	for _, a := range addresses {
		conn, err := p.dial(ctx, net.JoinHostPort(a.String(), port))
		if err == nil {
			return a, conn.Close()
		}
		errs = append(errs, err)
	}
	return netip.Addr{}, errs[0]
}

func (p *prober) dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: p.options.Timeout}).DialContext(ctx, "tcp", address)
}
