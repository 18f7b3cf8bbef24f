package faults

import (
	"fmt"
	"slices"
	"strings"
)

// The kinds of fault.
const (
	ServingCertificate  = "serving-certificate"
	ConnectionRefused   = "connection-refused"
	ConnectionReset     = "connection-reset"
	ConnectionBlackHole = "connection-black-hole"
	SlowHandshake       = "slow-handshake"
	SlowFirstByte       = "slow-first-byte"
	SlowBody            = "slow-body"
	Cut                 = "cut"
	Status              = "status"
	ReviewerDown        = "reviewer-down"
	ReviewerSlow        = "reviewer-slow"
	ReviewerWrong       = "reviewer-wrong"
	ReviewerRevoking    = "reviewer-revoking"
	CachesFlushed       = "caches-flushed"
	ClockSkew           = "clock-skew"
	MemoryHeavy         = "memory-heavy"
)

// Kind is a way to misbehave, named as its cause.
type Kind struct {
	Name string
	// Explains says what it stands for, and what it does.
	Explains string
	// Requires and Allows are the fields of a [Fault], by their names in JSON, that it must have and that it may have beside
	// name, kind and node.
	Requires, Allows []string
}

// What a kind may be scoped by, beside the node.
var (
	some    = []string{"count", "share", "seed"}
	request = append([]string{"route", "method", "user", "group", "namespace", "pod", "container"}, some...)
	reviews = append([]string{"review", "user", "group"}, some...)
)

var kinds = []Kind{
	{Name: ServingCertificate, Requires: []string{"certificate"}, Allows: some,
		Explains: "the kubelet's serving certificate is not one that clients should accept: handshakes are answered with one of the kind `certificate`, for the node's name and the address that was dialled"},
	{Name: ConnectionRefused,
		Explains: "no kubelet runs: nothing listens on the secure port and the read-only one"},
	{Name: ConnectionReset, Allows: some,
		Explains: "a firewall or a load balancer rejects the client: a connection to the secure port is reset as soon as it is made"},
	{Name: ConnectionBlackHole, Allows: some,
		Explains: "the kubelet hangs, or packets are lost: a connection to the secure port is made, and nothing ever comes over it"},
	{Name: SlowHandshake, Requires: []string{"delay"}, Allows: some,
		Explains: "the node has no CPU left, or the way to it is bad: the TLS handshake is answered after `delay`"},
	{Name: SlowFirstByte, Requires: []string{"delay"}, Allows: request,
		Explains: "the container runtime is slow: a request that may pass is begun to be answered after `delay`"},
	{Name: SlowBody, Requires: []string{"rate"}, Allows: request,
		Explains: "the line is thin, or the disk is slow: an answer, a log or what a stream brings the client comes at `rate` bytes a second"},
	{Name: Cut, Allows: append([]string{"after"}, request...),
		Explains: "the node or the way to it goes away in the middle: an answer, a log or a stream ends after `after` bytes, without an end"},
	{Name: Status, Requires: []string{"status"}, Allows: append([]string{"body"}, request...),
		Explains: "the kubelet or its runtime fails: a request that may pass is answered with `status` and `body`"},
	{Name: ReviewerDown, Allows: reviews,
		Explains: "the apiserver that reviews tokens and access cannot be reached: connections to it are refused"},
	{Name: ReviewerSlow, Requires: []string{"delay"}, Allows: reviews,
		Explains: "the apiserver that reviews tokens and access has too much to do: a review is sent after `delay`"},
	{Name: ReviewerWrong, Allows: append([]string{"answer", "as"}, reviews...),
		Explains: "the apiserver reviews by other tokens or other RBAC than it should: it says no to all (`answer: deny`), or takes a token for that of the user `as` (`answer: other-user`)"},
	{Name: ReviewerRevoking, Allows: reviews,
		Explains: "a token or a right is revoked: what the reviewer has said yes to once, it says no to from then on; what is remembered of the yes still holds"},
	{Name: CachesFlushed,
		Explains: "the kubelet has just been started: nothing is remembered of certificates, tokens and rights, and each request is asked about anew"},
	{Name: ClockSkew, Requires: []string{"skew"},
		Explains: "the node's clock is wrong by `skew`: the validity of client certificates, the Date header, the times of logs and measurements are those of that clock"},
	{Name: MemoryHeavy, Requires: []string{"memory"}, Allows: []string{"namespace", "pod", "container"},
		Explains: "containers use more memory than they should: /stats/summary, /metrics/resource and /metrics/cadvisor tell `memory` of each, or its limit where that is less"},
}

// Kinds lists the kinds: of connections first, then of answers, of reviewers, of the node.
func Kinds() []Kind { return slices.Clone(kinds) }

// KindNamed finds a kind. The error lists those that there are.
func KindNamed(name string) (Kind, error) {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		if k.Name == name {
			return k, nil
		}
		names[i] = k.Name
	}
	return Kind{}, fmt.Errorf("%q is no kind of fault; there are %s", name, strings.Join(names, ", "))
}
