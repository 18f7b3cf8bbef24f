package check

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"fauxlet/conformance/hostile"
)

// smuggledRequest is a request to the kubelet that the kube-apiserver has not authorized. The user sends it after a
// refused upgrade, on the same connection.
const smuggledRequest = "GET /runningpods/ HTTP/1.1\r\nHost: kubelet\r\nConnection: close\r\n\r\n"

// trySmuggling calls the method "try" with a function that sends the user's request, reads the response, and then sends
// smuggledRequest on the same connection. The result "smuggled" is true if smuggledRequest reached the kubelet.
func (v *hostileKubelet) trySmuggling(
	ctx context.Context, req userRequest, behavior hostile.Behavior,
) (t trial, smuggled bool, err error) {
	more := ""
	t, err = v.try(ctx, req, behavior, v.closeTimeout(req), func() (got reply) {
		l, err := v.open(ctx, req)
		if err != nil {
			return reply{err: err}
		}
		defer l.Close()
		v.awaitRequest(ctx)
		got = reply{status: l.response.StatusCode, header: l.response.Header}
		if got.status != http.StatusSwitchingProtocols {
			got.text, _ = l.readAll(l.body, 64<<10, v.run.soon)
		}
		if _, err := io.WriteString(l, smuggledRequest); err != nil {
			return got
		}
		more, _ = l.readAll(l.in, 16<<10, smuggleTimeout)
		if got.status == http.StatusSwitchingProtocols {
			got.text = more
		}
		return got
	})
	return t, t.requests() > 1 || strings.Contains(more, hostile.Smuggled), err
}

// checkSmuggling returns a check in which the hostile kubelet answers upgrade requests with each of the given statuses.
// The check fails if smuggledRequest reaches the kubelet afterwards.
func checkSmuggling(
	behavior func(status int) hostile.Behavior, statuses ...int,
) func(context.Context, *hostileKubelet, *finding) error {
	return func(ctx context.Context, v *hostileKubelet, f *finding) error {
		for _, req := range upgradeRequests {
			var last reply
			left, before := 0, len(f.problems)
			for _, status := range statuses {
				if f.enough() {
					return nil
				}
				t, smuggled, err := v.trySmuggling(ctx, req, behavior(status))
				last = t.got
				switch {
				case errors.Is(err, errNotConnected):
					f.fail("%v", err)
					continue
				case err != nil:
					return err
				case smuggled:
					f.fail("a smuggled request reached the kubelet with kube-apiserver's credential "+
						"(CVE-2018-1002105): %s", t.what)
				case t.visits[0].Noise > 0:
					f.fail("data of the user reached the kubelet after it refused the upgrade: %s", t.what)
				case !t.ended && req.upgradesEarly():
					left++
				case !t.ended:
					f.fail("the connection to the kubelet stays open: %s", t.what)
				}
				if t.got.err == nil && t.got.status < http.StatusBadRequest && !req.translated {
					f.fail("the user got no error: %s; the user got %s", t.what, t.got)
				}
			}
			if len(f.problems) > before {
				continue
			}
			f.note("%s: no data reached the kubelet after any of its %d responses; the user gets %s", req.name,
				len(statuses), last)
			if left > 0 {
				f.note("%s: %d of these connections stay open until kube-apiserver's garbage collection; they are not "+
					"used", req.name, left)
			}
		}
		return nil
	}
}

func checkOtherProtocol(ctx context.Context, v *hostileKubelet, f *finding) error {
	for _, req := range upgradeRequests {
		t, smuggled, err := v.trySmuggling(ctx, req, hostile.OtherProtocol())
		switch {
		case errors.Is(err, errNotConnected):
			f.fail("%v", err)
		case err != nil:
			return err
		case !t.ended && !req.upgradesEarly():
			f.fail("the connection to the kubelet stays open after the user left: %s", req.name)
		case req.translated && smuggled:
			f.fail("kube-apiserver accepted a 101 for another protocol and passed on a user's request: %s", req.name)
		case req.translated:
			f.note("%s: refused, because kube-apiserver translates the protocol; the user gets %s", req.name, t.got)
		case smuggled:
			f.note("%s: proxied, like every upgrade after a 101; the client must refuse it", req.name)
		default:
			f.note("%s: refused; the user gets %s", req.name, t.got)
		}
	}
	return nil
}
