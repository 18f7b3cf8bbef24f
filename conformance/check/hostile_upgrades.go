package check

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"fauxlet/conformance"
	"fauxlet/conformance/hostile"
)

// smuggledRequest is a request to the kubelet that the kube-apiserver has not authorized. The user sends it after a
// refused upgrade, on the same connection.
const smuggledRequest = "GET /runningpods/ HTTP/1.1\r\nHost: kubelet\r\nConnection: close\r\n\r\n"

// smuggle sends a request, reads the response, and then sends smuggledRequest on the same connection.
func (v *hostileKubelet) smuggle(ctx context.Context, req userRequest) (logResponse reply, more string) {
	l, err := v.open(ctx, req)
	if err != nil {
		return reply{err: err}, ""
	}
	defer l.Close()
	v.awaitRequest(ctx)
	logResponse = reply{status: l.status, header: l.header}
	if l.status != http.StatusSwitchingProtocols {
		logResponse.text, _ = l.text(64<<10, v.run.soon)
	}
	if _, err := l.Write([]byte(smuggledRequest)); err != nil {
		return logResponse, ""
	}
	more, _ = l.more(16<<10, smuggleTimeout)
	if l.status == http.StatusSwitchingProtocols {
		logResponse.text = more
	}
	return logResponse, more
}

// awaitRequest waits, with a timeout, until the kube-apiserver has sent its request to the kubelet.
func (v *hostileKubelet) awaitRequest(ctx context.Context) {
	waiting, cancel := context.WithTimeout(ctx, 3*v.run.soon)
	defer cancel()
	v.recorder.Wait(
		waiting,
		func(all []hostile.Connection) bool { return len(all) > v.before && all[len(all)-1].Path != "" },
	)
}

func checkRefusedUpgrades(ctx context.Context, r *run) (conformance.Result, error) {
	statuses := []int{
		http.StatusBadRequest,
		http.StatusUnauthorized,
		http.StatusForbidden,
		http.StatusNotFound,
		http.StatusInternalServerError,
		http.StatusServiceUnavailable,
	}
	var behaviors []hostile.Behavior
	for _, status := range statuses {
		behaviors = append(behaviors, hostile.Refuse(status))
	}
	return r.trySmuggling(
		ctx,
		"refuse",
		behaviors,
		func(f *finding, req userRequest, behavior hostile.Behavior, got reply) {
			if got.status < http.StatusBadRequest && !req.translated {
				f.problem("the user got no error: the kubelet refused %s; the user got %s", req.name, got.String())
			}
		},
	)
}

func checkNotSwitching(ctx context.Context, r *run) (conformance.Result, error) {
	behaviors := []hostile.Behavior{
		hostile.NotSwitching(http.StatusOK),
		hostile.NotSwitching(http.StatusNoContent),
		hostile.NotSwitching(http.StatusPartialContent),
	}
	return r.trySmuggling(
		ctx,
		"noswitch",
		behaviors,
		func(f *finding, req userRequest, behavior hostile.Behavior, got reply) {
			if got.err == nil && got.status < http.StatusBadRequest && !req.translated {
				f.problem(
					"the user got no error: %s, and the kubelet %s; the user got %s",
					req.name,
					behavior.Action,
					got.String(),
				)
			}
		},
	)
}

// trySmuggling requests upgrades from a kubelet with each behavior, and checks that a smuggled request does not
// reach the kubelet.
func (r *run) trySmuggling(
	ctx context.Context,
	name string,
	behaviors []hostile.Behavior,
	look func(*finding, userRequest, hostile.Behavior, reply),
) (conformance.Result, error) {
	v, err := r.hostileKubelet(ctx, name)
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	var f finding
	for _, req := range upgradeRequests {
		var last reply
		left, before := 0, len(f.problems)
		for _, behavior := range behaviors {
			if f.enough() {
				return f.result(updateRemedy), nil
			}
			var got reply
			var more string
			visits, ended := v.during(ctx, behavior, v.closeTimeout(req), func() { got, more = v.smuggle(ctx, req) })
			if err := context.Cause(ctx); err != nil {
				return f.interrupted(updateRemedy, err)
			}
			last = got
			what := fmt.Sprintf("%s, and the kubelet %s", req.name, behavior.Action)
			switch {
			case len(visits) == 0:
				f.problem("kube-apiserver did not connect: %s; the user got %s", what, got.String())
			case requestsOf(visits) > 1 || strings.Contains(more, hostile.Smuggled):
				f.problem(
					"a smuggled request reached the kubelet with kube-apiserver's credential (CVE-2018-1002105): %s",
					what,
				)
			case visits[0].Noise > 0:
				f.problem("data of the user reached the kubelet after it refused the upgrade: %s", what)
			case !ended && req.upgradesEarly():
				left++
			case !ended:
				f.problem("the connection to the kubelet stays open: %s", what)
			}
			look(&f, req, behavior, got)
		}
		if len(f.problems) > before {
			continue
		}
		f.note(
			"%s: no data reached the kubelet after any of its %d responses; the user gets %s",
			req.name,
			len(behaviors),
			last.String(),
		)
		if left > 0 {
			f.note(
				"%s: %d of these connections stay open until kube-apiserver's garbage collection; they are not used",
				req.name,
				left,
			)
		}
	}
	return f.result(updateRemedy), nil
}

func checkOtherProtocol(ctx context.Context, v *hostileKubelet, f *finding) error {
	for _, req := range upgradeRequests {
		var got reply
		var more string
		visits, ended := v.during(
			ctx,
			hostile.OtherProtocol(),
			v.closeTimeout(req),
			func() { got, more = v.smuggle(ctx, req) },
		)
		if err := context.Cause(ctx); err != nil {
			return err
		}
		smuggled := requestsOf(visits) > 1 || strings.Contains(more, hostile.Smuggled)
		switch {
		case len(visits) == 0:
			f.problem("kube-apiserver did not connect: %s; the user got %s", req.name, got.String())
		case !ended && !req.upgradesEarly():
			f.problem("the connection to the kubelet stays open after the user left: %s", req.name)
		case req.translated && smuggled:
			f.problem("kube-apiserver accepted a 101 for another protocol and passed on a user's request: %s", req.name)
		case req.translated:
			f.note(
				"%s: refused, because kube-apiserver translates the protocol; the user gets %d %s",
				req.name,
				got.status,
				brief(got.text),
			)
		case smuggled:
			f.note("%s: proxied, like every upgrade after a 101; the client must refuse it", req.name)
		default:
			f.note("%s: refused; the user gets %s", req.name, got.String())
		}
	}
	return nil
}
