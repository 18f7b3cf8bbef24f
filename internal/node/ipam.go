package node

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// ipam allocates the IPs of the pods of one node. They come from the node's podCIDRs or, if it has none, from a range
// that is derived from the node's name. An ipam is safe for concurrent use.
type ipam struct {
	mu     sync.Mutex
	ranges []*addressRange
	taken  map[string]types.UID // maps each allocated address to its pod
}

// addressRange allocates addresses of a prefix in turn. It remembers the last allocated address, so that a released
// address is not allocated again at once.
type addressRange struct {
	prefix netip.Prefix
	last   netip.Addr
}

// derivedRanges is the network that contains all derived ranges. RFC 6598 reserves it for carrier-grade NAT, so cluster
// networks seldom use it.
var derivedRanges = netip.MustParsePrefix("100.64.0.0/10")

// newIPAM makes an allocator for a node's CIDRs, one per IP family. Without CIDRs it uses a derived range.
func newIPAM(node string, cidrs []string) (*ipam, error) {
	m := &ipam{taken: map[string]types.UID{}}
	if len(cidrs) == 0 {
		cidrs = []string{derivedRange(node).String()}
	}
	for _, text := range cidrs {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		prefix = prefix.Masked()
		m.ranges = append(m.ranges, &addressRange{prefix: prefix, last: prefix.Addr()})
	}
	return m, nil
}

// derivedRange returns the range of a node name, always the same for the same name. Names that differ only in their
// final number, like the names of the nodes of one process, get consecutive ranges, so two such names never get the
// same range. Two other names get the same range with a probability of 1 in 16384.
func derivedRange(node string) netip.Prefix {
	stem := strings.TrimRight(node, "0123456789")
	number, _ := strconv.ParseUint(node[len(stem):], 10, 32) // 0 if the name does not end with a number
	hash := fnv.New32a()
	hash.Write([]byte(stem))
	const length = 24
	which := (hash.Sum32() + uint32(number)) % (1 << (length - derivedRanges.Bits()))
	base := derivedRanges.Addr().As4()
	binary.BigEndian.PutUint32(base[:], binary.BigEndian.Uint32(base[:])|which<<(32-length))
	return netip.PrefixFrom(netip.AddrFrom4(base), length)
}

var errNoAddress = errors.New("failed to allocate for range 0: no IP addresses available in range set")

// The method "take" allocates addresses for a pod: one address from each range.
func (m *ipam) take(pod types.UID) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ips []string
	for _, r := range m.ranges {
		ip := m.next(r)
		if ip == "" {
			m.free(pod, ips)
			return nil, errNoAddress
		}
		m.taken[ip] = pod
		ips = append(ips, ip)
	}
	return ips, nil
}

// The method "next" returns the first free address after the last allocated one, or "" if there is none. It skips the
// network address and, for IPv4, the broadcast address.
func (m *ipam) next(r *addressRange) string {
	for range len(m.taken) + 3 {
		r.last = r.last.Next()
		if !r.prefix.Contains(r.last) || r.last.Is4() && !r.prefix.Contains(r.last.Next()) {
			r.last = r.prefix.Addr().Next()
		}
		ip := r.last.String()
		if _, taken := m.taken[ip]; !taken && r.prefix.Contains(r.last) {
			return ip
		}
	}
	return ""
}

// The method "keep" reserves the addresses that a pod already has. If one of these addresses belongs to a different
// pod, the method reserves nothing and returns false.
func (m *ipam) keep(pod types.UID, ips []string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ip := range ips {
		if other, taken := m.taken[ip]; taken && other != pod {
			return false
		}
	}
	for _, ip := range ips {
		m.taken[ip] = pod
	}
	return true
}

func (m *ipam) release(pod types.UID, ips []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free(pod, ips)
}

func (m *ipam) free(pod types.UID, ips []string) {
	for _, ip := range ips {
		if m.taken[ip] == pod {
			delete(m.taken, ip)
		}
	}
}
