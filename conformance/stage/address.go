package stage

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"

	v1 "k8s.io/api/core/v1"
)

// CheckListen returns an error if this machine cannot listen on an address.
func CheckListen(address netip.Addr) error {
	listener, err := net.Listen("tcp", netip.AddrPortFrom(address, 0).String())
	if err != nil {
		return fmt.Errorf("--node-ip: cannot listen on %v; use an address of this machine: %w", address, err)
	}
	return listener.Close()
}

// LocalAddressFor returns the address from which this machine sends packets to an API server. It sends no packets.
func LocalAddressFor(apiserver *url.URL) (netip.Addr, error) {
	socket, err := net.Dial("udp", net.JoinHostPort(apiserver.Hostname(), cmp.Or(apiserver.Port(), "443")))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("cannot find the address of this machine that the kube-apiserver can reach: "+
			"%w; give --node-ip", err)
	}
	defer socket.Close()
	return socket.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// AddressTypes are all types of Node addresses.
var AddressTypes = []v1.NodeAddressType{v1.NodeHostName, v1.NodeInternalDNS, v1.NodeInternalIP, v1.NodeExternalDNS,
	v1.NodeExternalIP}

// AddressesOfEveryType returns a list for the status of a Node, in which the given address appears once with each
// type. A kube-apiserver then dials this address, whatever the value of its flag --kubelet-preferred-address-types is.
func AddressesOfEveryType(address string) []v1.NodeAddress {
	all := make([]v1.NodeAddress, len(AddressTypes))
	for i, t := range AddressTypes {
		all[i] = v1.NodeAddress{Type: t, Address: address}
	}
	return all
}
