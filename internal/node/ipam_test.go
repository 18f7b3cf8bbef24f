package node

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func mustIPAM(t *testing.T, node string, cidrs ...string) *ipam {
	t.Helper()
	m, err := newIPAM(node, cidrs)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustTake(t *testing.T, m *ipam, pod string) []string {
	t.Helper()
	ips, err := m.take(types.UID(pod))
	if err != nil {
		t.Fatal(err)
	}
	return ips
}

// TestAddresses checks that each pod gets one address of each range, that no two pods get the same address, and that
// network and broadcast addresses are not used.
func TestAddresses(t *testing.T) {
	for _, test := range []struct {
		name  string
		cidrs []string
		room  int
		first []string
	}{
		{name: "IPv4", cidrs: []string{"10.1.2.0/29"}, room: 6, first: []string{"10.1.2.1"}},
		{name: "not its first address", cidrs: []string{"10.1.2.5/29"}, room: 6, first: []string{"10.1.2.1"}},
		{name: "IPv6", cidrs: []string{"fd00::/125"}, room: 7, first: []string{"fd00::1"}},
		{name: "dual stack", cidrs: []string{"10.1.2.0/29", "fd00::/64"}, room: 6, first: []string{"10.1.2.1",
			"fd00::1"}},
		{name: "of one address", cidrs: []string{"10.1.2.3/32"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := mustIPAM(t, "node", test.cidrs...)
			given := map[string]bool{}
			var last []string
			for i := range test.room {
				last = mustTake(t, m, fmt.Sprint(i))
				if i == 0 && !slices.Equal(last, test.first) {
					t.Errorf("the first pod got the addresses %v, want %v", last, test.first)
				}
				if len(last) != len(test.cidrs) {
					t.Errorf("got the addresses %v, want one address of each range in %v", last, test.cidrs)
				}
				for _, ip := range last {
					if given[ip] {
						t.Errorf("the address %s was allocated twice", ip)
					}
					given[ip] = true
				}
			}
			if ips, err := m.take("one more"); err == nil {
				t.Fatalf("the ranges are used up, but a pod got %v", ips)
			}
			if test.room == 0 {
				return
			}
			// The failed allocation has reserved no address, and a released address can be allocated again.
			m.release(types.UID(fmt.Sprint(test.room-1)), last)
			if again := mustTake(t, m, "another"); !slices.Equal(again[:1], last[:1]) {
				t.Errorf("released %v, allocated %v", last, again)
			}
		})
	}
	if _, err := newIPAM("node", []string{"10.1.2.0"}); err == nil {
		t.Error("no error for a CIDR without a prefix length")
	}
}

// TestAddressesInTurn checks that a released address is not allocated again at once, so that a client with an old
// address reaches no other pod.
func TestAddressesInTurn(t *testing.T) {
	m := mustIPAM(t, "node", "10.1.2.0/24")
	first := mustTake(t, m, "a")
	m.release("a", first)
	if next := mustTake(t, m, "b"); slices.Equal(next, first) {
		t.Errorf("the released addresses %v were allocated again at once", next)
	}
}

// TestAddressesAreKept checks that a pod keeps its address unless another pod has it.
func TestAddressesAreKept(t *testing.T) {
	m := mustIPAM(t, "node", "10.1.2.0/30")
	for range 2 {
		if !m.keep("a", []string{"10.1.2.1"}) {
			t.Error("a pod could not keep its address")
		}
	}
	if m.keep("b", []string{"10.1.2.1"}) {
		t.Error("two pods kept the same address")
	}
	if got := mustTake(t, m, "c"); got[0] != "10.1.2.2" {
		t.Errorf("allocated %v, want the last free address", got)
	}
	m.release("b", []string{"10.1.2.1"}) // has no effect, because pod b never had this address
	if ips, err := m.take("d"); err == nil {
		t.Errorf("allocated %v, which belongs to another pod", ips)
	}
	if !m.keep("f", []string{"192.0.2.1"}) { // the address is from an earlier range of the node
		t.Error("keep refused an address outside the current ranges")
	}
}

// TestDerivedRanges checks that the nodes of one process have different ranges, and that a node has the same range
// after a restart.
func TestDerivedRanges(t *testing.T) {
	all := map[netip.Prefix]string{}
	for i := range 5000 {
		name := fmt.Sprintf("fake-%d", i)
		prefix := derivedRange(name)
		if other, there := all[prefix]; there {
			t.Fatalf("nodes %s and %s have the same range %s", name, other, prefix)
		}
		all[prefix] = name
		if !derivedRanges.Contains(prefix.Addr()) || prefix != prefix.Masked() || prefix != derivedRange(name) {
			t.Fatalf("node %s has the invalid or unstable range %s", name, prefix)
		}
	}
	for _, name := range []string{"", "1", "node", "node-99999999999999999999"} {
		if prefix := derivedRange(name); !derivedRanges.Contains(prefix.Addr()) {
			t.Errorf("node %q has the range %s, which is outside the derived ranges", name, prefix)
		}
	}
}
