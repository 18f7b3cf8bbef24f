package stage

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
)

// cluster returns the Stage of run a, and a cluster with objects of run a, of run b, and of other owners.
func cluster(t *testing.T) (*Stage, *fake.FakeMetadataClient) {
	t.Helper()
	object := func(kind, apiVersion, namespace, name, id string) runtime.Object {
		return &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{Kind: kind, APIVersion: apiVersion},
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{runLabel: id}},
		}
	}
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
