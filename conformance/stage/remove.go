package stage

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

const mergePatch = types.MergePatchType

const (
	// removing is how long removing may take. It has this time after a run was stopped, too.
	removing = 30 * time.Second
	// looking is how long it waits before it looks again whether something is gone.
	looking = 100 * time.Millisecond
	// collected is how long a namespace that is deleted waits for a controller that collects namespaces.
	collected = 500 * time.Millisecond
)

// remove removes all that a run has made, and tells what is left and why. Everything is found by the run's label and
// deleted by its UID. It goes on until nothing is found, or its time is over.
func (p Owner) remove(ctx context.Context, client *kubernetes.Clientset, id string) (left []string) {
	ctx, cancel := context.WithTimeout(ctx, removing)
	defer cancel()
	// deleted is when a namespace was.
	deleted := time.Time{}
	for {
		all, err := p.find(ctx, client, id)
		if err == nil {
			if len(all.names()) == 0 {
				return nil
			}
			err = p.removeOnce(ctx, client, all, &deleted)
		}
		select {
		case <-ctx.Done():
			switch {
			case all == nil && err != nil:
				return append(left, fmt.Sprintf("what run %s has made: %v", id, err))
			case err != nil:
				return append(all.names(), err.Error())
			}
			return all.names()
		case <-time.After(looking):
		}
	}
}

// removeOnce deletes what is there. The namespace is last: the Lease in it says whose the rest is.
func (p Owner) removeOnce(ctx context.Context, client *kubernetes.Clientset, all *owned, deleted *time.Time) error {
	now := ptr.To(int64(0))
	by := func(o metav1.Object) metav1.DeleteOptions {
		return metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(o.GetUID())}}
	}
	for _, namespace := range all.namespaces {
		pods, err := client.CoreV1().Pods(namespace.Name).List(ctx, metav1.ListOptions{LabelSelector: p.label()})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			options := by(&pod)
			options.GracePeriodSeconds = now // there is no kubelet that would end it
			if err := client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, options); isProblem(err) {
				return err
			}
		}
	}
	for _, node := range all.nodes {
		if err := client.CoreV1().Nodes().Delete(ctx, node.Name, by(&node)); isProblem(err) {
			return err
		}
	}
	for _, request := range all.requests {
		if err := client.CertificatesV1().CertificateSigningRequests().Delete(ctx, request.Name, by(&request)); isProblem(err) {
			return err
		}
	}
	if len(all.names()) > len(all.namespaces) {
		return nil // are they gone?
	}
	for _, namespace := range all.namespaces {
		if namespace.DeletionTimestamp == nil {
			if err := client.CoreV1().Namespaces().Delete(ctx, namespace.Name, by(&namespace)); isProblem(err) {
				return err
			}
			*deleted = time.Now()
			continue
		}
		if time.Since(*deleted) > collected {
			if err := p.finalize(ctx, client, &namespace); isProblem(err) {
				return err
			}
		}
	}
	return nil
}

// isProblem says whether an error of a deletion is one. That an object is gone, or that another has its name, is none.
func isProblem(err error) bool {
	return err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err)
}

// finalize ends a namespace of ours that nobody collects: without a kube-controller-manager it would stay forever. It does
// nothing where a controller has begun, or has put something of its own into the namespace, as those that collect
// namespaces do.
func (p Owner) finalize(ctx context.Context, client *kubernetes.Clientset, namespace *v1.Namespace) error {
	if len(namespace.Status.Conditions) > 0 || !slices.Equal(namespace.Spec.Finalizers, []v1.FinalizerName{v1.FinalizerKubernetes}) {
		return nil
	}
	accounts, err := client.CoreV1().ServiceAccounts(namespace.Name).List(ctx, metav1.ListOptions{LabelSelector: "!" + p.label()})
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
	ours := metav1.ListOptions{LabelSelector: p.label()}
	for _, empty := range []func(context.Context, metav1.DeleteOptions, metav1.ListOptions) error{
		client.CoreV1().ServiceAccounts(namespace.Name).DeleteCollection,
		client.CoordinationV1().Leases(namespace.Name).DeleteCollection,
	} {
		if err := empty(ctx, metav1.DeleteOptions{}, ours); err != nil {
			return err
		}
	}
	namespace = namespace.DeepCopy()
	namespace.Spec.Finalizers = nil
	_, err = client.CoreV1().Namespaces().Finalize(ctx, namespace, metav1.UpdateOptions{})
	return err
}
