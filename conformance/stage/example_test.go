package stage_test

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"fauxlet/conformance/stage"
)

// A Stage creates a Node with a pod for the time of a test, and removes both at its end.
func Example() {
	cluster, err := clientcmd.BuildConfigFromFlags("", "admin.conf")
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := stage.New(cluster, kubernetes.NewForConfigOrDie(cluster), func(notice string) { fmt.Println(notice) })
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		for _, object := range s.Teardown(context.Background()) {
			fmt.Println("not removed:", object)
		}
	}()
	ctx, err := s.Setup(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	node, err := s.CreateNode(ctx, "a", v1.NodeStatus{Addresses: stage.AddressesOfEveryType("192.0.2.7"),
		DaemonEndpoints: v1.NodeDaemonEndpoints{KubeletEndpoint: v1.DaemonEndpoint{Port: 10250}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := s.CreatePod(ctx, node.Name); err != nil {
		fmt.Println(err)
	}
}
