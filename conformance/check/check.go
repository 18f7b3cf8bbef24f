// Package check finds out whether a kube-apiserver's way to the kubelets is in order: which of its kubelet flags are right,
// which are missing, and what is unsafe though it works.
//
// It listens in the place of kubelets, registers short-lived Nodes with pods bound to them, asks the apiserver through its
// public API for what it must fetch from a kubelet, and looks at both ends: how the apiserver came, and what it then said
// to its own client. Nothing is read from the apiserver's machine.
//
// # A check
//
// Each is one [Check] in a table; [Checks] has all of them. Its run function gets a run and gives a result by [pass],
// [fail], [warn] or [skip], or an error, for what kept it from coming to its end (an API request that failed, a time that
// was over): that is no verdict about the apiserver, and neither is an answer that never came, which [answer.told] gives
// as an error. An error that is a [skipped] skips the check. Whatever has to hold before the check can say anything about its own
// flag, it names in Needs: where that did not pass, it is skipped, so that one mistake makes one check fail. Checks run side
// by side; nothing they do may depend on another that they do not need.
//
// # What a check works with
//
//   - [run.node] makes a Node with a pod on it, where [nodeOptions] say what its addresses and port are;
//   - [run.kubelet] listens as a kubelet ([kubeletOptions]: which certificate, which handler, or bytes by hand), and
//     registers such a Node for itself. Close it when done. Without options it is a stand-in of package server that lets
//     everybody do everything, with the serving certificate that the apiserver accepts;
//   - [run.villain] listens as a kubelet that misbehaves (package hostile), and plays one behavior at a time;
//   - [node.take] takes a [road], a request for a log or for a stream, and gives what comes of it on the wire;
//   - [node.logs] and its like in asks.go ask the apiserver, and give its [answer];
//   - [kubelet.seen] is what was [seen] of the connections that came, their handshakes and requests; [kubelet.await] waits
//     until it is as wanted.
//
// Objects are removed when the run ends, whether a check removed them before or not.
package check

import (
	"context"
	"slices"

	"fauxlet/conformance"
)

// Check is one question about an apiserver.
type Check struct {
	// ID is its name, after the group that it belongs to: reach.dialled.
	ID string
	// Title says in a few words what holds when it passes.
	Title string
	// Flag is what it is about: kube-apiserver's flag, or what else has to be set.
	Flag string
	// Proves is a sentence for the documentation: what is known when it has passed.
	Proves string
	// Needs are the checks without which nothing can be said.
	Needs []string

	run func(ctx context.Context, r *run) (conformance.Result, error)
}

// Checks are all checks, in the order in which they are reported.
func Checks() []Check {
	return slices.Concat(reachChecks(), clientChecks(), rightsChecks(), servingChecks(), tlsChecks(), streamChecks(), hostileChecks(), afterChecks())
}

// pass is the result of a check that found what it wanted.
func pass(evidence ...string) conformance.Result {
	return conformance.Result{Verdict: conformance.Pass, Evidence: evidence}
}

// fail is the result of a check that did not. Why is a sentence without a full stop; the remedy can be pasted.
func fail(why, remedy string, evidence ...string) conformance.Result {
	return conformance.Result{Verdict: conformance.Fail, Reason: why, Remedy: remedy, Evidence: evidence}
}

// warn is the result of a check that found what works and should not be so.
func warn(why, remedy string, evidence ...string) conformance.Result {
	return conformance.Result{Verdict: conformance.Warn, Reason: why, Remedy: remedy, Evidence: evidence}
}

// skip is the result of a check that cannot say anything.
func skip(why string, evidence ...string) conformance.Result {
	return conformance.Result{Verdict: conformance.Skipped, Reason: why, Evidence: evidence}
}
