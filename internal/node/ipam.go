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

// ipam gives the pods of a node their addresses: of the ranges that the cluster has given the node, or of one that is made
// up from its name. It is safe for concurrent use.
type ipam struct {
	mu     sync.Mutex
	ranges []*addressRange
}

// addressRange hands out the addresses of a prefix in turn, so that one that was given back is not the next to be given.
type addressRange struct {
	prefix netip.Prefix
	last   netip.Addr
	taken  map[netip.Addr]types.UID
}

// madeUpRanges is where ranges are made up: shared address space, which is in no network that a cluster is in (RFC 6598).
var madeUpRanges = netip.MustParsePrefix("100.64.0.0/10")

// newIPAM makes one for the CIDRs of a node, one of each family; none: a range of 254 addresses that is made up.
func newIPAM(node string, cidrs []string) (*ipam, error) {
	m := &ipam{}
	for _, text := range cidrs {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		m.ranges = append(m.ranges, newRange(prefix))
	}
	if len(m.ranges) == 0 {
		m.ranges = append(m.ranges, newRange(madeUpRange(node)))
	}
	return m, nil
}

// madeUpRange is always the same for the same name. Names that differ in the number at their end alone, as those of many
// nodes of one process, have ranges in a row, and so none of them another's; others may, once in 16384.
func madeUpRange(node string) netip.Prefix {
	stem := strings.TrimRight(node, "0123456789")
	number, _ := strconv.ParseUint(node[len(stem):], 10, 32) // what is no number, or too large a one, is as good as 0
	hash := fnv.New32a()
	hash.Write([]byte(stem))
	const length = 24
	which := (hash.Sum32() + uint32(number)) % (1 << (length - madeUpRanges.Bits()))
	base := madeUpRanges.Addr().As4()
	binary.BigEndian.PutUint32(base[:], binary.BigEndian.Uint32(base[:])|which<<(32-length))
	return netip.PrefixFrom(netip.AddrFrom4(base), length)
}

func newRange(prefix netip.Prefix) *addressRange {
	prefix = prefix.Masked()
	return &addressRange{prefix: prefix, last: prefix.Addr(), taken: map[netip.Addr]types.UID{}}
}

var errNoAddress = errors.New("failed to allocate for range 0: no IP addresses available in range set")

// take gives a pod an address of each range.
func (m *ipam) take(pod types.UID) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ips []string
	for _, r := range m.ranges {
		ip, found := r.next()
		if !found {
			m.free(pod, ips)
			return nil, errNoAddress
		}
		r.taken[ip] = pod
		r.last = ip
		ips = append(ips, ip.String())
	}
	return ips, nil
}

// next finds the first free address after the last that was given; the first of a range is its own, the last of an IPv4
// range its broadcast address.
func (r *addressRange) next() (netip.Addr, bool) {
	ip := r.last
	for range len(r.taken) + 3 {
		if ip = ip.Next(); !ip.IsValid() || !r.prefix.Contains(ip) || ip.Is4() && !r.prefix.Contains(ip.Next()) {
			ip = r.prefix.Addr().Next()
			if !r.prefix.Contains(ip) {
				return netip.Addr{}, false
			}
		}
		if _, taken := r.taken[ip]; !taken {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// keep takes addresses that a pod has already, and says whether nobody else had them.
func (m *ipam) keep(pod types.UID, ips []string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, text := range ips {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return false
		}
		for _, r := range m.ranges {
			if other, taken := r.taken[ip]; taken && other != pod {
				return false
			}
		}
	}
	for _, text := range ips {
		ip := netip.MustParseAddr(text)
		for _, r := range m.ranges {
			if r.prefix.Contains(ip) {
				r.taken[ip] = pod
			}
		}
	}
	return true
}

// release gives the addresses of a pod back.
func (m *ipam) release(pod types.UID, ips []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free(pod, ips)
}

func (m *ipam) free(pod types.UID, ips []string) {
	for _, text := range ips {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		for _, r := range m.ranges {
			if r.taken[ip] == pod {
				delete(r.taken, ip)
			}
		}
	}
}
