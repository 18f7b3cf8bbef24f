package check

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"fauxlet/conformance"
	"fauxlet/conformance/hostile"
)

// further is what a user sends after an upgrade that was none: a request to the kubelet for what the user has not asked the
// apiserver for. It is a kubelet's path.
const further = "GET /runningpods/ HTTP/1.1\r\nHost: kubelet\r\nConnection: close\r\n\r\n"

// push takes a road, reads what is answered, and then writes a further request on the connection.
func (v *villain) push(ctx context.Context, way road) (answer reply, more string) {
	l, err := v.travel(ctx, way)
	if err != nil {
		return reply{err: err}, ""
	}
	defer l.Close()
	v.comes(ctx)
	answer = reply{status: l.status, header: l.header}
	if l.status != http.StatusSwitchingProtocols {
		answer.text, _ = l.text(64<<10, v.run.soon)
	}
	if _, err := l.Write([]byte(further)); err != nil {
		return answer, ""
	}
	more, _ = l.more(16<<10, pushing)
	if l.status == http.StatusSwitchingProtocols {
		answer.text = more
	}
	return answer, more
}

// comes waits until the apiserver has come, or has had the time to.
func (v *villain) comes(ctx context.Context) {
	waiting, cancel := context.WithTimeout(ctx, 3*v.run.soon)
	defer cancel()
	v.saw.Wait(waiting, func(all []hostile.Connection) bool { return len(all) > v.before && all[len(all)-1].Path != "" })
}

func checkRefusedUpgrades(ctx context.Context, r *run) (conformance.Result, error) {
	statuses := []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError, http.StatusServiceUnavailable}
	var behaviors []hostile.Behavior
	for _, status := range statuses {
		behaviors = append(behaviors, hostile.Refuse(status))
	}
	return r.pushThrough(ctx, "refuse", behaviors, func(f *finding, way road, behavior hostile.Behavior, got reply) {
		if got.status < http.StatusBadRequest && !way.speaks {
			f.blames("the user was told of no error: %s that a kubelet refused; the user got %s", way.name, got.says())
		}
	})
}

func checkNotSwitching(ctx context.Context, r *run) (conformance.Result, error) {
	behaviors := []hostile.Behavior{hostile.NotSwitching(http.StatusOK), hostile.NotSwitching(http.StatusNoContent), hostile.NotSwitching(http.StatusPartialContent)}
	return r.pushThrough(ctx, "noswitch", behaviors, func(f *finding, way road, behavior hostile.Behavior, got reply) {
		if got.err == nil && got.status < http.StatusBadRequest && !way.speaks {
			f.blames("the user was told of no error: %s, to which the kubelet %s; the user got %s", way.name, behavior.Action, got.says())
		}
	})
}

// pushThrough has a kubelet answer upgrades in each behavior, and looks whether a further request gets to it.
func (r *run) pushThrough(ctx context.Context, name string, behaviors []hostile.Behavior, look func(*finding, road, hostile.Behavior, reply)) (conformance.Result, error) {
	v, err := r.villain(ctx, name)
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	var f finding
	for _, way := range roads {
		var last reply
		left, before := 0, len(f.wrong)
		for _, behavior := range behaviors {
			if f.enough() {
				return f.result(upgrade), nil
			}
			var got reply
			var more string
			visits, ended := v.play(ctx, behavior, v.patience(way), func() { got, more = v.push(ctx, way) })
			if err := context.Cause(ctx); err != nil {
				return f.cut(upgrade, err)
			}
			last = got
			what := fmt.Sprintf("%s, and the kubelet %s", way.name, behavior.Action)
			switch {
			case len(visits) == 0:
				f.blames("kube-apiserver did not come: %s; the user got %s", what, got.says())
			case requestsOf(visits) > 1 || strings.Contains(more, hostile.Smuggled):
				f.blames("a user's own request went to the kubelet with kube-apiserver's credential (CVE-2018-1002105): %s", what)
			case visits[0].Noise > 0:
				f.blames("what a user wrote went to the kubelet after it had refused: %s", what)
			case !ended && way.opensFirst():
				left++
			case !ended:
				f.blames("the connection to the kubelet stays open: %s", what)
			}
			look(&f, way, behavior, got)
		}
		if len(f.wrong) > before {
			continue
		}
		f.saw("%s: the kubelet answered in %d ways, and nothing more came by any of the connections; the user gets %s", way.name, len(behaviors), last.says())
		if left > 0 {
			f.saw("%s: of these connections %d stay open until kube-apiserver collects its garbage; nothing can come by them", way.name, left)
		}
	}
	return f.result(upgrade), nil
}

func checkOtherProtocol(ctx context.Context, r *run) (conformance.Result, error) {
	v, err := r.villain(ctx, "protocol")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	var f finding
	for _, way := range roads {
		var got reply
		var more string
		visits, ended := v.play(ctx, hostile.OtherProtocol(), v.patience(way), func() { got, more = v.push(ctx, way) })
		if err := context.Cause(ctx); err != nil {
			return f.cut(upgrade, err)
		}
		smuggled := requestsOf(visits) > 1 || strings.Contains(more, hostile.Smuggled)
		switch {
		case len(visits) == 0:
			f.blames("kube-apiserver did not come: %s; the user got %s", way.name, got.says())
		case !ended && !way.opensFirst():
			f.blames("the connection to the kubelet stays open though its user has gone: %s", way.name)
		case way.speaks && smuggled:
			f.blames("kube-apiserver took an answer of 101 for another protocol as its own, and passed a user's request on: %s", way.name)
		case way.speaks:
			f.saw("%s: refused, because kube-apiserver speaks the protocol itself; the user gets %d %s", way.name, got.status, brief(got.text))
		case smuggled:
			f.saw("%s: carried as it is, as every upgrade is after a 101; no kubelet answers so, and a client has to refuse it", way.name)
		default:
			f.saw("%s: refused; the user gets %s", way.name, got.says())
		}
	}
	return f.result(upgrade), nil
}
