package stage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

const (
	// removeTimeout bounds the removal of a run's objects.
	removeTimeout = 30 * time.Second
	// pollInterval is the pause between two reads of an object's state.
	pollInterval = 100 * time.Millisecond
	// namespaceControllerDelay is the time to wait for a namespace controller to start the deletion of a namespace's
	// contents.
	namespaceControllerDelay = 500 * time.Millisecond
)

// ownedObjects are the cluster-scoped objects of one or more runs.
type ownedObjects struct {
	namespaces []v1.Namespace
	nodes      []v1.Node
	requests   []certificatesv1.CertificateSigningRequest
}

// findOwned lists the objects of a run, or of all runs if id is empty. It ignores objects with the run's label whose
// names do not belong to the run, because fauxlet did not create them.
func findOwned(ctx context.Context, client *kubernetes.Clientset, id string) (*ownedObjects, error) {
	options := metav1.ListOptions{LabelSelector: runLabel}
	if id != "" {
		options.LabelSelector += "=" + id
	}
	namespaces, err := client.CoreV1().Namespaces().List(ctx, options)
	if err != nil {
		return nil, err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, options)
	if err != nil {
		return nil, err
	}
	requests, err := client.CertificatesV1().CertificateSigningRequests().List(ctx, options)
	if err != nil {
		return nil, err
	}
	return &ownedObjects{
		namespaces: slices.DeleteFunc(namespaces.Items, func(n v1.Namespace) bool { return !isOwned(&n) }),
		nodes:      slices.DeleteFunc(nodes.Items, func(n v1.Node) bool { return !isOwned(&n) }),
		requests: slices.DeleteFunc(requests.Items, func(r certificatesv1.CertificateSigningRequest) bool {
			return !isOwned(&r)
		}),
	}, nil
}

func isOwned(o metav1.Object) bool {
	id := o.GetLabels()[runLabel]
	return id != "" && (o.GetName() == nameOf(id) || strings.HasPrefix(o.GetName(), nameOf(id)+"-"))
}

// each calls visit with every object and its kind.
func (o *ownedObjects) each(visit func(kind string, object metav1.Object)) {
	for i := range o.nodes {
		visit("node", &o.nodes[i])
	}
	for i := range o.requests {
		visit("certificatesigningrequest", &o.requests[i])
	}
	for i := range o.namespaces {
		visit("namespace", &o.namespaces[i])
	}
}

// names returns the kind and name of every object, as text.
func (o *ownedObjects) names() []string {
	var all []string
	o.each(func(kind string, object metav1.Object) {
		all = append(all, fmt.Sprintf("%s %s", kind, object.GetName()))
	})
	return all
}

// remove deletes all objects of a run. It finds the objects by the run's label, deletes them by UID, and repeats
// both steps until no object is left or the timeout has passed. It returns the remaining objects and the last error.
func remove(ctx context.Context, client *kubernetes.Clientset, id string) (notRemoved []string) {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	var namespaceDeleted time.Time
	for {
		all, err := findOwned(ctx, client, id)
		if err == nil {
			if len(all.names()) == 0 {
				return nil
			}
			err = all.delete(ctx, client, &namespaceDeleted)
		}
		select {
		case <-ctx.Done():
			switch {
			case all == nil && err != nil:
				return []string{fmt.Sprintf("the objects of run %s: %v", id, err)}
			case err != nil:
				return append(all.names(), err.Error())
			}
			return all.names()
		case <-time.After(pollInterval):
		}
	}
}

// delete deletes the objects. Namespaces come last, because the Lease in a namespace identifies the run.
func (o *ownedObjects) delete(ctx context.Context, client *kubernetes.Clientset, namespaceDeleted *time.Time) error {
	byUID := func(o metav1.Object) metav1.DeleteOptions {
		return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(o.GetUID())}}
	}
	for _, namespace := range o.namespaces {
		pods, err := client.CoreV1().Pods(namespace.Name).List(ctx, metav1.ListOptions{LabelSelector: runLabel})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			options := byUID(&pod)
			options.GracePeriodSeconds = ptr.To(int64(0)) // no kubelet confirms the termination
			if err := client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, options); isFailure(err) {
				return err
			}
		}
	}
	for _, node := range o.nodes {
		if err := client.CoreV1().Nodes().Delete(ctx, node.Name, byUID(&node)); isFailure(err) {
			return err
		}
	}
	for _, request := range o.requests {
		err := client.CertificatesV1().CertificateSigningRequests().Delete(ctx, request.Name, byUID(&request))
		if isFailure(err) {
			return err
		}
	}
	if len(o.nodes)+len(o.requests) > 0 {
		return nil // the caller lists the objects again before it deletes the namespaces
	}
	for _, namespace := range o.namespaces {
		var err error
		switch {
		case namespace.DeletionTimestamp == nil:
			err = client.CoreV1().Namespaces().Delete(ctx, namespace.Name, byUID(&namespace))
			*namespaceDeleted = time.Now()
		case time.Since(*namespaceDeleted) > namespaceControllerDelay:
			err = finalize(ctx, client, &namespace)
		}
		if isFailure(err) {
			return err
		}
	}
	return nil
}

// isFailure reports whether a deletion failed. A deletion has not failed if the object is gone, or if its name now
// belongs to another object.
func isFailure(err error) bool {
	return err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err)
}

// finalize removes the finalizer of a run's namespace. Without a kube-controller-manager the namespace would exist
// forever. finalize does nothing if a kube-controller-manager exists: it has started to delete the namespace, or has
// created objects in it (the default service account, the root CA ConfigMap).
func finalize(ctx context.Context, client *kubernetes.Clientset, namespace *v1.Namespace) error {
	if len(namespace.Status.Conditions) > 0 ||
		!slices.Equal(namespace.Spec.Finalizers, []v1.FinalizerName{v1.FinalizerKubernetes}) {
		return nil
	}
	foreign := metav1.ListOptions{LabelSelector: "!" + runLabel}
	accounts, err := client.CoreV1().ServiceAccounts(namespace.Name).List(ctx, foreign)
	if err != nil {
		return err
	}
	maps, err := client.CoreV1().ConfigMaps(namespace.Name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if len(accounts.Items)+len(maps.Items) > 0 {
		return nil
	}
	for _, deleteAll := range []func(context.Context, metav1.DeleteOptions, metav1.ListOptions) error{
		client.CoreV1().ServiceAccounts(namespace.Name).DeleteCollection,
		client.CoordinationV1().Leases(namespace.Name).DeleteCollection,
	} {
		if err := deleteAll(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: runLabel}); err != nil {
			return err
		}
	}
	namespace = namespace.DeepCopy()
	namespace.Spec.Finalizers = nil
	_, err = client.CoreV1().Namespaces().Finalize(ctx, namespace, metav1.UpdateOptions{})
	return err
}
