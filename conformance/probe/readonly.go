package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// PortState is what is known of a port.
type PortState string

const (
	Open         PortState = "open"          // it answers as a kubelet's read-only port does
	Closed       PortState = "closed"        // connections are refused
	NotKubelet   PortState = "not a kubelet" // something answers that is no kubelet
	Unresponsive PortState = "unresponsive"  // nothing answers: a firewall, perhaps
	NotProbed    PortState = "not probed"    // it was not looked at
)

// ReadOnlyPort is what the read-only port says, to nobody in particular and in the clear.
type ReadOnlyPort struct {
	Port  int       `json:"port"`
	State PortState `json:"state"`
	Error string    `json:"error,omitempty"`
	// Responses are those to the requests that it has, by request.
	Responses map[string]Response `json:"responses,omitempty"`
}

// open are the requests that the read-only port serves.
func (r *ReadOnlyPort) open() []string {
	var served []string
	for n := range rows {
		if a, asked := r.Responses[rows[n].String()]; asked && a.Access == Admitted {
			served = append(served, rows[n].String())
		}
	}
	return served
}

// askReadOnly asks the port of the host of s. No credential is ever sent there.
func (p *prober) askReadOnly(ctx context.Context, s *peer, port int) ReadOnlyPort {
	ro := ReadOnlyPort{Port: port, State: NotProbed}
	if port == 0 {
		return ro
	}
	host, _, err := net.SplitHostPort(s.address)
	if err != nil {
		return ro
	}
	session := &session{p: p, address: net.JoinHostPort(host, strconv.Itoa(port)), host: net.JoinHostPort(s.target.Host, strconv.Itoa(port))}
	defer session.close()
	for n := range rows {
		r := &rows[n]
		if !r.readOnly {
			continue
		}
		a := session.ask(ctx, r)
		p.step(fmt.Sprintf("%s on the read-only port", r))
		if a.cause != nil && ro.Responses == nil {
			ro.State, ro.Error = Unresponsive, a.Error
			var other net.Error
			switch {
			case errors.Is(a.cause, syscall.ECONNREFUSED):
				ro.State = Closed
			case !errors.As(a.cause, &other): // it answers, and not in HTTP
				ro.State = NotKubelet
			}
			return ro
		}
		if ro.Responses == nil {
			ro.State, ro.Responses = NotKubelet, map[string]Response{}
		}
		ro.Responses[r.String()] = a
		if a.kubelet {
			ro.State = Open
		}
	}
	return ro
}
