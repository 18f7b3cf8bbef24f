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
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

const (
	// removeTimeout is the maximum duration of the removal of a run's objects.
	removeTimeout = 30 * time.Second
	// pollInterval is the pause between two reads of an object's state.
	pollInterval = 100 * time.Millisecond
	// namespaceControllerDelay is the time that a namespace controller has to start deleting a namespace's contents.
	namespaceControllerDelay = 500 * time.Millisecond
)

// resources are the types of objects that a run deletes. Leases and service accounts are deleted with their namespace.
// The namespace is last, because its Lease shows that the run is alive until the other objects are deleted.
var (
	pods       = v1.SchemeGroupVersion.WithResource("pods")
	nodes      = v1.SchemeGroupVersion.WithResource("nodes")
	requests   = certificatesv1.SchemeGroupVersion.WithResource("certificatesigningrequests")
	namespaces = v1.SchemeGroupVersion.WithResource("namespaces")
	resources  = []schema.GroupVersionResource{pods, nodes, requests, namespaces}
)

// owned is an object that a run of fauxlet check created.
type owned struct {
	resource schema.GroupVersionResource
	metav1.ObjectMeta
}

// String returns the kind and the name, for example "node fauxlet-check-x".
func (o owned) String() string { return strings.TrimSuffix(o.resource.Resource, "s") + " " + o.Name }

// find lists the objects of the run with the given ID, in the order of the variable "resources". If the ID is empty,
// find lists the objects of all runs, except their pods. It ignores an object that has a run's label but not a run's
// name, because fauxlet did not create it.
func (s *Stage) find(ctx context.Context, id string) ([]owned, error) {
	options := metav1.ListOptions{LabelSelector: RunLabel}
	if id != "" {
		options.LabelSelector += "=" + id
	}
	all := []owned{}
	for _, resource := range resources {
		namespace := ""
		if resource == pods {
			if id == "" {
				continue
			}
			namespace = nameOf(id)
		}
		found, err := s.objects.Resource(resource).Namespace(namespace).List(ctx, options)
		if err != nil {
			return nil, err
		}
		for _, o := range found.Items {
			if isOwned(&o) {
				all = append(all, owned{resource, o.ObjectMeta})
			}
		}
	}
	return all, nil
}

func isOwned(o metav1.Object) bool {
	id := o.GetLabels()[RunLabel]
	return id != "" && (o.GetName() == nameOf(id) || strings.HasPrefix(o.GetName(), nameOf(id)+"-"))
}

// remove finds and deletes the objects of a run, again and again until no object is left or the timeout has passed. It
// returns the remaining objects and the last error.
func (s *Stage) remove(ctx context.Context, id string) (notRemoved []string) {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	var namespaceDeleted time.Time
	for {
		all, err := s.find(ctx, id)
		if err == nil && len(all) == 0 {
			return nil
		}
		if err == nil {
			err = s.delete(ctx, all, &namespaceDeleted)
		}
		select {
		case <-ctx.Done():
			if all == nil {
				return []string{fmt.Sprintf("the objects of run %s: %v", id, err)}
			}
			for _, o := range all {
				notRemoved = append(notRemoved, o.String())
			}
			if err != nil {
				notRemoved = append(notRemoved, err.Error())
			}
			return notRemoved
		case <-time.After(pollInterval):
		}
	}
}

// The method "delete" deletes objects, which must be in the order of the variable "resources". It ignores objects that
// no longer exist or were replaced by a new object with the same name. It deletes a namespace only when no Nodes and
// CertificateSigningRequests are left. It does not wait for pods, which are deleted with their namespace.
func (s *Stage) delete(ctx context.Context, all []owned, namespaceDeleted *time.Time) error {
	for _, o := range all {
		options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(o.UID)}}
		if o.resource == pods {
			options.GracePeriodSeconds = ptr.To(int64(0)) // no kubelet confirms the termination
		}
		var err error
		switch {
		case o.resource == namespaces && slices.ContainsFunc(all, func(o owned) bool {
			return o.resource == nodes || o.resource == requests
		}):
			return nil // the caller lists the objects again before it deletes the namespaces
		case o.resource == namespaces && o.DeletionTimestamp != nil:
			if time.Since(*namespaceDeleted) > namespaceControllerDelay {
				err = s.finalize(ctx, o.Name)
			}
		default:
			err = s.objects.Resource(o.resource).Namespace(o.Namespace).Delete(ctx, o.Name, options)
			if o.resource == namespaces {
				*namespaceDeleted = time.Now()
			}
		}
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return err
		}
	}
	return nil
}

// finalize removes the finalizer of a run's namespace, which would exist forever without a kube-controller-manager. It
// does nothing if there are signs of a kube-controller-manager: conditions of the namespace, the default service
// account, or the root CA ConfigMap.
func (s *Stage) finalize(ctx context.Context, name string) error {
	core := s.client.CoreV1()
	found, err := core.Namespaces().List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil || len(found.Items) == 0 {
		return err
	}
	namespace := &found.Items[0]
	if len(namespace.Status.Conditions) > 0 ||
		!slices.Equal(namespace.Spec.Finalizers, []v1.FinalizerName{v1.FinalizerKubernetes}) {
		return nil
	}
	accounts, err := core.ServiceAccounts(name).List(ctx, metav1.ListOptions{LabelSelector: "!" + RunLabel})
	if err != nil {
		return err
	}
	maps, err := core.ConfigMaps(name).List(ctx, metav1.ListOptions{})
	if err != nil || len(accounts.Items)+len(maps.Items) > 0 {
		return err
	}
	for _, deleteAll := range []func(context.Context, metav1.DeleteOptions, metav1.ListOptions) error{
		core.ServiceAccounts(name).DeleteCollection, s.client.CoordinationV1().Leases(name).DeleteCollection,
	} {
		if err := deleteAll(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: RunLabel}); err != nil {
			return err
		}
	}
	namespace.Spec.Finalizers = nil
	_, err = core.Namespaces().Finalize(ctx, namespace, metav1.UpdateOptions{})
	return err
}
