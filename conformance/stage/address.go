package stage

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"

	v1 "k8s.io/api/core/v1"
)

// CheckListen says whether kubelets can listen on an address.
func CheckListen(address netip.Addr) error {
	listener, err := net.Listen("tcp", netip.AddrPortFrom(address, 0).String())
	if err != nil {
		return fmt.Errorf("--node-ip: %v is no address of this machine that can be listened on: %w", address, err)
	}
	return listener.Close()
}

// LocalAddressFor is the address of this machine from which it sends to an apiserver. Nothing is sent: a socket for datagrams is
// connected, and closed.
func LocalAddressFor(at *url.URL) (netip.Addr, error) {
	port := at.Port()
	if port == "" {
		port = "443"
	}
	socket, err := net.Dial("udp", net.JoinHostPort(at.Hostname(), port))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("which address of this machine the apiserver can reach is not known: %w; give --node-ip", err)
	}
	defer socket.Close()
	address, ok := netip.AddrFromSlice(socket.LocalAddr().(*net.UDPAddr).IP)
	if !ok {
		return netip.Addr{}, errors.New("which address of this machine the apiserver can reach is not known; give --node-ip")
	}
	return address.Unmap(), nil
}

// AddressTypes are all that a Node's address may have.
var AddressTypes = []v1.NodeAddressType{v1.NodeHostName, v1.NodeInternalDNS, v1.NodeInternalIP, v1.NodeExternalDNS, v1.NodeExternalIP}

// AddressesOfEveryType has an address for each type, so that it is dialled whatever the order of types is.
func AddressesOfEveryType(address string) []v1.NodeAddress {
	all := make([]v1.NodeAddress, len(AddressTypes))
	for i, t := range AddressTypes {
		all[i] = v1.NodeAddress{Type: t, Address: address}
	}
	return all
}
