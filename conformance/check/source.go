package check

import (
	"context"
	"fmt"
	"net"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"fauxlet/conformance/stage"
)

// sourceOf states which pod or Node of the cluster has the address from which a connection came. For a tunnel, such as
// konnectivity, this is the pod or node of the tunnel's agent. The result is empty if none has it, or if the user may
// not list pods and Nodes.
func (r *run) sourceOf(ctx context.Context, remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return ""
	}
	pods, err := r.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("status.podIP", host).String()})
	if err == nil && len(pods.Items) > 0 {
		pod := pods.Items[0]
		return fmt.Sprintf("the address of the pod %s/%s", pod.Namespace, pod.Name)
	}
	// The Nodes of this run have an address of this machine.
	nodes, err := r.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: "!" + stage.RunLabel})
	if err != nil {
		return ""
	}
	for i := range nodes.Items {
		for _, address := range nodes.Items[i].Status.Addresses {
			if address.Address == host {
				return "an address of the node " + nodes.Items[i].Name
			}
		}
	}
	return ""
}
