package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// defaultPort is a kubelet's.
const defaultPort = "10250"

// Target is the secure port of the kubelet to probe.
type Target struct {
	// Host is a name or an address, Port a number, as they were given.
	Host, Port string
}

// ParseTarget reads https://HOST:PORT. The scheme may be left out, and so may a kubelet's port, 10250.
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
		return Target{}, fmt.Errorf("URL %q: the scheme is %q; give https://HOST:PORT, the kubelet's secure port: its read-only port is looked at too", text, u.Scheme)
	case u.User != nil:
		return Target{}, fmt.Errorf("URL of %q: credentials do not go into it; give --as, --client-cert or --token-file", u.Hostname())
	case u.Hostname() == "":
		return Target{}, fmt.Errorf("URL %q: there is no host in it; give https://HOST:PORT", text)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return Target{}, fmt.Errorf("URL %q: there is more than a host and a port in it; what is asked is fixed", text)
	}
	t := Target{Host: u.Hostname(), Port: u.Port()}
	if t.Port == "" {
		t.Port = defaultPort
	}
	if n, err := strconv.ParseUint(t.Port, 10, 16); err != nil || n == 0 {
		return Target{}, fmt.Errorf("URL %q: port %q: it is a number from 1 to 65535", text, t.Port)
	}
	return t, nil
}

func (t Target) String() string { return "https://" + t.authority() }

func (t Target) authority() string { return net.JoinHostPort(t.Host, t.Port) }

// Lookup finds the addresses of a name. [net.Resolver.LookupNetIP] with "ip" is one.
type Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

// resolve gives the addresses of the target, looked up once. Unless anywhere is true all of them must be near: what is
// dialled afterwards is one of them, and never the name, which may mean another machine by then.
func (t Target) resolve(ctx context.Context, lookup Lookup, anywhere bool) ([]netip.Addr, error) {
	addresses := []netip.Addr{}
	if a, err := netip.ParseAddr(t.Host); err == nil {
		addresses = append(addresses, a)
	} else if addresses, err = lookup(ctx, t.Host); err != nil {
		return nil, err
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("%s: the name has no address", t.Host)
	}
	for i, a := range addresses {
		addresses[i] = a.Unmap()
		if !anywhere && !near(addresses[i]) {
			of := ""
			if a.String() != t.Host {
				of = ", an address of " + t.Host
			}
			return nil, fmt.Errorf("%s%s: neither a loopback nor a private address, and nothing was sent; with --yes it is probed all the same: do that only to what is yours", addresses[i], of)
		}
	}
	return addresses, nil
}

// near says whether an address is of this machine or of a private network (RFC 1918, RFC 4193). A link-local address is
// not: cloud providers answer with credentials there.
func near(a netip.Addr) bool { return a.IsLoopback() || a.IsPrivate() }

// connect finds the first address that takes connections.
func (p *prober) connect(ctx context.Context, addresses []netip.Addr, port string) (netip.Addr, error) {
	var first error
	for _, a := range addresses {
		conn, err := p.dial(ctx, net.JoinHostPort(a.String(), port))
		if err == nil {
			return a, conn.Close()
		}
		if first == nil {
			first = err
		}
	}
	return netip.Addr{}, first
}

func (p *prober) dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: p.options.Timeout}).DialContext(ctx, "tcp", address)
}
