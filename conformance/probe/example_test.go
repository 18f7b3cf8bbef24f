package probe_test

import (
	"context"
	"fmt"

	kubeletconfig "k8s.io/kubelet/config/v1beta1"

	"fauxlet/conformance/probe"
	"fauxlet/kubelettest"
)

// Run probes a kubelet, and reports what an unknown client may do. Here the kubelet is a stand-in that lets anonymous
// users do everything.
func ExampleRun() {
	k, err := kubelettest.Start(kubelettest.WithConfig(func(c *kubeletconfig.KubeletConfiguration) {
		anonymous := true
		c.Authentication.Anonymous.Enabled = &anonymous
		c.Authorization.Mode = "AlwaysAllow"
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer k.Close()
	target, err := probe.ParseTarget(k.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := probe.Run(context.Background(), probe.Options{Target: target})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, finding := range report.Findings {
		fmt.Println(finding.Severity, finding.ID)
	}
	// Output:
	// critical anonymous-runs
	// high always-allow
}
