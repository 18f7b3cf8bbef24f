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
	Open   PortState = "open"   // it answers as a kubelet's read-only port does
	Closed PortState = "closed" // connections are refused
	Other  PortState = "other"  // something answers that is no kubelet
	Silent PortState = "silent" // nothing answers: a firewall, perhaps
	Unseen PortState = "unseen" // it was not looked at
)

// ReadOnlyPort is what the read-only port says, to nobody in particular and in the clear.
type ReadOnlyPort struct {
	Port  int       `json:"port"`
	State PortState `json:"state"`
	Error string    `json:"error,omitempty"`
	// Answers are those to the requests that it has, by request.
	Answers map[string]Answer `json:"answers,omitempty"`
}

// open are the requests that the read-only port serves.
func (r *ReadOnlyPort) open() []string {
	var served []string
	for n := range rows {
		if a, asked := r.Answers[rows[n].String()]; asked && a.Outcome == Admitted {
			served = append(served, rows[n].String())
		}
	}
	return served
}

// askReadOnly asks the port of the host of s. No credential is ever sent there.
func (p *prober) askReadOnly(ctx context.Context, s *peer, port int) ReadOnlyPort {
	ro := ReadOnlyPort{Port: port, State: Unseen}
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
		if a.cause != nil && ro.Answers == nil {
			ro.State, ro.Error = Silent, a.Error
			var other net.Error
			switch {
			case errors.Is(a.cause, syscall.ECONNREFUSED):
				ro.State = Closed
			case !errors.As(a.cause, &other): // it answers, and not in HTTP
				ro.State = Other
			}
			return ro
		}
		if ro.Answers == nil {
			ro.State, ro.Answers = Other, map[string]Answer{}
		}
		ro.Answers[r.String()] = a
		if a.kubelet {
			ro.State = Open
		}
	}
	return ro
}
