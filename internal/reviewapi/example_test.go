package reviewapi_test

import (
	"context"
	"fmt"
	"log"
	"net"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fauxlet/internal/reviewapi"
)

// A kubelet sends a SubjectAccessReview about kubelet-client's access to nodes/proxy. The server answers it from
// RBAC manifests.
func Example() {
	server, err := reviewapi.New(reviewapi.Options{RBAC: []string{"testdata/rbac.yaml"}})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- server.Serve(ctx, listener) }()

	client, err := kubernetes.NewForConfig(server.RESTConfig(listener.Addr().String()))
	if err != nil {
		log.Fatal(err)
	}
	answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: "kubelet-client",
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "nodes",
				Subresource: "proxy", Name: "node-1"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Status.Allowed, answer.Status.Reason)

	stop()
	fmt.Println(<-served)
	// Output:
	// true RBAC: allowed by ClusterRoleBinding "kubelet-client" of ClusterRole "system:kubelet-api-admin" to User "kubelet-client"
	// <nil>
}
