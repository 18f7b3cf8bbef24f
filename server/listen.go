package server

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"k8s.io/utils/ptr"

	"fauxlet/config"
)

// Listen opens the ports of the configuration: `port` on `address` unless enableServer is false, and `readOnlyPort`
// on `address` unless readOnlyPort is 0. If `port` is 0, it takes a free port.
//
// It also reads the serving certificate, or makes a self-signed one. Clients can connect as soon as Listen has
// returned; [Server.Serve] answers them. If Listen returns an error, neither port is open. The error names the port
// or file, and what to change.
func (s *Server) Listen() (*Listeners, error) {
	kubelet := &s.config.Kubelet
	listeners, err := OpenSecurePort(s.config, kubelet.Port)
	if err != nil {
		return nil, err
	}
	if kubelet.ReadOnlyPort > 0 {
		if listeners.ReadOnly, err = listen(kubelet.Address, kubelet.ReadOnlyPort, "readOnlyPort"); err != nil {
			listeners.Close()
			return nil, err
		}
	}
	if listeners.Secure != nil {
		if listeners.tls, err = s.newTLS(); err != nil {
			listeners.Close()
			return nil, err
		}
	}
	return listeners, nil
}

// OpenSecurePort opens only the secure port, for a [Server] that is made later. The argument "port" replaces `port` in
// the configuration. If enableServer is false, the Listeners are empty.
func OpenSecurePort(config *config.Config, port int32) (*Listeners, error) {
	listeners := &Listeners{}
	if !ptr.Deref(config.Kubelet.EnableServer, true) {
		return listeners, nil
	}
	var err error
	listeners.Secure, err = listen(config.Kubelet.Address, port, "port")
	return listeners, err
}

// flagOf maps the configuration field of a port to the flag that sets the field.
var flagOf = map[string]string{"port": "--port", "readOnlyPort": "--read-only-port", "healthzPort": "--healthz-port"}

func listen(address string, port int32, field string) (net.Listener, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
	switch {
	case err == nil:
		return listener, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %d on %s is in use by another program (a kubelet?); stop it, or choose another "+
			"port with %s", field, port, address, flagOf[field])
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: no permission to listen on %s:%d; choose a port above 1023 with %s",
			field, address, port, flagOf[field])
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("address: %s is not an address of this machine; choose another address with --address",
			address)
	}
	return nil, fmt.Errorf("%s: cannot listen on %s:%d: %w", field, address, port, err)
}
