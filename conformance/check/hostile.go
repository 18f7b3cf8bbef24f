package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/conformance/hostile"
)

func hostileChecks() []Check {
	all := []Check{
		{ID: "hostile.redirects", Title: "kube-apiserver follows no redirect of a kubelet",
			run: withHostileKubelet("redirect", checkRedirects),
			Proves: "A kubelet cannot redirect kube-apiserver with its credential, or a client that requests an " +
				"upgrade, to itself, another node, kube-apiserver or a metadata service (CVE-2018-1002102, " +
				"CVE-2020-8559)."},
		{ID: "hostile.refused-upgrades", Title: "a connection is not used after a refused upgrade",
			run: withHostileKubelet("refuse", checkSmuggling(hostile.Refuse,
				http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
				http.StatusInternalServerError, http.StatusServiceUnavailable)),
			Proves: "After a kubelet refuses an upgrade, no request of the user reaches the kubelet with " +
				"kube-apiserver's credential (CVE-2018-1002105)."},
		{ID: "hostile.not-switching", Title: "an upgrade that is answered with 200 ends",
			run: withHostileKubelet("noswitch", checkSmuggling(hostile.NotSwitching,
				http.StatusOK, http.StatusNoContent, http.StatusPartialContent)),
			Proves: "If a kubelet answers an upgrade with 200, the user gets an error and the connection is not used."},
		{ID: "hostile.other-protocol", Title: "an upgrade to an unrequested protocol is refused where " +
			"kube-apiserver translates", run: withHostileKubelet("protocol", checkOtherProtocol),
			Proves: "kube-apiserver does not accept a kubelet's 101 for another protocol, and closes the " +
				"connection when the user leaves."},
		{ID: "hostile.headers", Title: "endless headers are cut off",
			run:    withHostileKubelet("headers", checkEndlessHeaders),
			Proves: "For logs, kube-apiserver stops reading endless headers, header lines and interim responses."},
		{ID: "hostile.broken", Title: "a broken response ends the request",
			run: withHostileKubelet("broken", checkBrokenAnswers),
			Proves: "Invalid chunks, wrong lengths, invalid HTTP or TLS, and broken connections neither hang a " +
				"user's request nor leave a connection open."},
		{ID: "hostile.errors", Title: "an endless error message is cut off",
			run:    withHostileKubelet("errors", checkEndlessErrors),
			Proves: "For logs, kube-apiserver reads and passes on only a part of a kubelet's error message."},
		{ID: "hostile.endless-log", Title: "an endless log ends when its user leaves",
			run: withHostileKubelet("endless", checkEndlessLog),
			Proves: "kube-apiserver reads a log no faster than its user, and closes the connection to the kubelet " +
				"when the user leaves."},
		{ID: "hostile.page", Title: "HTML in a log is plain text", run: withHostileKubelet("page", checkPage),
			Proves: "A browser gets the output of a container as plain text, and no headers or cookies of the " +
				"kubelet."},
		{ID: "hostile.slow", Title: "a slow kubelet does not delay other requests",
			run: withHostileKubelet("slow", checkSlow),
			Proves: "While a kubelet responds byte by byte, or not at all, kube-apiserver serves other requests. " +
				"For logs it closes the connection when the user leaves."},
		{ID: "hostile.proxy-address", Title: "nodes/proxy refuses loopback addresses", run: checkProxyToLoopback,
			Proves: "nodes/proxy does not connect to a Node with a loopback address, which would expose services " +
				"on kube-apiserver's machine (CVE-2022-3294)."},
		{ID: "hostile.proxy-redirects", Title: "nodes/proxy follows no redirect", run: checkProxyRedirects,
			Proves: "The same as hostile.redirects for nodes/proxy, which passes redirects on to the client. The " +
				"evidence has the details."},
	}
	for i := range all {
		all[i].remedy = updateRemedy
	}
	return all
}

// A smuggled request is one that a user sends to the kubelet through a connection that kube-apiserver should have
// closed. smuggleTimeout is the time to wait for it to arrive. Usually it arrives after about a millisecond.
const smuggleTimeout = 250 * time.Millisecond

// updateRemedy advises to update a vulnerable kube-apiserver. No flag removes the vulnerability.
const updateRemedy = "# update kube-apiserver; until then do not grant pods/log, pods/exec, pods/attach, " +
	"pods/portforward or nodes/proxy"

// hostileKubelet is a kubelet that misbehaves. The argument "behavior" of its method "try" selects how it misbehaves.
type hostileKubelet struct {
	*kubelet
	recorder *hostile.Kubelet
	before   int // number of connections before the current behavior was set
}

// withHostileKubelet returns the run function of a check with one hostile kubelet, which is closed after the check.
func withHostileKubelet(name string, check func(context.Context, *hostileKubelet, *finding) error) runFunc {
	return func(ctx context.Context, r *run, f *finding) error {
		recorder := &hostile.Kubelet{}
		recorder.Misbehave(ctx, hostile.Silence())
		o := kubeletOptions{node: nodeOptions{name: "hostile-" + name}, raw: recorder.Serve,
			tls: func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }}
		return withKubelet(o, func(ctx context.Context, k *kubelet, f *finding) error {
			return check(ctx, &hostileKubelet{kubelet: k, recorder: recorder}, f)
		})(ctx, r, f)
	}
}

// errNotConnected is the error of the method "try" if the kube-apiserver did not connect to the kubelet.
var errNotConnected = errors.New("kube-apiserver did not connect")

// trial records what happened when a user sent a request while the kubelet misbehaved.
type trial struct {
	what   string // describes the request and the kubelet's behavior, for the report
	got    reply
	visits []hostile.Connection // the connections to the kubelet
	ended  bool                 // all connections ended within the time limit
}

// The method "try" makes the kubelet misbehave and calls the function "send", which sends the request. It then waits
// until the connections to the kubelet have ended, at most for the duration "within", and closes the remaining ones.
// The error wraps errNotConnected if the kube-apiserver did not connect. Any other error means that ctx is done.
func (v *hostileKubelet) try(
	ctx context.Context, req userRequest, behavior hostile.Behavior, within time.Duration, send func() reply,
) (trial, error) {
	playing, stop := context.WithCancel(ctx)
	defer stop()
	v.before = len(v.recorder.Connections())
	v.recorder.Misbehave(playing, behavior)
	t := trial{what: req.name + ", and the kubelet " + behavior.Action, got: send()}
	waiting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	t.visits, t.ended = v.recorder.Wait(waiting, func(all []hostile.Connection) bool {
		return !slices.ContainsFunc(all[v.before:], func(v hostile.Connection) bool { return v.Ended.IsZero() })
	})
	t.visits = t.visits[v.before:]
	err := context.Cause(ctx)
	switch {
	case err != nil || len(t.visits) > 0:
	case t.got.err != nil && t.got.status == 0 && !t.got.hangs: // not even the user had a connection
		err = fmt.Errorf("no response from kube-apiserver: %s: %w", t.what, t.got.err)
	default:
		err = fmt.Errorf("%w: %s; the user got %s", errNotConnected, t.what, t.got)
	}
	return t, err
}

// trySending calls the method "try" with a user who sends the request and waits for the response.
func (v *hostileKubelet) trySending(ctx context.Context, req userRequest, behavior hostile.Behavior) (trial, error) {
	return v.try(ctx, req, behavior, v.run.soon, func() reply { return v.send(ctx, req) })
}

// requests returns the number of requests that the kube-apiserver sent to the kubelet during the trial.
func (t trial) requests() int {
	n := 0
	for _, visit := range t.visits {
		n += 1 + len(visit.More)
	}
	return n
}

// awaitRequest waits, with a time limit, for the kube-apiserver's request to the kubelet.
func (v *hostileKubelet) awaitRequest(ctx context.Context) {
	waiting, cancel := context.WithTimeout(ctx, 3*v.run.soon)
	defer cancel()
	v.recorder.Wait(waiting, func(all []hostile.Connection) bool {
		return len(all) > v.before && all[len(all)-1].Path != ""
	})
}

// closeTimeout returns how long to wait for the kube-apiserver to close its connection to the kubelet after a refused
// upgrade. The time is short if upgradesEarly returns true for the request. For these requests, kube-apiserver v1.37
// closes the connection only when its garbage collector finds the connection, so waiting longer is useless.
func (v *hostileKubelet) closeTimeout(req userRequest) time.Duration {
	if req.upgradesEarly() {
		return 20 * time.Millisecond
	}
	return v.run.soon
}

// otherRequest sends a request that does not involve the hostile kubelet. It returns the response time, or an error
// after a time limit.
func (r *run) otherRequest(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.soon, fmt.Errorf("no response to another request within %v", r.soon))
	defer cancel()
	began := time.Now()
	_, err := r.client.CoreV1().Pods(r.objects.Name()).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		err = orCause(ctx, err)
	}
	return time.Since(began).Round(time.Millisecond), err
}

// orCause returns the cause of ctx if ctx is done, otherwise err.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
