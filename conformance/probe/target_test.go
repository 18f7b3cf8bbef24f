package probe_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"fauxlet/conformance/probe"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]string{
		"https://node-1:10250": "https://node-1:10250", "https://node-1:10250/": "https://node-1:10250",
		"node-1": "https://node-1:10250", "node-1:20250": "https://node-1:20250",
		"192.168.0.7": "https://192.168.0.7:10250",
		"[fd00::7]:1": "https://[fd00::7]:1", "https://[::1]": "https://[::1]:10250",
	} {
		target, err := probe.ParseTarget(text)
		if err != nil || target.String() != want {
			t.Errorf("ParseTarget(%q) returned %v and the error %v, want %s", text, target, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                        "no host",
		"http://node-1:10255":     "the scheme is \"http\"",
		"https://":                "no host",
		"https://node-1:0":        "port \"0\"",
		"https://node-1:65536":    "port \"65536\"",
		"https://node-1:https":    "invalid port",
		"https://node-1/pods":     "more than a host and a port",
		"https://node-1?a=b":      "more than a host and a port",
		"https://u:s3cret@node-1": "it must not contain credentials",
	} {
		if _, err := probe.ParseTarget(text); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "s3cret") {
			t.Errorf("ParseTarget(%q) returned the error %v, want %q", text, err, want)
		}
	}
}

// The type "names" is a resolver. Each lookup returns the next element of the field "answers". When no element is left,
// every further lookup returns the last element again. For a nil element, the lookup returns an error.
type names struct {
	answers [][]string
	asked   int
}

func (n *names) lookup(context.Context, string) ([]netip.Addr, error) {
	answer := n.answers[min(n.asked, len(n.answers)-1)]
	n.asked++
	if answer == nil {
		return nil, errors.New("no such host")
	}
	var all []netip.Addr
	for _, a := range answer {
		all = append(all, netip.MustParseAddr(a))
	}
	return all, nil
}

// TestPublicAddressIsRefused checks that a host name is refused if any of its addresses is public.
func TestPublicAddressIsRefused(t *testing.T) {
	t.Parallel()
	for _, addresses := range [][]string{
		{"192.0.2.1"}, {"127.0.0.1", "192.0.2.1"}, {"2001:db8::1"}, {"::ffff:192.0.2.1"}, {"169.254.169.254"},
		{"fe80::1"},
		{"0.0.0.0"}, {"::"}, {"100.64.0.1"}, {"224.0.0.1"}, {"64:ff9b::7f00:1"}, {"172.32.0.1"}, {"192.169.0.1"},
		{"11.0.0.1"},
	} {
		n := &names{answers: [][]string{addresses}}
		_, err := probe.Run(
			t.Context(),
			probe.Options{Target: probe.Target{Host: "node-1", Port: "10250"}, Lookup: n.lookup},
		)
		if err == nil || !strings.Contains(err.Error(), "neither a loopback nor a private address") ||
			!strings.Contains(err.Error(), "--yes") {
			t.Errorf("a name with the addresses %s: error %v, want a refusal that names --yes", addresses, err)
		}
	}
	if _, err := probe.Run(t.Context(), probe.Options{Target: probe.Target{Host: "192.0.2.1",
		Port: "10250"}}); err == nil ||
		!strings.HasPrefix(err.Error(), "192.0.2.1 is neither") {
		t.Errorf("a public address as the target returned the error %v, want a refusal", err)
	}
}

// TestNameIsResolvedOnce checks that the probe resolves the name once and dials the address that passed the check.
func TestNameIsResolvedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	k := w.start(t, nil)
	n := &names{answers: [][]string{{"::ffff:127.0.0.1"}, {"192.0.2.1"}}}
	report := run(
		t,
		probe.Options{
			Target:       probe.Target{Host: "node-1", Port: k.target.Port},
			Lookup:       n.lookup,
			ReadOnlyPort: k.readOnly,
		},
	)
	if n.asked != 1 || !report.HasResponses() || report.Address != net.JoinHostPort("127.0.0.1", k.target.Port) {
		t.Errorf("the name was resolved %d times, the address %s dialed; HasResponses is %v",
			n.asked, report.Address, report.HasResponses())
	}
	if _, err := probe.Run(t.Context(), probe.Options{Target: k.target,
		Lookup: (&names{answers: [][]string{nil}}).lookup}); err != nil {
		t.Errorf("a target that is an address was resolved like a name: %v", err)
	}
	if _, err := probe.Run(t.Context(), probe.Options{Target: probe.Target{Host: "node-1", Port: "1"},
		Lookup: (&names{answers: [][]string{nil}}).lookup}); err == nil ||
		err.Error() != "no such host" {
		t.Errorf("a name that does not resolve returned the error %v, want no such host", err)
	}
	if _, err := probe.Run(t.Context(), probe.Options{Target: probe.Target{Host: "node-1", Port: "1"},
		Lookup: (&names{answers: [][]string{{}}}).lookup}); err == nil {
		t.Error("a name that resolves to no address was accepted")
	}
}

// TestTheNextAddress checks that the probe tries the addresses of a host name one after another, until one of them
// accepts a connection.
func TestTheNextAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	k := w.start(t, nil)
	n := &names{answers: [][]string{{"127.0.0.2", "127.0.0.1"}}} // the stand-in listens on the second address only
	report := run(t, probe.Options{Target: probe.Target{Host: "node-1", Port: k.target.Port}, Lookup: n.lookup})
	if report.Address != net.JoinHostPort("127.0.0.1", k.target.Port) {
		t.Errorf("the probe dialed %s, want the address that accepts connections", report.Address)
	}
	if _, err := probe.Run(t.Context(), probe.Options{Target: probe.Target{Host: "127.0.0.1",
		Port: w.closed(t)}}); err == nil ||
		!strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a port without a listener returned the error %v, want connection refused", err)
	}
}
