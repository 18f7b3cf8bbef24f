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
			ID: "hostile.redirects", Title: "no redirect of a kubelet is followed", Needs: needs, run: checkRedirects,
			Proves: "A kubelet cannot send kube-apiserver, with its credential, to itself, another node, kube-apiserver or a metadata service, nor an upgrading client (CVE-2018-1002102, CVE-2020-8559).",
		},
		{
			ID: "hostile.refused-upgrades", Title: "nothing goes by a connection whose upgrade was refused", Needs: needs, run: checkRefusedUpgrades,
			Proves: "After an upgrade that a kubelet answers with an error no request of a user reaches the kubelet with kube-apiserver's credential (CVE-2018-1002105).",
		},
		{
			ID: "hostile.not-switching", Title: "an upgrade that is none ends", Needs: needs, run: checkNotSwitching,
			Proves: "A kubelet that answers an upgrade with 200 and goes on talking is an error for the user, and talks to nobody.",
		},
		{
			ID: "hostile.other-protocol", Title: "an upgrade to another protocol is refused where kube-apiserver speaks it", Needs: needs, run: checkOtherProtocol,
			Proves: "kube-apiserver does not take a kubelet's 101 for another protocol as its own, and ends the connection with the user's.",
		},
		{
			ID: "hostile.headers", Title: "headers without an end are not read without an end", Needs: needs, run: checkEndlessHeaders,
			Proves: "Headers, one header line and interim responses that do not end are cut off, for logs.",
		},
		{
			ID: "hostile.broken", Title: "an answer that breaks off ends the request", Needs: needs, run: checkBrokenAnswers,
			Proves: "Bad chunks, wrong lengths, no HTTP, no TLS and cut connections neither hang a user's request nor leave a connection open.",
		},
		{
			ID: "hostile.errors", Title: "an error without an end is not passed on without an end", Needs: needs, run: checkEndlessErrors,
			Proves: "Of the words of a kubelet's error for logs only a part is read and passed on.",
		},
		{
			ID: "hostile.endless-log", Title: "a log without an end ends with its user", Needs: needs, run: checkEndlessLog,
			Proves: "kube-apiserver reads a log no faster than its user does, and closes the connection to the kubelet when the user goes.",
		},
		{
			ID: "hostile.page", Title: "HTML in a log is no page", Needs: needs, run: checkPage,
			Proves: "What a container writes reaches a browser as plain text, and a kubelet's headers and cookies do not.",
		},
		{
			ID: "hostile.slow", Title: "a slow kubelet keeps nobody else waiting", Needs: needs, run: checkSlow,
			Proves: "While a kubelet answers byte by byte, or not at all, kube-apiserver answers others, and leaves with its user.",
		},
		{
			ID: "hostile.proxy-address", Title: "nodes/proxy does not go where a Node must not be", Needs: needs, run: checkProxyToLoopback,
			Proves: "A Node that says its address is loopback or link-local does not make nodes/proxy a way to what listens beside kube-apiserver (CVE-2022-3294).",
		},
		{
			ID: "hostile.proxy-redirects", Title: "no redirect is followed by nodes/proxy", Needs: needs, run: checkProxyRedirects,
			Proves: "The same as hostile.redirects for nodes/proxy, which passes on what it gets; the evidence has how.",
		},
	}
}

// pushing is how long a further request is waited for, which is on its way for a millisecond.
const pushing = 250 * time.Millisecond

// upgrade is the remedy for an apiserver with a hole: no flag closes one.
const upgrade = "# kube-apiserver has to be updated; until then nobody may be given pods/log, pods/exec, pods/attach, pods/portforward, nodes/proxy"

// villain is a kubelet that misbehaves. How is said by play.
type villain struct {
	*kubelet
	saw *hostile.Kubelet

	mu       sync.Mutex
	behavior hostile.Behavior
	playing  context.Context
	before   int // visits there were before this behavior
}

// villain listens as a kubelet that misbehaves, and registers its Node.
func (r *run) villain(ctx context.Context, name string) (*villain, error) {
	v := &villain{playing: ctx}
	v.saw = &hostile.Kubelet{Choose: func(*http.Request) hostile.Behavior {
		_, behavior := v.now()
		return behavior
	}}
	var err error
	v.kubelet, err = r.kubelet(ctx, kubeletOptions{
		node: nodeOptions{name: "hostile-" + name},
		tls:  func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} },
		raw: func(c *tls.Conn) {
			playing, _ := v.now()
			v.saw.Serve(playing, c)
		},
	})
	return v, err
}

func (v *villain) now() (context.Context, hostile.Behavior) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.playing, v.behavior
}

// play has the kubelet answer in a behavior while do asks the apiserver for something, and gives the connections that came
// meanwhile. They have all ended, by themselves within the time for it, or else by the kubelet.
func (v *villain) play(ctx context.Context, behavior hostile.Behavior, within time.Duration, do func()) (visits []hostile.Connection, ended bool) {
	playing, stop := context.WithCancel(ctx)
	defer stop()
	v.mu.Lock()
	v.behavior, v.playing, v.before = behavior, playing, len(v.saw.Connections())
	v.mu.Unlock()
	do()
	waiting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	all, ended := v.saw.Wait(waiting, func(all []hostile.Connection) bool {
		return !slices.ContainsFunc(all[v.before:], func(v hostile.Connection) bool { return v.Ended.IsZero() })
	})
	return all[v.before:], ended
}

// patience is how long a kubelet waits for the end of a connection whose upgrade it refused. Where a kube-apiserver v1.37
// translates, it forgets to close one, which stays open until its memory is collected; no more can come by it.
func (v *villain) patience(way road) time.Duration {
	if way.opensFirst() {
		return 20 * time.Millisecond
	}
	return v.run.soon
}

// meanwhile asks the apiserver for something else, as others do, and says how long that took. The answer comes soon, or
// the error says that it does not.
func (r *run) meanwhile(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.soon, fmt.Errorf("no answer to another request within %v", r.soon))
	defer cancel()
	began := time.Now()
	_, err := r.client.CoreV1().Pods(r.objects.Name()).List(ctx, metav1.ListOptions{Limit: 1})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return time.Since(began), err
}

// finding collects what a check of several cases finds.
type finding struct {
	evidence []string
	wrong    []string
}

// saw is evidence.
func (f *finding) saw(format string, args ...any) {
	f.evidence = append(f.evidence, fmt.Sprintf(format, args...))
}

// blames says that something is wrong.
func (f *finding) blames(format string, args ...any) {
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
}

// enough says that there is no need to look for more that is wrong.
func (f *finding) enough() bool { return len(f.wrong) >= most }

// cut is the result where the check could not come to its end: of what is wrong so far, or of nothing.
func (f *finding) cut(remedy string, err error) (conformance.Result, error) {
	if len(f.wrong) == 0 {
		return conformance.Result{}, err
	}
	return f.result(remedy), nil
}

// most is how much that is wrong is shown.
const most = 4

// result is fail with the first that is wrong, and the others as evidence, or pass.
func (f *finding) result(remedy string) conformance.Result {
	if len(f.wrong) == 0 {
		return pass(f.evidence...)
	}
	return fail(f.wrong[0], remedy, append(slices.Clip(f.wrong[1:]), f.evidence...)...)
}
