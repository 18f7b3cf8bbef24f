package host_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// apiserver implements the parts of a kube-apiserver that a node without pods needs. It stores Nodes, but its lists of
// Nodes and pods are always empty. It does not store Leases: its answer to the creation or update of a Lease is the
// Lease that the request contains.
type apiserver struct {
	*httptest.Server
	// changed receives a value when a Node is created or deleted. The channel has a buffer for one value.
	changed chan struct{}

	mu    sync.Mutex
	nodes map[string]*v1.Node
}

func startAPIServer(t *testing.T) *apiserver {
	a := &apiserver{changed: make(chan struct{}, 1), nodes: map[string]*v1.Node{}}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /api/v1/nodes", a.createNode)
	routes.HandleFunc("GET /api/v1/nodes/{name}", a.getNode)
	routes.HandleFunc("PATCH /api/v1/nodes/{name}/status", a.getNode)
	routes.HandleFunc("DELETE /api/v1/nodes/{name}", a.deleteNode)
	routes.HandleFunc("GET /api/v1/nodes", a.list)
	routes.HandleFunc("GET /api/v1/pods", a.list)
	routes.HandleFunc("POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", echo)
	routes.HandleFunc("PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}", echo)
	routes.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	})
	a.Server = httptest.NewServer(routes)
	t.Cleanup(a.Close)
	return a
}

// kubeconfig writes a kubeconfig for the apiserver.
func (a *apiserver) kubeconfig(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`
apiVersion: v1
kind: Config
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: %q}}]
users: [{name: a, user: {token: secret}}]
`, a.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// awaitNodes waits until exactly the given Nodes exist.
func (a *apiserver) awaitNodes(t *testing.T, want ...string) {
	t.Helper()
	for {
		a.mu.Lock()
		var got []string
		for name := range a.nodes {
			got = append(got, name)
		}
		a.mu.Unlock()
		if slices.Sort(got); slices.Equal(got, want) {
			return
		}
		select {
		case <-a.changed:
		case <-t.Context().Done():
			t.Fatalf("the Nodes are %q, want %q", got, want)
		}
	}
}

func (a *apiserver) notify() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

func (a *apiserver) createNode(w http.ResponseWriter, r *http.Request) {
	node := &v1.Node{}
	if err := json.NewDecoder(r.Body).Decode(node); err != nil {
		writeStatus(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	node.UID, node.ResourceVersion = types.UID("uid-"+node.Name), "1"
	a.mu.Lock()
	a.nodes[node.Name] = node
	a.mu.Unlock()
	a.notify()
	writeJSON(w, http.StatusCreated, node)
}

func (a *apiserver) getNode(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	node := a.nodes[r.PathValue("name")]
	a.mu.Unlock()
	if node == nil {
		writeStatus(w, http.StatusNotFound, metav1.StatusReasonNotFound)
		return
	}
	writeJSON(w, http.StatusOK, node)
}

func (a *apiserver) deleteNode(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	delete(a.nodes, r.PathValue("name"))
	a.mu.Unlock()
	a.notify()
	writeJSON(w, http.StatusOK, metav1.Status{Status: metav1.StatusSuccess})
}

// The method "list" answers a list request with an empty list. A watch stays open without events. A watch that requests
// the initial items is rejected as invalid, so that the client sends a list request instead.
func (a *apiserver) list(w http.ResponseWriter, r *http.Request) {
	switch query := r.URL.Query(); {
	case query.Get("sendInitialEvents") != "":
		writeStatus(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	case query.Get("watch") != "":
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	default:
		kind := "PodList"
		if strings.HasSuffix(r.URL.Path, "nodes") {
			kind = "NodeList"
		}
		writeJSON(w, http.StatusOK, map[string]any{"kind": kind, "apiVersion": "v1",
			"metadata": map[string]string{"resourceVersion": "1"}, "items": []any{}})
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	var object map[string]any
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		writeStatus(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	writeJSON(w, http.StatusOK, object)
}

func writeStatus(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	writeJSON(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code),
		Reason: reason,
	})
}

func writeJSON(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}
