package conformance_test

import (
	"fmt"
	"os"

	"fauxlet/conformance"
)

// A Report has the results of all checks of a run. Programs that run checks write it as a table, as JSON or as JUnit
// XML.
func ExampleReport_Write() {
	report := conformance.Report{
		Tool: "fauxlet v0.1.0", Target: "https://192.0.2.10:6443", TargetVersion: "v1.36.3",
		Results: []conformance.Result{
			{ID: "reach.dialled", Title: "kube-apiserver connects to a node", Verdict: conformance.Pass},
			{ID: "client.presented", Title: "kube-apiserver presents a client certificate", Verdict: conformance.Fail,
				Evidence: []string{"no client certificate"}, Flag: "--kubelet-client-certificate",
				Remedy: "set --kubelet-client-certificate and --kubelet-client-key"},
		},
	}
	fmt.Println(report.Count(conformance.Fail), "failed")
	if err := report.Write(os.Stdout, "table"); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1 failed
	// kube-apiserver connects to a node: pass (reach.dialled)
	//
	// kube-apiserver presents a client certificate: FAIL
	//   check:   client.presented
	//   found:   no client certificate
	//   flag:    --kubelet-client-certificate
	//   remedy:  set --kubelet-client-certificate and --kubelet-client-key
	//
	// https://192.0.2.10:6443 in 0s: 1 passed, 1 failed, 0 warned, 0 skipped
}
