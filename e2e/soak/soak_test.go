package soak

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/internal/admin"
)

var (
	duration = flag.Duration("time", 0, "how long to run; 0 runs two cycles, which checks the requests but no growth")
	speed    = flag.Int("rate", 20, "how many steps per second to begin at most")
	folder   = flag.String("results", "", "folder for soak.csv and soak.md; empty: a temporary folder")
)

const (
	// cycleTime is how often the idle process is measured, unless the steps take longer.
	cycleTime = 30 * time.Second
	// idleTime is how long the process is idle before it is measured. After a stream has ended, fauxlet and a kubelet
	// keep its TCP connection for up to 10 s.
	idleTime = 12 * time.Second
	// repeats is how often each step runs in a cycle.
	repeats = 3
	// restartEvery is the number of cycles between two restarts of kube-apiserver.
	restartEvery = 10
	// stepTime limits a step. It is long because the machine may be busy.
	stepTime = 90 * time.Second
)

// run is a fauxlet that has joined a cluster, and the clients that send requests to it.
type run struct {
	plane   *controlplane.Plane
	process *programs.Process
	sampler sampler
	dir     string
	// These are the addresses of the ports.
	secure, readOnly, healthz, admin, metrics string
	adminClient                               *admin.Client

	credentials []credential
	config      *rest.Config // connects to the kubelet as an administrator
	viaPlane    *rest.Config // connects to kube-apiserver as an administrator
	held        heldConns

	began    time.Time
	pace     *time.Ticker
	requests atomic.Int64
	cycles   int
	mu       sync.Mutex
	problems map[string]int // how often each step has failed
	reported int
}

const node, pod = "soak", "steady"

// TestSoak sends all kinds of requests to a fauxlet that has joined a cluster. Goroutines, descriptors and live heap of
// the idle process must not grow after the warm-up. Ctrl-C ends the run, and the result so far is printed.
func TestSoak(t *testing.T) {
	programs.Slow(t)
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir := *folder
	if dir == "" {
		dir = t.TempDir()
	}
	dir, err := filepath.Abs(dir)
	expect.NoError(t, err)
	expect.NoError(t, os.MkdirAll(dir, 0o755))
	r := start(t)
	printHeader(os.Stdout)
	var samples []figures
	printed := time.Duration(-time.Minute)
	for again := true; again; again = ctx.Err() == nil && (*duration > 0 && time.Since(r.began) < *duration ||
		*duration == 0 && len(samples) < 2) {
		sample, err := r.cycle(ctx, t)
		if ctx.Err() != nil {
			break
		}
		expect.NoError(t, err)
		samples = append(samples, sample)
		expect.NoError(t, os.WriteFile(filepath.Join(dir, "soak.csv"), curve(samples), 0o644))
		if sample.at-printed >= time.Minute-time.Second {
			printLine(os.Stdout, sample)
			printed = sample.at
		}
	}
	stop()
	r.result(t, dir, samples)
}

// result prints and writes the result, and fails the test if a figure has grown or a step has failed.
func (r *run) result(t *testing.T, dir string, samples []figures) {
	if len(samples) == 0 {
		fmt.Println("\nno result: the first cycle did not end")
	} else {
		all := judge(samples)
		text := table(samples, all)
		fmt.Printf("\n%s\n", text)
		expect.NoError(t, os.WriteFile(filepath.Join(dir, "soak.md"), []byte(text), 0o644))
		for _, g := range all {
			if problem := g.problem(); problem != "" {
				t.Error(problem)
			}
		}
		if *folder != "" {
			fmt.Printf("written: %s, %s\n", filepath.Join(dir, "soak.csv"), filepath.Join(dir, "soak.md"))
		}
	}
	for step, count := range r.problems {
		t.Errorf("step %s failed %d times", step, count)
	}
	select {
	case <-r.process.Ended:
		t.Errorf("fauxlet has ended: %v", r.process.Err)
	default:
	}
	if t.Failed() {
		log := expect.File(t, filepath.Join(r.dir, "fauxlet.log"))
		t.Logf("the last lines of fauxlet's log:\n%s", log[max(0, len(log)-4000):])
	}
}

// start starts a control plane and a fauxlet that joins it. Both are stopped when the test ends.
func start(t *testing.T) *run {
	plane := controlplane.New(t, controlplane.ForNodes)
	r := &run{plane: plane, dir: t.TempDir(), problems: map[string]int{}}
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	port := func() string { return fmt.Sprintf("127.0.0.1:%d", programs.FreePort(t)) }
	r.secure, r.readOnly, r.healthz, r.admin, r.metrics = port(), port(), port(), port(), port()
	r.adminClient = admin.NewLocalClient(r.admin)
	t.Cleanup(r.adminClient.Close)

	r.writeServingCertificate(t)
	expect.NoError(t, os.WriteFile(r.file("clients.crt"), plane.PKI.CA.CertPEM(), 0o644))
	config, err := kubelet.Settings{
		"tlsCertFile": r.file("serving.crt"), "tlsPrivateKeyFile": r.file("serving.key"),
		"authentication.x509.clientCAFile":           r.file("clients.crt"),
		"authentication.anonymous.enabled":           true,
		"authentication.webhook.enabled":             true,
		"authentication.webhook.cacheTTL":            "2s",
		"authorization.mode":                         "Webhook",
		"authorization.webhook.cacheAuthorizedTTL":   "2s",
		"authorization.webhook.cacheUnauthorizedTTL": "2s",
		"port":         portOf(r.secure),
		"readOnlyPort": portOf(r.readOnly), "healthzPort": portOf(r.healthz),
	}.YAML(plane.PKI)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(r.file("kubelet.yaml"), config, 0o644))
	expect.NoError(t, os.WriteFile(r.file("scenario.yaml"), []byte(scenario), 0o644))
	expect.NoError(t, plane.WriteKubeconfig(r.file("kubeconfig"), "system:node:"+node, "system:nodes"))

	// The shell replaces itself by fauxlet, with its log in a file. In a run of hours the log would otherwise fill the
	// memory of this test.
	r.process, err = programs.Start("fauxlet", "/bin/sh", "-c", `exec "$@" >"$0" 2>&1`, r.file("fauxlet.log"),
		programs.Path(t, "fauxlet"), "serve", "--config", r.file("kubelet.yaml"), "--kubeconfig", r.file("kubeconfig"),
		"--hostname-override", node, "--cert-dir", r.file("pki"), "--ready-file", r.file("ready.json"),
		"--scenario", r.file("scenario.yaml"), "--admin-address", r.admin, "--metrics-address", r.metrics)
	expect.NoError(t, err)
	t.Cleanup(func() {
		r.held.release()
		if err := r.process.Stop(); err != nil {
			t.Error(err)
		}
	})
	expect.Eventually(t, time.Minute, "fauxlet listens", func() string {
		select {
		case <-r.process.Ended:
			t.Fatalf("fauxlet has ended: %v\n%s", r.process.Err, expect.File(t, r.file("fauxlet.log")))
		default:
		}
		if _, err := os.Stat(r.file("ready.json")); err != nil {
			return err.Error()
		}
		return ""
	})
	plane.AwaitNode(t, node, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	plane.CreatePod(t, controlplane.BoundTo(node, pod))
	plane.AwaitPod(t, pod, "runs", controlplane.PhaseIs(v1.PodRunning))
	r.makeClients(t)
	r.sampler = sampler{pid: r.process.Cmd.Process.Pid, get: func(path string) ([]byte, error) {
		return r.get(context.Background(), r.credentials[0], "https://"+r.secure+path, 200)
	}}
	r.began, r.pace = time.Now(), time.NewTicker(time.Second/time.Duration(max(1, *speed)))
	t.Cleanup(r.pace.Stop)
	return r
}

func (r *run) file(name string) string { return filepath.Join(r.dir, name) }

// cycle runs all steps, disconnects all clients, and measures the idle process.
func (r *run) cycle(ctx context.Context, t *testing.T) (figures, error) {
	began := time.Now()
	r.cycles++
	r.connectSilently(ctx)
	r.together(ctx)
	r.oneByOne(ctx, t)
	r.held.release()
	for _, c := range r.credentials {
		c.client.CloseIdleConnections()
	}
	r.adminClient.Close()
	if !wait(ctx, max(idleTime, cycleTime-time.Since(began))) {
		return figures{}, ctx.Err()
	}
	select {
	case <-r.process.Ended:
		return figures{}, fmt.Errorf("fauxlet has ended: %w", r.process.Err)
	default:
	}
	sample, err := r.sampler.sample()
	sample.at, sample.requests = time.Since(r.began), r.requests.Load()
	return sample, err
}

// wait waits for the given time: there is no event to wait for, because nothing should happen. It returns false if ctx
// is done earlier.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// together runs the steps that do not disturb each other, several at a time.
func (r *run) together(ctx context.Context) {
	steps := slices.Concat(r.credentialSteps(), r.pageSteps(), r.logSteps(), r.streamSteps(), r.adminSteps(),
		r.podSteps())
	work := make(chan step)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for s := range work {
				r.do(ctx, s)
			}
		})
	}
	for range repeats {
		for _, s := range steps {
			select {
			case <-ctx.Done():
			case <-r.pace.C:
				work <- s
			}
		}
	}
	close(work)
	workers.Wait()
}

// oneByOne runs the steps during which other requests may fail.
func (r *run) oneByOne(ctx context.Context, t *testing.T) {
	steps := []step{{"rotation of the serving certificate", func(ctx context.Context) error {
		return r.rotateServing(ctx, t)
	}}, {"rotation of the client CA", r.rotateClientCA}}
	steps = append(steps, r.faultSteps()...)
	if r.cycles%restartEvery == 2 {
		steps = append(steps, step{"restart of kube-apiserver", r.restartAPIServer})
	}
	for _, s := range steps {
		if ctx.Err() == nil {
			r.do(ctx, s)
		}
	}
}

// step is one request, or several that belong together.
type step struct {
	name string
	do   func(context.Context) error
}

// do runs a step, and reports its failure.
func (r *run) do(ctx context.Context, s step) {
	limited, cancel := context.WithTimeoutCause(ctx, stepTime, errors.New("the step took too long"))
	defer cancel()
	err := s.do(limited)
	if err == nil || ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems[s.name]++
	if r.reported++; r.reported <= 20 {
		fmt.Printf("step %s failed in cycle %d: %s\n", s.name, r.cycles, strings.TrimSpace(err.Error()))
	}
}
