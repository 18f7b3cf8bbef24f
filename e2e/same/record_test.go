package same

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/reviews"
	"fauxlet/e2e/internal/sample"
	"fauxlet/internal/faults"
	"fauxlet/internal/recordings"
	"fauxlet/internal/vectors"
)

// recordedRequests is the number of generated requests of each configuration in the recordings.
const recordedRequests = 200

// TestRecord records the answers of the kubelet's server of one minor of Kubernetes, for package recordings. The minor,
// such as 1.33, is in FAUXLET_E2E_RECORD. The test sends each request to two servers, and records the answers that are
// the same. If requests.json.gz is missing, it first writes this file. Then the recordings of all minors must be made
// anew.
//
// Without FAUXLET_E2E_RECORD, the test writes nothing. It records one configuration of the version in go.mod again, and
// expects the answers that are in the repository.
func TestRecord(t *testing.T) {
	minor := os.Getenv("FAUXLET_E2E_RECORD")
	again := minor == ""
	if again {
		minor, _, _ = strings.Cut(strings.TrimPrefix(programs.Version, "v1."), ".")
		minor = "1." + minor
	}
	corpus, err := vectors.Load()
	expect.NoError(t, err)
	clients := newClients(t, corpus)
	const dir = "../../internal/recordings/data"
	suite, err := recordings.LoadSuite()
	newRequests := os.IsNotExist(err) && !again
	if newRequests {
		suite = newSuite(t, corpus, clients)
	} else {
		expect.NoError(t, err)
	}
	program, version := programs.OlderReference+minor, programs.ModuleVersion(t, minor)
	if strings.HasPrefix(programs.Version, "v"+minor+".") {
		program = "reference"
	}
	programs.Path(t, program)
	r := &recordings.Recording{Module: "k8s.io/kubernetes " + version, Date: time.Now().UTC().Format(time.DateOnly),
		Measured: program == "reference", Given: map[string][]int{}, Refused: map[string]string{},
		Without: map[string][]string{}}
	if again {
		maps.DeleteFunc(suite.Configurations, func(name string, _ recordings.Setup) bool { return name != "tls12" })
	}
	if newRequests {
		withoutSlow(t, suite, clients)
		expect.NoError(t, suite.Write(dir))
	}
	var mu sync.Mutex
	indexes := map[string]int{}
	unstable := 0
	t.Run("in", func(t *testing.T) {
		for _, name := range sortedKeys(suite.Configurations) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				setup := suite.Configurations[name]
				without, refused := refusal(t, &setup, program)
				mu.Lock()
				if refused != "" {
					r.Refused[name] = refused
				}
				if without != nil {
					r.Without[name] = without
				}
				mu.Unlock()
				if refused != "" && without == nil {
					return
				}
				setup = setup.WithoutGates(without)
				answers := recordBoth(t, &setup, program, clients, r.Measured)
				mu.Lock()
				defer mu.Unlock()
				for i := range answers[0] {
					index := -1
					if len(answers[0][i].Compare(&answers[1][i])) == 0 {
						index = r.Add(&answers[0][i], indexes)
					} else {
						unstable++
						talk, request := setup.Request(i)
						t.Logf("%s: not recorded, because two servers answered differently: %v", talk.ID(request),
							answers[0][i].Compare(&answers[1][i]))
					}
					r.Given[name] = append(r.Given[name], index)
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	if again {
		compareRecordings(t, suite, minor, r)
		return
	}
	expect.NoError(t, r.Write(dir, minor, suite))
	requests := 0
	for _, given := range r.Given {
		requests += len(given)
	}
	t.Logf("%s: %d requests in %d configurations, %d different answers, %d requests not recorded", r.Module, requests,
		len(r.Given), len(r.Answers), unstable)
}

// compareRecordings expects the same answers as in the recording of the minor that is in the repository.
func compareRecordings(t *testing.T, suite *recordings.Suite, minor string, again *recordings.Recording) {
	t.Helper()
	r, err := suite.Load(minor)
	expect.NoError(t, err)
	compared := 0
	for name, given := range again.Given {
		if len(given) != len(r.Given[name]) {
			t.Fatalf("%s: %d answers, but %d are recorded", name, len(given), len(r.Given[name]))
		}
		for i, index := range given {
			if index < 0 || r.Given[name][i] < 0 {
				continue
			}
			compared++
			if differences := again.Answers[index].Compare(&r.Answers[r.Given[name][i]]); len(differences) > 0 {
				setup := suite.Configurations[name]
				talk, request := setup.Request(i)
				t.Errorf("%s: the kubelet's answer differs from the recorded one: %v", talk.ID(request), differences)
			}
		}
	}
	if t.Logf("%s: %d answers are the same as the recorded ones", again.Module, compared); compared < 100 {
		t.Errorf("only %d answers were compared", compared)
	}
}

// newSuite returns the requests of the recordings.
func newSuite(t *testing.T, corpus *vectors.Corpus, clients map[string]client) *recordings.Suite {
	t.Helper()
	dir, pod := t.TempDir(), comparedPod()
	suite := &recordings.Suite{Configurations: map[string]recordings.Setup{},
		Pods:     expect.File(t, sample.WritePods(t, dir, []sample.Pod{pod})),
		Logs:     filesBelow(t, sample.WriteLogs(t, filepath.Join(dir, "logs"), []sample.Pod{pod})),
		NodeLogs: filesBelow(t, sample.WriteNodeLogs(t, filepath.Join(dir, "node-logs"))),
	}
	for name, how := range allConfigurations(corpus) {
		setup := recordings.Setup{Settings: how.settings, Flags: how.flags, Caches: how.caches, Faults: how.faults}
		http2 := how.flags == nil && how.settings["authentication.x509.clientCAFile"] == ""
		for _, talk := range slices.Concat(written(name, corpus), ofVectors(t, name, corpus),
			readDiffered(t, name), generate(name, defaultSeed, recordedRequests, clients, http2, true)) {
			talk.Requests = slices.DeleteFunc(talk.Requests, func(r request) bool { return r.Follows() })
			if len(talk.Requests) > 0 {
				setup.Conversations = append(setup.Conversations, talk)
			}
		}
		suite.Configurations[name] = setup
	}
	return suite
}

// merged returns conversations with the same requests, in which a client sends many requests over one connection. This
// saves most of the time for handshakes.
func merged(all []conversation) []conversation {
	type sender struct {
		as       string
		readOnly bool
	}
	last := map[sender]int{}
	var longer []conversation
	for _, talk := range all {
		key := sender{talk.As, talk.ReadOnly}
		if talk.Faults != nil || len(talk.Requests) != 1 || talk.HTTP2 || talk.Quick {
			longer = append(longer, talk)
			continue
		}
		r := talk.Requests[0]
		r.Header = strings.TrimPrefix(r.Header, hangUp)
		const most = 60
		if i, known := last[key]; known && len(longer[i].Requests) < most {
			longer[i].Requests = append(longer[i].Requests, r)
			continue
		}
		last[key] = len(longer)
		longer = append(longer, conversation{As: talk.As, ReadOnly: talk.ReadOnly, Quick: true, Requests: []request{r}})
	}
	return longer
}

// withoutSlow removes the conversations that take long, because a server waits for the rest of a request. It finds them
// with the server of the version in go.mod. It merges the others.
func withoutSlow(t *testing.T, suite *recordings.Suite, clients map[string]client) {
	t.Helper()
	const long = time.Second
	var mu sync.Mutex
	t.Run("slow", func(t *testing.T) {
		for _, name := range sortedKeys(suite.Configurations) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				mu.Lock()
				setup := suite.Configurations[name]
				mu.Unlock()
				s := startSides(t, configuration{settings: setup.Settings, flags: setup.Flags, caches: setup.Caches,
					recorded: "reference", quiet: true}, clients)[0]
				setup.Conversations = slices.DeleteFunc(setup.Conversations, func(talk conversation) bool {
					began := time.Now()
					talk.Hold(s.peer)
					return time.Since(began) > long
				})
				setup.Conversations = merged(setup.Conversations)
				mu.Lock()
				defer mu.Unlock()
				suite.Configurations[name] = setup
			})
		}
	})
}

// filesBelow returns the contents of all files in a folder and in the folders below it.
func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	expect.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all[strings.TrimPrefix(path, dir+"/")] = expect.File(t, path)
		}
		return err
	}))
	return all
}

// unknownGate matches the error of a kubelet that does not accept a feature gate.
var unknownGate = regexp.MustCompile(`unrecognized feature gate: (\w+)|cannot set feature gate (\w+) to`)

// startError matches the line with the error of the program "reference". A kubelet's error may be a panic.
var startError = regexp.MustCompile(`(?m)^(reference|panic): .*$`)

// refusal returns the error with which a program does not start in a configuration, or an empty text. If the program
// starts without certain feature gates, refusal returns their names.
func refusal(t *testing.T, setup *recordings.Setup, program string) (without []string, refused string) {
	t.Helper()
	if setup.Flags != nil {
		return nil, ""
	}
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	for {
		dir := t.TempDir()
		config, err := comparedSettings(t, configuration{settings: setup.WithoutGates(without).Settings}, "127.0.0.1",
			programs.FreePort(t)).YAML(p)
		expect.NoError(t, err)
		file, ready := filepath.Join(dir, "kubelet.yaml"), filepath.Join(dir, "ready.json")
		expect.NoError(t, os.WriteFile(file, config, 0o644))
		started, err := programs.Start(program, programs.Path(t, program), "--config", file, "--kubeconfig",
			reviews.Start(t).Kubeconfig, "--hostname-override=node-1", "--cert-dir", dir, "--port",
			strconv.Itoa(programs.FreePort(t)), "--ready-file", ready, "-v=0")
		expect.NoError(t, err)
		expect.Eventually(t, time.Minute, program+" is ready or has ended", func() string {
			select {
			case <-started.Ended:
				return ""
			default:
			}
			_, err := os.Stat(ready)
			if err != nil {
				return err.Error()
			}
			return ""
		})
		select {
		case <-started.Ended:
		default:
			expect.NoError(t, started.Stop())
			return without, refused
		}
		if refused == "" {
			refused = strings.TrimSpace(startError.FindString(started.Out.String()))
		}
		gate := unknownGate.FindStringSubmatch(started.Out.String())
		if gate == nil || slices.Contains(without, gate[1]+gate[2]) {
			return nil, refused
		}
		without = append(without, gate[1]+gate[2])
	}
}

// recordBoth plays the conversations of a configuration to two servers that run the same program.
func recordBoth(t *testing.T, setup *recordings.Setup, program string, clients map[string]client,
	measured bool) [2][]recordings.Answer {
	t.Helper()
	sides := startSides(t, configuration{settings: setup.Settings, flags: setup.Flags, caches: setup.Caches,
		recorded: program, quiet: true}, clients)
	var answers [2][]recordings.Answer
	var failed [2]error
	var both sync.WaitGroup
	for i, s := range sides {
		s.peer.Same = forRecording(t, s)
		both.Go(func() {
			answers[i], failed[i] = setup.Answers(s.peer, measured,
				func(all []faults.Fault) error { return s.reviews.Faults.Replace("same", all) })
		})
	}
	both.Wait()
	for _, err := range failed {
		expect.NoError(t, err)
	}
	return answers
}

// forRecording replaces the addresses and the files of a server by names that the recordings have.
func forRecording(t *testing.T, s *side) *recordings.Names {
	t.Helper()
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	serving := kubelet.ServingCertificate(t)
	host, port, found := strings.Cut(s.Secure, ":")
	if !found {
		t.Fatalf("address %s", s.Secure)
	}
	_, readOnly, _ := strings.Cut(s.ReadOnly, ":")
	names := map[string]string{p.CAFile: "/ca.crt", serving["tlsCertFile"].(string): "/kubelet.crt",
		serving["tlsPrivateKeyFile"].(string): "/kubelet.key", filepath.Join(s.Dir, "kubeconfig"): "/kubeconfig",
		filepath.Join(s.Dir, "kubelet.yaml"): "/kubelet.yaml", filepath.Join(filepath.Dir(s.Dir), "pki"): "/pki"}
	var pairs []string
	for _, file := range slices.Backward(slices.Sorted(maps.Keys(names))) { // longer paths first
		pairs = append(pairs, file, names[file])
	}
	if _, err := strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	return recordings.NewNames(append(pairs, host, "127.0.0.1"), map[string]string{port: "10250", readOnly: "10255"})
}
