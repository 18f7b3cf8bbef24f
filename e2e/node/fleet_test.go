package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
)

// These are the default size of a fleet, and the default duration of the measurement without load.
const (
	podsPerNode    = 10
	smallFleet     = 20
	smallFleetRest = 10 * time.Second
	fleetRest      = time.Minute
	logsAsked      = 50
)

// fleet is a program, fauxlet or KWOK, that runs many nodes.
type fleet struct {
	name  string // name is the key of the program in programs.Modules
	start func(*testing.T, *fleetRun)
}

// fleetRun is one fleet on a control plane that no other test uses.
type fleetRun struct {
	plane   *controlplane.Plane
	client  *kubernetes.Clientset
	nodes   int
	lease   uint64 // duration of the Leases in seconds
	rest    time.Duration
	process *programs.Process
	counts  *fleetCounts
}

// TestFleet runs many nodes in one process. All nodes must become Ready and all pods Running, Leases must be renewed
// in time, and each log must come from the right pod. With FAUXLET_E2E_FLEET=1000 the test measures 1000 nodes of
// fauxlet, and then 1000 nodes of KWOK; -run TestFleet/fauxlet leaves out KWOK. FAUXLET_E2E_FLEET_LEASE=400 makes the
// Leases valid for 400 s instead of 40 s, so that kube-apiserver can carry ten times as many nodes.
func TestFleet(t *testing.T) {
	programs.Slow(t)
	nodes, rest := programs.NumberFromEnvironment(t, "FAUXLET_E2E_FLEET", 0), fleetRest
	lease := programs.NumberFromEnvironment(t, "FAUXLET_E2E_FLEET_LEASE", 40)
	rest = max(rest, time.Duration(lease)*3*time.Second/10) // each Lease is renewed after a quarter of its duration
	kwok := nodes > 0
	if nodes == 0 {
		nodes, rest = smallFleet, smallFleetRest
		t.Parallel() // run beside other tests, although they may disturb the measurements of a small fleet
	}
	alone(t)
	fleets := []fleet{{"fauxlet", startFauxlets}}
	if kwok {
		fleets = append(fleets, fleet{"kwok", startKWOK})
	}
	var names []string
	var columns []figures
	for _, fleet := range fleets {
		if !t.Run(fleet.name, func(t *testing.T) {
			programs.Path(t, fleet.name) // build the program before the measurement begins
			columns = append(columns, measureFleet(t, int(nodes), lease, rest, fleet.start))
			names = append(names, fleet.name)
		}) {
			return
		}
	}
	t.Logf("%d nodes with %d pods each, %v at rest\n%s", nodes, podsPerNode, rest, fleetTable(names, columns))
}

// measureFleet starts a fleet, measures it without load, reads logs and deletes the pods.
func measureFleet(t *testing.T, nodes int, lease uint64, rest time.Duration,
	begin func(*testing.T, *fleetRun)) figures {
	ctx := context.Background()
	r := &fleetRun{plane: controlplane.New(t, controlplane.ForNodes), nodes: nodes, lease: lease,
		rest: rest}
	r.plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	config, err := clientcmd.BuildConfigFromFlags("", r.plane.Kubeconfig)
	expect.NoError(t, err)
	config.QPS, config.ContentType = -1, "application/vnd.kubernetes.protobuf"
	r.client, err = kubernetes.NewForConfig(config)
	expect.NoError(t, err)
	r.counts = countFleet(t, r.client)
	var f figures

	began := time.Now()
	begin(t, r)
	t.Cleanup(func() {
		if err := r.process.Stop(); err != nil {
			t.Error(err)
		}
		r.process.LogOnFailure(t, 0)
	})
	patience := time.Minute + time.Duration(nodes)*time.Second/2
	expect.Eventually(t, patience, "all nodes are Ready", func() string { return lack(r.counts.readyNodes(), nodes) })
	f.nodesReady = time.Since(began)
	programs.Progress("%d nodes are Ready after %v", nodes, f.nodesReady.Round(time.Millisecond))

	began = time.Now()
	r.createPods(t)
	f.podsCreated = time.Since(began)
	expect.Eventually(t, patience, "all pods run",
		func() string { return lack(r.counts.runningPods(), nodes*podsPerNode) })
	f.podsRunning = time.Since(began)
	programs.Progress("%d pods run after %v, created within %v", nodes*podsPerNode,
		f.podsRunning.Round(time.Millisecond), f.podsCreated.Round(time.Millisecond))

	r.atRest(t, &f)
	programs.Progress("at rest: %d MB resident, %.1f s of CPU a minute", f.rss/1e6, f.cpu)
	began = time.Now()
	r.readLogs(t)
	f.logs = time.Since(began) / logsAsked

	began = time.Now()
	expect.NoError(t, r.eachPod(func(i, j int) error {
		return r.client.CoreV1().Pods("default").Delete(ctx, fleetPod(i, j), metav1.DeleteOptions{})
	}))
	expect.Eventually(t, patience, "all pods are gone", func() string { return lack(r.counts.allPods(), 0) })
	f.podsGone = time.Since(began)
	if lost := nodes - r.counts.readyNodes(); lost != 0 {
		t.Errorf("%d nodes are no longer Ready", lost)
	}
	return f
}

func fleetNode(i int) string { return fmt.Sprintf("fleet-%d", i) }

func fleetPod(node, i int) string { return fmt.Sprintf("web-%d-%d", node, i) }

// fleetLog returns the log of the i-th pod of each node.
func fleetLog(i int) string { return fmt.Sprintf("this is pod %d of its node\n", i) }

// createPods creates the pods, bound to their nodes.
func (r *fleetRun) createPods(t *testing.T) {
	t.Helper()
	expect.NoError(t, r.eachPod(func(i, j int) error {
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fleetPod(i, j)}, Spec: v1.PodSpec{
			NodeName: fleetNode(i), Containers: []v1.Container{{Name: "web", Image: "nginx"}},
		}}
		_, err := r.client.CoreV1().Pods("default").Create(context.Background(), pod, metav1.CreateOptions{})
		return err
	}))
}

// eachPod calls the given function once for every pod. Several calls run in parallel.
func (r *fleetRun) eachPod(do func(node, i int) error) error {
	var group errgroup.Group
	group.SetLimit(16)
	for i := range r.nodes {
		for j := range podsPerNode {
			group.Go(func() error { return do(i, j) })
		}
	}
	return group.Wait()
}

// readLogs reads the logs of random pods through kube-apiserver, one after another.
func (r *fleetRun) readLogs(t *testing.T) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	for range logsAsked {
		i, j := random.IntN(r.nodes), random.IntN(podsPerNode)
		log, err := r.client.CoreV1().Pods("default").GetLogs(fleetPod(i, j),
			&v1.PodLogOptions{}).DoRaw(context.Background())
		if err != nil {
			t.Fatalf("log of %s: %v", fleetPod(i, j), err)
		}
		if want := fleetLog(j); string(log) != want {
			t.Errorf("log of %s: %q, want %q", fleetPod(i, j), log, want)
		}
	}
}

// atRest measures the fleet without load.
func (r *fleetRun) atRest(t *testing.T, f *figures) {
	const settling = 10 * time.Second
	leasesInTime := func() {
		leases, err := r.client.CoordinationV1().Leases(v1.NamespaceNodeLease).List(context.Background(),
			metav1.ListOptions{ResourceVersion: "0"})
		expect.NoError(t, err)
		if len(leases.Items) != r.nodes {
			t.Errorf("there are %d Leases, want %d", len(leases.Items), r.nodes)
		}
		for _, lease := range leases.Items {
			age := time.Since(lease.Spec.RenewTime.Time)
			f.leaseAge = max(f.leaseAge, age)
			if most := time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second; age > most {
				t.Errorf("the Lease of %s was renewed %v ago, but it expires after %v", lease.Name, age, most)
			}
		}
	}
	await(settling)
	leasesInTime()
	f.leaseAge = 0 // the nodes have just created their Leases, so no renewal has been measured
	fleet, apiserver := programs.UsageOf(t, r.process), programs.UsageOf(t, r.plane.APIServer)
	requests := r.requests(t)
	const looks = 5
	for range looks {
		await(r.rest / looks)
		leasesInTime()
	}
	seconds := r.rest.Seconds()
	after := programs.UsageOf(t, r.process)
	f.cpu, f.apiserverCPU = (after.CPU-fleet.CPU)*60/seconds,
		(programs.UsageOf(t, r.plane.APIServer).CPU-apiserver.CPU)*60/seconds
	f.rss, f.anonymous, f.threads = after.Resident, after.Anonymous, after.Threads
	f.requests = map[string]float64{}
	for what, count := range r.requests(t) {
		if what == "LIST leases" {
			count -= looks // do not count the requests that this test sent itself
		}
		if rate := (count - requests[what]) / seconds; rate > 0 {
			f.requests[what] = rate
		}
	}
}

// await waits for the given duration. The test measures the fleet during this time, so it cannot wait for an event
// instead.
func await(d time.Duration) { <-time.After(d) }

// startFauxlets starts one fauxlet that runs all nodes.
func startFauxlets(t *testing.T, r *fleetRun) {
	dir := t.TempDir()
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	settings := kubelet.ServingCertificate(t)
	settings["nodeLeaseDurationSeconds"] = r.lease
	config, err := settings.YAML(p)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(filepath.Join(dir, "kubelet.yaml"), config, 0o644))
	scenario := "apiVersion: fauxlet/v1alpha1\nkind: Scenario\ncontainers:\n"
	for j := range podsPerNode {
		scenario += fmt.Sprintf("- {pod: \"web-*-%d\", log: {text: %q}}\n", j, fleetLog(j))
	}
	expect.NoError(t, os.WriteFile(filepath.Join(dir, "scenario.yaml"), []byte(scenario), 0o644))
	r.process, err = programs.Start("fauxlet", programs.Path(t, "fauxlet"), "serve", "--nodes", fmt.Sprint(r.nodes),
		"--node-name-prefix", "fleet-", "--port", "0",
		"--kubeconfig", r.plane.Kubeconfig, "--config", filepath.Join(dir, "kubelet.yaml"), "--cert-dir",
		filepath.Join(dir, "pki"), "--scenario", filepath.Join(dir, "scenario.yaml"))
	expect.NoError(t, err)
}

// fleetTable returns a table with one line for each kind of measurement and one column for each fleet. If there are
// two fleets, each line ends with the ratio of the second value to the first. The ratio is missing if the first value
// is 0.
func fleetTable(names []string, columns []figures) string {
	var text strings.Builder
	row := func(what string, values []float64, format string) {
		fmt.Fprintf(&text, "%-44s", what)
		for _, value := range values {
			fmt.Fprintf(&text, " %12s", fmt.Sprintf(format, value))
		}
		if len(values) == 2 && values[0] > 0 {
			fmt.Fprintf(&text, " %9.2f", values[1]/values[0])
		}
		text.WriteByte('\n')
	}
	fmt.Fprintf(&text, "%-44s", "")
	for _, name := range names {
		fmt.Fprintf(&text, " %12s", name)
	}
	if len(names) == 2 {
		fmt.Fprintf(&text, " %9s", "ratio")
	}
	text.WriteByte('\n')
	each := func(what, format string, of func(*figures) float64) {
		var values []float64
		for i := range columns {
			values = append(values, of(&columns[i]))
		}
		row(what, values, format)
	}
	each("all nodes Ready, s from the start", "%.1f", func(f *figures) float64 { return f.nodesReady.Seconds() })
	each("all pods created, s", "%.1f", func(f *figures) float64 { return f.podsCreated.Seconds() })
	each("all pods Running, s from the first created", "%.1f",
		func(f *figures) float64 { return f.podsRunning.Seconds() })
	each("all pods gone, s from their deletion", "%.1f", func(f *figures) float64 { return f.podsGone.Seconds() })
	each("one log through the apiserver, ms", "%.1f",
		func(f *figures) float64 { return float64(f.logs.Microseconds()) / 1000 })
	each("resident memory at rest, MB", "%.0f", func(f *figures) float64 { return float64(f.rss) / 1e6 })
	each("  of it anonymous, MB", "%.0f", func(f *figures) float64 { return float64(f.anonymous) / 1e6 })
	each("threads at rest", "%.0f", func(f *figures) float64 { return float64(f.threads) })
	each("CPU at rest, s a minute", "%.2f", func(f *figures) float64 { return f.cpu })
	each("CPU of the kube-apiserver at rest, s a minute", "%.2f", func(f *figures) float64 { return f.apiserverCPU })
	each("oldest Lease, s", "%.1f", func(f *figures) float64 { return f.leaseAge.Seconds() })
	each("API requests at rest, a second", "%.1f", func(f *figures) float64 {
		all := 0.0
		for _, rate := range f.requests {
			all += rate
		}
		return all
	})
	kinds := map[string]bool{}
	for _, f := range columns {
		for what, rate := range f.requests {
			if rate >= 0.1 {
				kinds[what] = true
			}
		}
	}
	var sorted []string
	for what := range kinds {
		sorted = append(sorted, what)
	}
	slices.Sort(sorted)
	for _, what := range sorted {
		each("  "+what, "%.1f", func(f *figures) float64 { return f.requests[what] })
	}
	return text.String()
}
