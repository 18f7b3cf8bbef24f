package server_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"fauxlet/internal/faults"
	"fauxlet/internal/recordings"
	"fauxlet/internal/reviewapi"
	"fauxlet/internal/vectors"
	"fauxlet/scenario"
	"fauxlet/testcerts"
)

// TestRecordings sends the requests of package recordings to Servers in this process, and compares the answers and the
// reviews with the recorded ones of the kubelet's own servers.
func TestRecordings(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // a tenth less CPU time
	suite, err := recordings.LoadSuite()
	if err != nil {
		t.Fatal(err)
	}
	clients, err := newRecordedClients()
	if err != nil {
		t.Fatal(err)
	}
	occurred, replayed, all := map[*allowed]bool{}, 0, 0
	for _, minor := range recordings.Minors() {
		recording, err := suite.Load(minor)
		if err != nil {
			t.Fatal(err)
		}
		kinds := &differenceKinds{count: map[string]int{}, examples: map[string]string{}, allowed: occurred}
		all += len(recording.Given)
		t.Run(minor, func(t *testing.T) {
			for _, name := range slices.Sorted(maps.Keys(suite.Configurations)) {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					replay(t, suite, name, recording, clients, kinds)
				})
			}
		})
		replayed += kinds.replayed
		if report := kinds.report(); report != "" {
			t.Errorf("%s: fauxlet's answers differ:\n%s", recording.Module, report)
		}
	}
	if replayed < all {
		return // -run excluded some configurations
	}
	for i := range allowedDifferences {
		if a := &allowedDifferences[i]; !occurred[a] {
			t.Errorf("the allowed difference no longer occurs; remove it: %s", a.reason)
		}
	}
}

// recordedClients are the clients of the recordings, and the CA that has signed their certificates.
type recordedClients struct {
	ca  *testcerts.Authority
	all map[string]recordings.Client
}

func newRecordedClients() (c recordedClients, err error) {
	corpus, err := vectors.Load()
	if err != nil {
		return c, err
	}
	if c.ca, err = testcerts.NewAuthority("cluster-ca"); err != nil {
		return c, err
	}
	unknownCA, err := testcerts.NewAuthority("unknown-ca")
	if err != nil {
		return c, err
	}
	c.all, err = recordings.NewClients(corpus, c.ca, unknownCA)
	return c, err
}

// replay sends the requests of one configuration to a Server, and adds the differences between its answers and the
// recorded ones to "kinds". If the kubelet has refused the configuration, fauxlet must refuse it too.
func replay(t *testing.T, suite *recordings.Suite, name string, recording *recordings.Recording,
	clients recordedClients, kinds *differenceKinds) {
	if why := recording.Refused[name]; why != "" {
		setup := suite.Configurations[name]
		f := prepare(t, recordedFixture(t, suite, &setup, recording.Version(), clients.ca))
		_, err := f.tryLoad(t, nil)
		if err == nil {
			t.Errorf("fauxlet accepts the configuration, a kubelet refuses it: %s", why)
		}
	}
	if _, recorded := recording.Given[name]; !recorded {
		return
	}
	setup := suite.Configurations[name].WithoutGates(recording.Without[name])
	f := newFixture(t, recordedFixture(t, suite, &setup, recording.Version(), clients.ca))
	reviewed := uint64(0)
	peer := &recordings.Peer{
		Secure: f.address, ReadOnly: strings.TrimPrefix(f.readOnly, "http://"), Clients: clients.all,
		Take: func() []reviewapi.Record {
			var taken []reviewapi.Record
			for _, record := range f.reviews.Reviews() {
				if record.Number > reviewed {
					taken, reviewed = append(taken, record), record.Number
				}
			}
			return taken
		},
		Same: f.namesOfRecordings(),
	}
	answers, err := setup.Answers(peer, recording.Measured, func(active []faults.Fault) error {
		return f.faults.Replace("recordings", active)
	})
	if err != nil {
		t.Fatal(err)
	}
	given := recording.Given[name]
	if len(given) != len(answers) {
		t.Fatalf("%d answers are recorded, want %d", len(given), len(answers))
	}
	kinds.replay()
	var broken *recordings.Conversation // an allowed difference may leave the connection in another state
	for i, index := range given {
		talk, request := setup.Request(i)
		if index < 0 || talk == broken {
			continue
		}
		want := &recording.Answers[index]
		want.SharedMetrics(&answers[i])
		differences := want.Compare(&answers[i])
		if len(differences) == 0 {
			continue
		}
		root := recordings.RootOf(talk.Requests[request].Path)
		if allowed := allowedDifference(recording, root, want, differences); allowed != nil {
			kinds.allow(allowed)
			if allowed.connection {
				broken = talk
			}
			continue
		}
		kinds.add(name+" "+talk.ID(request), root, want, &answers[i], differences)
	}
}

// allowed is a kind of difference between a recording and fauxlet that is allowed, and the reason.
type allowed struct {
	until   string   // the last minor with this difference
	routes  []string // the first segments of the paths
	body    string   // regular expression for the recorded body
	aspects []string // what may differ
	reason  string
	// connection is true if the two servers may also treat the connection differently afterwards. Then the rest of the
	// conversation is not compared.
	connection bool
}

// allowedDifferences lists the allowed differences. TestRecordings fails if one of them no longer occurs.
var allowedDifferences = []allowed{
	{until: "1.35", routes: []string{"exec", "attach", "portForward"},
		body:    `^(unable to upgrade|invalid upgrade response)`,
		aspects: []string{"status", "body", "header Content-Length", "header Content-Type", "connection"},
		reason: "The error comes from the container runtime, through which older kubelets served streams. The " +
			"recordings have a runtime with the streaming library of the kubelet's version.", connection: true},
	{until: "1.32", routes: []string{"metrics"}, body: `^(# HELP |)`, aspects: []string{"header Content-Type"},
		reason: "prometheus/common before v0.60 names the escaping scheme \"values\" instead of \"underscores\"."},
}

// allowedDifference returns the entry of allowedDifferences that allows all the given differences, or nil.
func allowedDifference(r *recordings.Recording, root string, want *recordings.Answer,
	differences []recordings.Difference) *allowed {
	for i := range allowedDifferences {
		a := &allowedDifferences[i]
		if minor(r.Version()) > minor(a.until) || !slices.Contains(a.routes, root) ||
			!regexp.MustCompile(a.body).MatchString(string(want.Body)) {
			continue
		}
		if !slices.ContainsFunc(differences,
			func(d recordings.Difference) bool { return !slices.Contains(a.aspects, d.Aspect) }) {
			return a
		}
	}
	return nil
}

// minor returns the number of the minor in a version such as "1.33.13" or "1.33".
func minor(version string) int {
	number, _ := strconv.Atoi(strings.Split(version, ".")[1])
	return number
}

// differenceKinds counts the differences of each kind. A kind is a combination of a route, the two statuses, and the
// aspects of the answers that differ.
type differenceKinds struct {
	mu       sync.Mutex
	count    map[string]int
	examples map[string]string // of each kind
	allowed  map[*allowed]bool // the allowed differences that occurred
	replayed int               // the number of configurations
}

func (k *differenceKinds) replay() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.replayed++
}

func (k *differenceKinds) allow(a *allowed) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.allowed[a] = true
}

func (k *differenceKinds) add(id, root string, want, got *recordings.Answer, differences []recordings.Difference) {
	kind := fmt.Sprintf("%s: %d, fauxlet %d:", root, want.Code, got.Code)
	example := id
	for _, d := range differences {
		kind += " " + d.Aspect
		example += "\n" + d.Aspect + ": " + d.Detail
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.count[kind]++; k.count[kind] == 1 {
		k.examples[kind] = example
	}
}

// report returns a text with the number of differences and one example of each kind.
func (k *differenceKinds) report() string {
	var text strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(k.count)) {
		fmt.Fprintf(&text, "\n## %d of %s\n\n%s\n", k.count[kind], kind, k.examples[kind])
	}
	return text.String()
}

// recordedFixture returns the options of a fixture with the configuration and the pods of the recordings.
func recordedFixture(t *testing.T, suite *recordings.Suite, setup *recordings.Setup, version string,
	ca *testcerts.Authority) fixtureOptions {
	t.Helper()
	dir := t.TempDir()
	options := fixtureOptions{pods: recordedPods(t, suite, dir), nodeLogs: suite.NodeLogs}
	options.before = func(f *fixture) {
		f.certDir, f.ca, f.version, f.inMemory = f.path("pki"), ca, version, true
		f.write(t, "ca.crt", string(ca.CertPEM()))
		ttl := map[bool]string{false: "1ns", true: "1h"}[setup.Caches]
		all := vectors.Settings{
			"address": "127.0.0.1", "healthzPort": int64(0), "authentication.x509.clientCAFile": f.path("ca.crt"),
			"tlsCertFile": f.path("kubelet.crt"), "tlsPrivateKeyFile": f.path("kubelet.key"),
			"authentication.webhook.cacheTTL": ttl, "authorization.webhook.cacheAuthorizedTTL": ttl,
			"authorization.webhook.cacheUnauthorizedTTL": ttl,
		}
		maps.Copy(all, setup.Settings)
		text, err := all.YAML()
		if err != nil {
			t.Fatal(err)
		}
		f.write(t, "kubelet.yaml", string(text))
		f.write(t, "rbac.yaml", string(vectors.RBAC))
		f.write(t, "tokens.csv", string(vectors.Tokens))
		f.args = []string{"--port=" + strconv.Itoa(freePort(t)), "--read-only-port=" + strconv.Itoa(freePort(t)),
			"--hostname-override=node-1", "--cert-dir=" + f.certDir}
		if setup.Flags == nil {
			f.args = append(f.args, "--config="+f.path("kubelet.yaml"), "--kubeconfig="+f.path("kubeconfig"),
				"--register-node=false", "-v=0")
			return
		}
		f.args = append(f.args, "--address=127.0.0.1", "--healthz-port=0", "-v=2")
		for _, flag := range setup.Flags {
			if name, value, _ := strings.Cut(flag, "="); value == "ca.crt" || value == "kubeconfig" {
				flag = name + "=" + f.path(value)
			}
			f.args = append(f.args, flag)
		}
	}
	return options
}

// recordedPods returns the pods of the recordings. It writes their logs to a folder.
func recordedPods(t *testing.T, suite *recordings.Suite, dir string) []scenario.Pod {
	t.Helper()
	file := func(name string) string {
		path := filepath.Join(dir, name+".log")
		if err := os.WriteFile(path, []byte(suite.Logs[name+".log"]), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var list v1.PodList
	if err := yaml.Unmarshal([]byte(suite.Pods), &list); err != nil {
		t.Fatal(err)
	}
	var all []scenario.Pod
	for i := range list.Items {
		pod := scenario.Pod{Pod: &list.Items[i], Containers: map[string]scenario.Container{}}
		for _, c := range pod.Pod.Spec.Containers {
			name := pod.Pod.Namespace + "_" + pod.Pod.Name + "_" + c.Name
			log := scenario.Log{File: file(name)}
			if _, there := suite.Logs[name+".previous.log"]; there {
				log.Previous = &scenario.Log{File: file(name + ".previous")}
			}
			pod.Containers[c.Name] = scenario.Container{Log: log}
		}
		all = append(all, pod)
	}
	return all
}

// namesOfRecordings replaces the addresses and the files of the fixture by the names that the recordings have.
func (f *fixture) namesOfRecordings() *recordings.Names {
	var pairs []string
	for _, name := range []string{"ca.crt", "kubelet.crt", "kubelet.key", "kubelet.yaml", "kubeconfig"} {
		pairs = append(pairs, f.path(name), "/"+name)
	}
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	return recordings.NewNames(append(pairs, f.certDir, "/pki"),
		map[string]string{port(f.address): "10250", port(f.readOnly): "10255"})
}
