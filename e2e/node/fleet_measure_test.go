package node

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"fauxlet/e2e/internal/expect"
)

// figures are the measurements of one fleet.
type figures struct {
	nodesReady, podsCreated, podsRunning, podsGone, logs, leaseAge time.Duration

	rss, anonymous    int64   // bytes
	threads           int64   // number of threads of the process
	cpu, apiserverCPU float64 // seconds per minute
	requests          map[string]float64
}

// requests returns how many requests kube-apiserver has counted, by verb and resource.
func (r *fleetRun) requests(t testing.TB) map[string]float64 {
	t.Helper()
	text, err := r.client.RESTClient().Get().AbsPath("/metrics").DoRaw(context.Background())
	expect.NoError(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	expect.NoError(t, err)
	counts := map[string]float64{}
	for _, metric := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.Label {
			labels[label.GetName()] = label.GetValue()
		}
		if labels["resource"] == "" {
			continue // a request for metrics or health concerns no resource
		}
		what := labels["verb"] + " " + labels["resource"]
		if labels["subresource"] != "" {
			what += "/" + labels["subresource"]
		}
		counts[what] += metric.Counter.GetValue()
	}
	return counts
}

// fleetCounts counts Ready nodes and Running pods. It watches Nodes and pods.
type fleetCounts struct {
	mu      sync.Mutex
	ready   map[string]bool // ready maps the names of Nodes to whether they are Ready
	running map[string]bool // running maps pod names to whether the pod runs; a missing pod does not exist
}

func countFleet(t testing.TB, client kubernetes.Interface) *fleetCounts {
	t.Helper()
	c := &fleetCounts{ready: map[string]bool{}, running: map[string]bool{}}
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	t.Cleanup(func() { stop(); watching.Wait() })
	core := client.CoreV1().RESTClient()
	for resource, is := range map[string]runtime.Object{"nodes": &v1.Node{}, "pods": &v1.Pod{}} {
		_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
			ListerWatcher: cache.NewListWatchFromClient(core, resource, metav1.NamespaceAll, fields.Everything()),
			ObjectType:    is,
			Handler: cache.ResourceEventHandlerFuncs{
				AddFunc:    c.count,
				UpdateFunc: func(_, object any) { c.count(object) },
				DeleteFunc: c.discount,
			},
		})
		watching.Go(func() { informer.RunWithContext(ctx) })
	}
	return c
}

func (c *fleetCounts) count(object any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch object := object.(type) {
	case *v1.Node:
		c.ready[object.Name] = slices.ContainsFunc(object.Status.Conditions, func(is v1.NodeCondition) bool {
			return is.Type == v1.NodeReady && is.Status == v1.ConditionTrue
		})
	case *v1.Pod:
		c.running[object.Name] = object.Status.Phase == v1.PodRunning
	}
}

func (c *fleetCounts) discount(object any) {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
	if err != nil {
		return // err means that the object is neither a Node nor a pod
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, name, isPod := strings.Cut(key, "/"); isPod {
		delete(c.running, name)
	} else {
		delete(c.ready, key)
	}
}

func count(of map[string]bool) int {
	n := 0
	for _, is := range of {
		if is {
			n++
		}
	}
	return n
}

func (c *fleetCounts) readyNodes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return count(c.ready)
}

func (c *fleetCounts) runningPods() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return count(c.running)
}

func (c *fleetCounts) allPods() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.running)
}

// lack describes how a number differs from the wanted number. It returns the empty string if the two are equal.
func lack(are, want int) string {
	if are != want {
		return fmt.Sprintf("%d, want %d", are, want)
	}
	return ""
}
