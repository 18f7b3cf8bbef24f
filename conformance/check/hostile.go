package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/conformance"
	"fauxlet/conformance/hostile"
)

func hostileChecks() []Check {
	needs := []string{"reach.dialled"}
	return []Check{
		{
			ID: "hostile.redirects", Title: "kube-apiserver follows no redirect of a kubelet", Needs: needs,
			run: withHostileKubelet("redirect", updateRemedy, checkRedirects),
			Proves: "A kubelet cannot redirect kube-apiserver with its credential, or a client that requests an " +
				"upgrade, to itself, another node, kube-apiserver or a metadata service (CVE-2018-1002102, " +
				"CVE-2020-8559).",
		},
		{
			ID: "hostile.refused-upgrades", Title: "a connection is not used after a refused " +
				"upgrade", Needs: needs, run: checkRefusedUpgrades,
			Proves: "After a kubelet refuses an upgrade, no request of the user reaches the kubelet with " +
				"kube-apiserver's credential (CVE-2018-1002105).",
		},
		{
			ID: "hostile.not-switching", Title: "an upgrade that is answered with 200 ends", Needs: needs,
			run:    checkNotSwitching,
			Proves: "If a kubelet answers an upgrade with 200, the user gets an error and the connection is not used.",
		},
		{
			ID: "hostile.other-protocol", Title: "an upgrade to an unrequested protocol is refused where " +
				"kube-apiserver translates", Needs: needs,
			run: withHostileKubelet("protocol", updateRemedy, checkOtherProtocol),
			Proves: "kube-apiserver does not accept a kubelet's 101 for another protocol, and closes the " +
				"connection when the user leaves.",
		},
		{
			ID: "hostile.headers", Title: "endless headers are cut off", Needs: needs,
			run:    withHostileKubelet("headers", updateRemedy, checkEndlessHeaders),
			Proves: "For logs, kube-apiserver stops reading endless headers, header lines and interim responses.",
		},
		{
			ID: "hostile.broken", Title: "a broken response ends the request", Needs: needs,
			run: withHostileKubelet("broken", updateRemedy, checkBrokenAnswers),
			Proves: "Invalid chunks, wrong lengths, invalid HTTP or TLS, and broken connections neither hang a " +
				"user's request nor leave a connection open.",
		},
		{
			ID: "hostile.errors", Title: "an endless error message is cut off", Needs: needs,
			run:    withHostileKubelet("errors", updateRemedy, checkEndlessErrors),
			Proves: "For logs, kube-apiserver reads and passes on only a part of a kubelet's error message.",
		},
		{
			ID: "hostile.endless-log", Title: "an endless log ends when its user leaves", Needs: needs,
			run: withHostileKubelet("endless", updateRemedy, checkEndlessLog),
			Proves: "kube-apiserver reads a log no faster than its user, and closes the connection to the kubelet " +
				"when the user leaves.",
		},
		{
			ID: "hostile.page", Title: "HTML in a log is plain text", Needs: needs,
			run:    withHostileKubelet("page", updateRemedy, checkPage),
			Proves: "A browser gets the output of a container as plain text, and no headers or cookies of the kubelet.",
		},
		{
			ID: "hostile.slow", Title: "a slow kubelet does not delay other requests", Needs: needs,
			run: withHostileKubelet("slow", updateRemedy, checkSlow),
			Proves: "While a kubelet responds byte by byte, or not at all, kube-apiserver serves other requests. " +
				"For logs it closes the connection when the user leaves.",
		},
		{
			ID: "hostile.proxy-address", Title: "nodes/proxy refuses loopback addresses", Needs: needs,
			run: checkProxyToLoopback,
			Proves: "nodes/proxy does not connect to a Node with a loopback address, which would expose services " +
				"on kube-apiserver's machine (CVE-2022-3294).",
		},
		{
			ID: "hostile.proxy-redirects", Title: "nodes/proxy follows no redirect", Needs: needs,
			run: checkProxyRedirects,
			Proves: "The same as hostile.redirects for nodes/proxy, which passes redirects on to the client. The " +
				"evidence has the details.",
		},
	}
}

// smuggleTimeout is the time to wait for a smuggled request, which takes about a millisecond.
const smuggleTimeout = 250 * time.Millisecond

// updateRemedy is the remedy for a vulnerable kube-apiserver: an update, because no flag protects it.
const updateRemedy = "# update kube-apiserver; until then do not grant pods/log, pods/exec, pods/attach, " +
	"pods/portforward or nodes/proxy"

// hostileKubelet is a kubelet that misbehaves. Its method during sets the current behavior.
type hostileKubelet struct {
	*kubelet
	recorder *hostile.Kubelet

	mu       sync.Mutex
	behavior hostile.Behavior
	playing  context.Context
	before   int // number of connections before the current behavior was set
}

// hostileKubelet starts a kubelet that misbehaves and creates its Node. The caller closes it.
func (r *run) hostileKubelet(ctx context.Context, name string) (*hostileKubelet, error) {
	v := &hostileKubelet{playing: ctx}
	v.recorder = &hostile.Kubelet{Choose: func(*http.Request) hostile.Behavior {
		_, behavior := v.now()
		return behavior
	}}
	var err error
	v.kubelet, err = r.kubelet(ctx, kubeletOptions{
		node: nodeOptions{name: "hostile-" + name},
		tls:  func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
		raw: func(c *tls.Conn) {
			playing, _ := v.now()
			v.recorder.Serve(playing, c)
		},
	})
	return v, err
}

func (v *hostileKubelet) now() (context.Context, hostile.Behavior) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.playing, v.behavior
}

// during sets a behavior, calls do, and returns the connections that have arrived since then. ended reports whether
// all these connections ended within the time limit. Connections that are still open are then closed.
func (v *hostileKubelet) during(
	ctx context.Context,
	behavior hostile.Behavior,
	within time.Duration,
	do func(),
) (visits []hostile.Connection, ended bool) {
	playing, stop := context.WithCancel(ctx)
	defer stop()
	v.mu.Lock()
	v.behavior, v.playing, v.before = behavior, playing, len(v.recorder.Connections())
	v.mu.Unlock()
	do()
	waiting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	all, ended := v.recorder.Wait(waiting, func(all []hostile.Connection) bool {
		return !slices.ContainsFunc(all[v.before:], func(v hostile.Connection) bool { return v.Ended.IsZero() })
	})
	return all[v.before:], ended
}

// closeTimeout is the time to wait until the kube-apiserver closes a connection after a refused upgrade. If a
// kube-apiserver v1.37 translates the protocol, it neither uses nor closes the connection until garbage collection
// closes it.
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
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return time.Since(began), err
}

// finding collects the evidence and the problems that the cases of one check find.
type finding struct {
	evidence []string
	problems []string
}

// note adds a line of evidence.
func (f *finding) note(format string, args ...any) {
	f.evidence = append(f.evidence, fmt.Sprintf(format, args...))
}

// problem adds a problem, which makes the check fail.
func (f *finding) problem(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// enough reports whether there are enough problems to stop.
func (f *finding) enough() bool { return len(f.problems) >= maxProblems }

// interrupted returns the result of a check that did not complete: a failure with the problems so far, or the error.
func (f *finding) interrupted(remedy string, err error) (conformance.Result, error) {
	if len(f.problems) == 0 {
		return conformance.Result{}, err
	}
	return f.result(remedy), nil
}

// maxProblems limits the number of reported problems.
const maxProblems = 4

// result returns a failure with the first problem as its reason and the others as evidence, or a pass.
func (f *finding) result(remedy string) conformance.Result {
	if len(f.problems) == 0 {
		return pass(f.evidence...)
	}
	return fail(f.problems[0], remedy, append(slices.Clip(f.problems[1:]), f.evidence...)...)
}

// withHostileKubelet returns a check function that collects its finding with a hostile kubelet. If the function
// returns an error, the check fails with the problems found so far. If there are none, it does not complete.
func withHostileKubelet(
	name, remedy string, collect func(context.Context, *hostileKubelet, *finding) error,
) func(context.Context, *run) (conformance.Result, error) {
	return func(ctx context.Context, r *run) (conformance.Result, error) {
		v, err := r.hostileKubelet(ctx, name)
		if err != nil {
			return conformance.Result{}, err
		}
		defer v.Close()
		var f finding
		if err := collect(ctx, v, &f); err != nil {
			return f.interrupted(remedy, err)
		}
		return f.result(remedy), nil
	}
}
