package check

import (
	"context"
	"fmt"

	"fauxlet/conformance"
)

func reachChecks() []Check {
	return []Check{
		{
			ID: "reach.dialled", Title: "a node is dialled", Flag: "--node-ip",
			Proves: "kube-apiserver connects with the address and port of a Node, through whatever is between the two.",
			run:    checkDialled,
		},
	}
}

func checkDialled(ctx context.Context, r *run) (conformance.Result, error) {
	k, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: "dialled"}})
	if err != nil {
		return conformance.Result{}, err
	}
	defer k.Close()
	got := k.logsInsecurely(ctx)
	seen := k.seen()
	if len(seen) == 0 {
		return fail(fmt.Sprintf("kube-apiserver did not come to %s: %s", k.address(), got.said()),
			"--node-ip ADDRESS # of fauxlet check: one of this machine that kube-apiserver can reach", "listened on "+k.address(), "answered: "+got.said()), nil
	}
	return pass(fmt.Sprintf("listened on %s, dialled from %s", k.address(), seen[0].Remote)), nil
}
