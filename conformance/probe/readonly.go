package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
)

// PortState is the state of the read-only port.
type PortState string

const (
	Open         PortState = "open"          // the read-only port of a kubelet responds
	Closed       PortState = "closed"        // connections are refused
	NotKubelet   PortState = "not a kubelet" // a program other than a kubelet responds
	Unresponsive PortState = "unresponsive"  // nothing responds; perhaps a firewall drops the packets
	NotProbed    PortState = "not probed"    // the probe sent no requests to the port
)

// ReadOnlyPort describes the read-only port, which speaks plain HTTP and does not authenticate.
type ReadOnlyPort struct {
	Port  int       `json:"port"`
	State PortState `json:"state"`
	Error string    `json:"error,omitempty"`
	// Responses are keyed by method and path.
	Responses map[string]Response `json:"responses,omitempty"`
}

// ordered returns one response for each element of "rows", in the same order. If the request of an element was not
// sent, its response is the zero value.
func (r *ReadOnlyPort) ordered() []Response {
	var all []Response
	for n := range rows {
		all = append(all, r.Responses[rows[n].String()])
	}
	return all
}

// served returns the requests that the read-only port serves.
func (r *ReadOnlyPort) served() []string {
	var served []string
	for _, a := range r.ordered() {
		if a.Access == Admitted && !isCheckpoint(a.row) {
			served = append(served, a.row.String())
		}
	}
	return served
}

// probeReadOnly sends requests to a port of the endpoint's host, without credentials.
func (p *prober) probeReadOnly(ctx context.Context, s *endpoint, port int) ReadOnlyPort {
	ro := ReadOnlyPort{Port: port, State: NotProbed}
	host, _, err := net.SplitHostPort(s.address)
	if err != nil || port == 0 {
		return ro
	}
	number := strconv.Itoa(port)
	c := &client{p: p, address: net.JoinHostPort(host, number), hostHeader: net.JoinHostPort(s.target.Host, number)}
	defer c.close()
	return readOnlyState(port, func(r *row) Response {
		a := c.send(ctx, r)
		p.progress(fmt.Sprintf("%s on the read-only port", r))
		return a
	})
}

// readOnlyTarget returns the port that is probed as the read-only port: the port in /configz if it is known and not 0,
// and otherwise the given port. If the given port is 0, no port is probed.
func (o *observation) readOnlyTarget(given int) int {
	reported, _ := o.configz()
	if n, err := strconv.ParseUint(reported[readOnlyPort], 10, 16); err == nil && n > 0 && given != 0 {
		return int(n)
	}
	return given
}

// readOnlyState describes a port from the responses to the requests that a read-only port serves.
func readOnlyState(port int, send func(*row) Response) ReadOnlyPort {
	ro := ReadOnlyPort{Port: port, State: NotProbed}
	if port == 0 {
		return ro
	}
	for n := range rows {
		r := &rows[n]
		if !r.readOnly {
			continue
		}
		a := send(r)
		if a.cause != nil && ro.Responses == nil {
			ro.State, ro.Error = Unresponsive, a.Error
			var other net.Error
			var refused *refusal
			switch {
			case errors.Is(a.cause, syscall.ECONNREFUSED):
				ro.State = Closed
			case errors.As(a.cause, &refused):
				if refused.status.Code == http.StatusForbidden {
					ro.State = NotProbed
				}
			case !errors.As(a.cause, &other): // the response is not HTTP
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
