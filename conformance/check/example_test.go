package check_test

import (
	"context"
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"

	"fauxlet/conformance"
	"fauxlet/conformance/check"
)

// Run checks the kube-apiserver of a kubeconfig. The machine must be reachable from the kube-apiserver.
func ExampleRun() {
	cluster, err := clientcmd.BuildConfigFromFlags("", "admin.conf")
	if err != nil {
		fmt.Println(err)
		return
	}
	checks, err := check.Select(check.Checks(), []string{"reach", "client"})
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := check.Run(context.Background(), check.Options{Cluster: cluster, Checks: checks})
	if err != nil {
		fmt.Println(err)
		return
	}
	if report.Count(conformance.Fail) > 0 {
		_ = report.Write(os.Stdout, "table")
	}
}
