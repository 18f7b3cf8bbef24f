// Package check checks how a kube-apiserver connects to kubelets: which of its kubelet flags are right, which are
// missing, and what works but is unsafe.
//
// It registers short-lived Nodes with a pod each, listens in place of their kubelets, and requests logs and streams
// through the public API. It then looks at both sides: the connection to the kubelet, and the response to the API
// client. It reads nothing from the machine of the kube-apiserver.
//
// # A check
//
// A check is one [Check] in a table; [Checks] returns the table. Its run function returns a result ([pass], [fail],
// [warn] or [skip]), or an error if it could not complete, for example because an API request failed or no response
// came ([logResponse.text]). An error of the type [skipped] skips the check. Needs names the checks that must pass
// first, so that one mistake fails one check. Checks run concurrently and must not depend on checks that they do not
// need.
//
// # Building blocks
//
//   - [run.node] creates a Node with a pod. [nodeOptions] set its addresses and port.
//   - [run.kubelet] listens as a kubelet and registers a Node for it. [kubeletOptions] set the certificate and the
//     handler. By default it is a stand-in (package server) that allows everything, with an accepted serving
//     certificate. The caller closes it.
//   - [run.hostileKubelet] listens as a kubelet that misbehaves (package hostile), with one behavior at a time.
//   - [node.logs] requests a log with client-go. [node.send] sends a [userRequest] and returns the raw [reply].
//   - [kubelet.observed] returns what was [observed] of all connections to the kubelet. [kubelet.await] waits for a
//     state.
//
// The objects are deleted when the run ends.
package check

import (
	"context"
	"slices"

	"fauxlet/conformance"
)

// Check is one check of a kube-apiserver.
type Check struct {
	// ID is the group and the name: reach.dialled.
	ID string
	// Title is a few words that are true if the check passes.
	Title string
	// Flag is the kube-apiserver flag, or another setting, that the check is about. May be empty.
	Flag string
	// Proves is a sentence for the documentation: what a pass proves.
	Proves string
	// Needs are the IDs of checks that must pass first.
	Needs []string

	run func(ctx context.Context, r *run) (conformance.Result, error)
}

// Checks returns all checks in the order of the report.
func Checks() []Check {
	return slices.Concat(
		reachChecks(),
		clientChecks(),
		rightsChecks(),
		servingChecks(),
		tlsChecks(),
		streamChecks(),
		hostileChecks(),
		afterChecks(),
	)
}

// pass returns the result of a check that found no problem.
func pass(evidence ...string) conformance.Result {
	return conformance.Result{Verdict: conformance.Pass, Evidence: evidence}
}

// fail returns the result of a failed check. The reason is a sentence without a full stop. The remedy is text that
// can be pasted.
func fail(reason, remedy string, evidence ...string) conformance.Result {
	return conformance.Result{Verdict: conformance.Fail, Reason: reason, Remedy: remedy, Evidence: evidence}
}

// warn returns the result of a check that found a working configuration that is unsafe or will stop working.
func warn(reason, remedy string, evidence ...string) conformance.Result {
	return conformance.Result{Verdict: conformance.Warn, Reason: reason, Remedy: remedy, Evidence: evidence}
}

// skip returns the result of a check that cannot reach a verdict.
func skip(reason string, evidence ...string) conformance.Result {
	return conformance.Result{Verdict: conformance.Skipped, Reason: reason, Evidence: evidence}
}
