package stage

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubernetesfake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
)

// object returns the metadata of an object that has the label of the run with the given ID.
func object(kind, apiVersion, namespace, name, id string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{Kind: kind, APIVersion: apiVersion},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{RunLabel: id}},
	}
}

// cluster returns the Stage of run a, and a cluster with objects of run a, of run b, and of other owners.
func cluster(t *testing.T) (*Stage, *fake.FakeMetadataClient) {
	t.Helper()
	scheme := fake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	objects := fake.NewSimpleMetadataClient(scheme,
		object("Namespace", "v1", "", "fauxlet-check-a", "a"),
		object("Pod", "v1", "fauxlet-check-a", "fauxlet-check-a-x", "a"),
		object("Node", "v1", "", "fauxlet-check-a-x", "a"),
		object("CertificateSigningRequest", "certificates.k8s.io/v1", "", "fauxlet-check-a", "a"),
		object("Node", "v1", "", "fauxlet-check-b-x", "b"),
		object("Node", "v1", "", "foreign", "a"),
		object("Pod", "v1", "default", "fauxlet-check-a-x", "a"),
	)
	return &Stage{objects: objects, id: "a", notify: func(string) {}, stop: func(error) {}}, objects
}

// TestTeardown checks that a run deletes only its own objects, and its namespace last.
func TestTeardown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, objects := cluster(t)
		if left := s.Teardown(t.Context()); left != nil {
			t.Errorf("not removed: %q", left)
		}
		var deleted []string
		for _, action := range objects.Actions() {
			if one, ok := action.(clienttesting.DeleteAction); ok {
				deleted = append(deleted, one.GetResource().Resource+" "+one.GetNamespace()+"/"+one.GetName())
			}
		}
		want := []string{"pods fauxlet-check-a/fauxlet-check-a-x", "nodes /fauxlet-check-a-x",
			"certificatesigningrequests /fauxlet-check-a", "namespaces /fauxlet-check-a"}
		if !slices.Equal(deleted, want) {
			t.Errorf("deleted %q, want %q", deleted, want)
		}
	})
}

// TestTeardownFails checks that a run reports the error and the objects that it cannot delete.
func TestTeardownFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, objects := cluster(t)
		refuse := func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("refused") }
		objects.PrependReactor("delete", "nodes", refuse)
		want := []string{"node fauxlet-check-a-x", "certificatesigningrequest fauxlet-check-a",
			"namespace fauxlet-check-a", "refused"}
		if left := s.Teardown(t.Context()); !slices.Equal(left, want) {
			t.Errorf("not removed: %q, want %q", left, want)
		}
		objects.PrependReactor("list", "*", refuse)
		want = []string{"the objects of run a: refused"}
		if left := s.Teardown(t.Context()); !slices.Equal(left, want) {
			t.Errorf("not removed: %q, want %q", left, want)
		}
	})
}

// TestTeardownWithAPodThatStays checks that a pod that cannot be deleted, for example because of a finalizer, does not
// prevent the deletion of the namespace. There is no kube-controller-manager, so the run also finalizes the namespace.
func TestTeardownWithAPodThatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, objects := cluster(t)
		objects.PrependReactor("delete", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, nil
		})
		var deleted *metav1.Time
		objects.PrependReactor("delete", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
			deleted = ptr.To(metav1.Now())
			return true, nil, nil
		})
		finalized := false
		objects.PrependReactor("list", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
			list := &metav1.List{}
			if !finalized {
				namespace := object("Namespace", "v1", "", "fauxlet-check-a", "a")
				namespace.DeletionTimestamp = deleted
				list.Items = []runtime.RawExtension{{Object: namespace}}
			}
			return true, list, nil
		})
		client := kubernetesfake.NewClientset(&v1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: "fauxlet-check-a"},
			Spec:       v1.NamespaceSpec{Finalizers: []v1.FinalizerName{v1.FinalizerKubernetes}},
		})
		client.PrependReactor("create", "namespaces", func(action clienttesting.Action) (bool, runtime.Object, error) {
			finalized = finalized || action.GetSubresource() == "finalize"
			return true, &v1.Namespace{}, nil
		})
		s.client = client
		if left, want := s.Teardown(t.Context()), []string{"pod fauxlet-check-a-x"}; !slices.Equal(left, want) {
			t.Errorf("not removed: %q, want %q", left, want)
		}
		if deleted == nil || !finalized {
			t.Errorf("namespace deleted: %v, finalized: %v", deleted, finalized)
		}
	})
}

// TestFind checks that the method "find" lists the objects of all runs if the given ID is empty.
func TestFind(t *testing.T) {
	s, _ := cluster(t)
	all, err := s.find(t.Context(), "")
	var names []string
	for _, o := range all {
		names = append(names, o.String())
	}
	if want := []string{"node fauxlet-check-a-x", "node fauxlet-check-b-x", "certificatesigningrequest fauxlet-check-a",
		"namespace fauxlet-check-a"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("found %q and %v, want %q", names, err, want)
	}
}
