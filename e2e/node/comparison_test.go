package node

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
)

// These are the default number of generated pods and the default seed. The environment variables FAUXLET_E2E_PODS
// and FAUXLET_E2E_SEED replace them.
const (
	defaultPods = 30
	defaultSeed = 1
)

// sides has the names of the two nodes. The pods of a node are in a namespace that has the name of the node.
var sides = [2]string{"side-hollow", "side-fauxlet"}

// sameNode is a cluster with two nodes that run the same pods. One node is the program "hollow", made of the kubelet's
// own code; the other node is fauxlet.
type sameNode struct {
	*comparer
	plane     *controlplane.Plane
	hollow    *programs.Process
	fauxlet   *joined
	journeys  []*journey
	histories *histories
}

// journey is one pod of the comparison, which runs on both nodes, and the steps that the test has taken with it.
type journey struct {
	*shape
	// changed is the time when the test last changed the pods, or found that they need no change. deleted is the time
	// when the test deleted the pods.
	changed, deleted time.Time
	problems         []string // differences between the current states of the two pods
}

// TestSameNode runs fauxlet and a kubelet made of Kubernetes' own code (program "hollow") with the same pods. It
// compares Nodes, Leases, static pods, and every status of every pod from its creation to its deletion.
func TestSameNode(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	alone(t)
	seed, count := programs.NumberFromEnvironment(t, "FAUXLET_E2E_SEED", defaultSeed),
		programs.NumberFromEnvironment(t, "FAUXLET_E2E_PODS", defaultPods)
	t.Logf("generated pods: FAUXLET_E2E_SEED=%d FAUXLET_E2E_PODS=%d", seed, count)
	s := &sameNode{comparer: &comparer{met: map[string]bool{}}, plane: controlplane.New(t, controlplane.ForNodes)}
	for _, shape := range append(shapes(), generatedShapes(seed, int(count))...) {
		s.journeys = append(s.journeys, &journey{shape: &shape})
	}
	s.start(t)
	for _, j := range s.journeys {
		for _, side := range sides {
			_, err := s.plane.Client.CoreV1().Pods(side).Create(context.Background(), j.pod(t, side, side),
				metav1.CreateOptions{})
			expect.NoError(t, err)
		}
	}
	s.objects(t)
	s.singlePods(t)
	s.travel(t)
	s.conduct(t)
	s.stop(t)
	if !t.Failed() {
		s.unmet(t)
	}
}

// start starts both nodes and waits until they are Ready.
func (s *sameNode) start(t *testing.T) {
	ctx := context.Background()
	for _, side := range sides {
		_, err := s.plane.Client.CoreV1().Namespaces().Create(ctx,
			&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: side}},
			metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	s.histories = watchPods(t, s.plane, sides[:]...)
	static := t.TempDir()
	expect.NoError(t, os.WriteFile(filepath.Join(static, "agent.yaml"), []byte(`
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: default, labels: {app: agent}}
spec: {containers: [{name: agent, image: "example.com/agent:1"}]}
`), 0o644))
	both := []string{"--node-ip", hostAddress(t), "--node-labels", "example.com/rack=7", "--register-with-taints",
		"example.com/kind=test:NoSchedule", "--max-pods", "300"}
	s.hollow = startHollow(t, s.plane, sides[0], append(both, "--pod-manifest-path", static)...)
	settings := kubelet.ServingCertificate(t)
	settings["staticPodPath"] = static
	// Give fauxlet the resources that the kubelet reports for this machine.
	machine := []string{"--capacity", "cpu=1,memory=3840Mi,ephemeral-storage=0"}
	s.fauxlet = join(t, s.plane, joinOptions{name: sides[1], settings: settings, scenario: s.scenario(t),
		args: append(both, machine...)})
	t.Cleanup(func() {
		now := int64(0)
		for _, side := range sides {
			for _, namespace := range []string{side, "default"} {
				err := s.plane.Client.CoreV1().Pods(namespace).DeleteCollection(ctx,
					metav1.DeleteOptions{GracePeriodSeconds: &now},
					metav1.ListOptions{FieldSelector: "spec.nodeName=" + side})
				if err != nil {
					t.Error(err)
				}
			}
		}
		if err := s.plane.Client.CoreV1().Nodes().Delete(ctx, sides[0], metav1.DeleteOptions{}); err != nil &&
			!apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	for _, side := range sides {
		s.plane.AwaitNode(t, side, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	}
}

// scenario writes a scenario for fauxlet that describes how the containers end. The program "hollow" reads the same
// descriptions from environment variables of the containers.
func (s *sameNode) scenario(t *testing.T) string {
	t.Helper()
	type entry struct {
		Namespace string `json:"namespace"`
		Pod       string `json:"pod"`
		Container string `json:"container"`
		life
	}
	var entries []entry
	for _, j := range s.journeys {
		for _, container := range slices.Sorted(maps.Keys(j.lives)) {
			entries = append(entries, entry{sides[1], j.name, container, j.lives[container]})
		}
	}
	text, err := yaml.Marshal(map[string]any{"containers": entries})
	expect.NoError(t, err)
	return string(text)
}

// compare compares an object of one node with the corresponding object of the other node.
func (s *sameNode) compare(t *testing.T, what string, from func(side int) (any, error)) {
	t.Helper()
	var all [2]flat
	for i, side := range sides {
		expect.Eventually(t, time.Minute, what+" of "+side, func() string {
			object, err := from(i)
			if err != nil {
				return err.Error()
			}
			all[i] = flatten(t, object, side, "(node)")
			return ""
		})
	}
	differ, known := s.differ(what, all[0], all[1])
	for _, problem := range differ {
		t.Error(problem)
	}
	s.meet(known)
}

// objects compares the nodes' objects other than pods, such as the Node and its Lease.
func (s *sameNode) objects(t *testing.T) {
	ctx := context.Background()
	s.compare(t, "Node", func(side int) (any, error) {
		node, err := s.plane.Client.CoreV1().Nodes().Get(ctx, sides[side], metav1.GetOptions{})
		if err == nil {
			// A kubelet lists the images that its pods have used. The images are compared when the node stops.
			node.Status.Images = nil
		}
		return node, err
	})
	s.compare(t, "Lease", func(side int) (any, error) {
		return s.plane.Client.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(ctx, sides[side], metav1.GetOptions{})
	})
	s.compare(t, "CSINode", func(side int) (any, error) {
		all, err := s.plane.Client.StorageV1().CSINodes().List(ctx,
			metav1.ListOptions{FieldSelector: "metadata.name=" + sides[side]})
		if err == nil && len(all.Items) == 0 && side == 0 {
			err = fmt.Errorf("the CSINode of %s does not exist yet", sides[side])
		}
		if err != nil {
			return nil, err
		}
		return all.Items, nil
	})
	s.compare(t, "static pod", func(side int) (any, error) {
		pod, err := s.plane.Client.CoreV1().Pods("default").Get(ctx, "agent-"+sides[side], metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if pod.Status.Phase != v1.PodRunning {
			return nil, fmt.Errorf("the phase of static pod %s is %s, want Running", pod.Name, pod.Status.Phase)
		}
		pod.Status.PodIP, pod.Status.PodIPs = "(pod's address)", nil
		hash := pod.Annotations["kubernetes.io/config.hash"] // the hash depends on the node's name
		for name, value := range pod.Annotations {
			pod.Annotations[name] = strings.ReplaceAll(value, hash, fmt.Sprintf("(hash of %d digits)", len(hash)))
		}
		if _, err := time.Parse(time.RFC3339Nano, pod.Annotations["kubernetes.io/config.seen"]); err == nil {
			pod.Annotations["kubernetes.io/config.seen"] = "(time)"
		}
		return pod, nil
	})
}

// restful is how long the status of a pod must stay the same on both nodes before the test treats it as stable. It is
// longer than the time for which a container stays in any state except its final state and a long back-off.
const restful = 13 * time.Second

// The method "travel" waits until the statuses of all pods are stable. Then it changes and deletes the pods, and
// compares their histories.
func (s *sameNode) travel(t *testing.T) {
	done := map[*journey]bool{}
	_ = expect.Within(2*time.Minute, func() string {
		if problem := s.histories.problem(); problem != "" {
			t.Fatal(problem)
		}
		for _, j := range s.journeys {
			if !done[j] {
				done[j] = s.step(t, j)
			}
		}
		if len(done) < len(s.journeys) || slices.Contains(slices.Collect(maps.Values(done)), false) {
			return "not all are gone"
		}
		return ""
	})
	for _, j := range s.journeys {
		s.compareJourney(t, j)
	}
}

// step changes or deletes a pod on both nodes, if its status is stable on both. It reports whether the pod is gone.
func (s *sameNode) step(t *testing.T, j *journey) (gone bool) {
	var now [2]flat
	for i, side := range sides {
		history := s.histories.of(side, j.name)
		if len(history) == 0 {
			j.problems = []string{"the pod of " + side + " does not exist"}
			return false
		}
		switch last := history[len(history)-1]; {
		case !j.deleted.IsZero() && !last.deleted:
			if j.hurried && time.Since(last.at) > lasting {
				j.hurried = false
				s.delete(t, j, ptr.To[int64](1))
			}
			j.problems = []string{"the pod of " + side + " was deleted, but still exists"}
			return false
		case j.deleted.IsZero() && (time.Since(last.at) < restful || !last.at.After(j.changed)):
			j.problems = []string{"the status of the pod of " + side + " is not stable"}
			return false
		default:
			now[i] = statusOf(t, last.pod)
		}
	}
	differ, known := s.differ("pod", now[0], now[1])
	if j.problems = differ; !j.deleted.IsZero() || len(differ) > 0 {
		return !j.deleted.IsZero()
	}
	s.meet(known)
	at := time.Now()
	if j.changed.IsZero() && s.change(t, j) {
		j.changed = at
		return false
	}
	s.delete(t, j, j.grace)
	j.deleted = at
	return false
}

func (s *sameNode) delete(t *testing.T, j *journey, grace *int64) {
	for _, side := range sides {
		expect.NoError(t, s.plane.Client.CoreV1().Pods(side).Delete(context.Background(), j.name,
			metav1.DeleteOptions{GracePeriodSeconds: grace}))
	}
}

// change sets the pod conditions that readiness gates wait for, or adds an ephemeral container. It reports whether the
// pods needed a change.
func (s *sameNode) change(t *testing.T, j *journey) bool {
	ctx := context.Background()
	for _, side := range sides {
		pods := s.plane.Client.CoreV1().Pods(side)
		for _, gate := range j.spec.ReadinessGates {
			patch := fmt.Sprintf(`{"status":{"conditions":[{"type":%q,"status":"True",`+
				`"lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`,
				gate.ConditionType)
			_, err := pods.Patch(ctx, j.name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{},
				"status")
			expect.NoError(t, err)
		}
		if j.debugged {
			pod, err := pods.Get(ctx, j.name, metav1.GetOptions{})
			expect.NoError(t, err)
			pod.Spec.EphemeralContainers = []v1.EphemeralContainer{{
				EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "example.com/debug:1"}}}
			_, err = pods.UpdateEphemeralContainers(ctx, j.name, pod, metav1.UpdateOptions{})
			expect.NoError(t, err)
		}
	}
	return j.debugged || j.spec.ReadinessGates != nil
}

// compareJourney compares the histories of a pod on both nodes and reports differences.
func (s *sameNode) compareJourney(t *testing.T, j *journey) {
	problems := j.problems
	hollow, fauxlet := stages(t, s.histories.of(sides[0], j.name)), stages(t, s.histories.of(sides[1], j.name))
	for _, unmatched := range s.unmatched(hollow, fauxlet, true) {
		problems = append(problems, "the kubelet's: "+unmatched)
	}
	for _, unmatched := range s.unmatched(fauxlet, hollow, false) {
		problems = append(problems, "fauxlet's: "+unmatched)
	}
	if len(problems) == 0 {
		return
	}
	spec, err := yaml.Marshal(j.pod(t, "", "").Spec)
	expect.NoError(t, err)
	t.Errorf("pod %s:\n    %s\n%s\nthe kubelet's:\n%s\nfauxlet's:\n%s", j.name, strings.Join(problems, "\n    "), spec,
		inShort(hollow), inShort(fauxlet))
}

// The method "conduct" compares two properties of the nodes that do not concern a single pod: whether a node reports
// the status of a pod before it has created any container of the pod, and which kinds of events the node reports.
func (s *sameNode) conduct(t *testing.T) {
	s.compare(t, "reports of pods", func(side int) (any, error) {
		is := map[string]string{}
		for _, j := range s.journeys {
			for _, m := range s.histories.of(sides[side], j.name) {
				if m.pod.Status.StartTime != nil && !anyCreated(&m.pod.Status) {
					is["reports pods before their containers"] = "it does"
				}
			}
		}
		return is, nil
	})
	s.compare(t, "events", func(side int) (any, error) {
		is := map[string]string{}
		for _, line := range regexp.MustCompile(`(?m)^event: (?:Normal|Warning) (\S+)`).FindAllStringSubmatch(
			s.hollow.Out.String(),
			-1) {
			if side == 0 {
				is[line[1]] = "reported"
			}
		}
		all, err := s.plane.Client.CoreV1().Events("").List(context.Background(),
			metav1.ListOptions{FieldSelector: "source=kubelet"})
		if err != nil {
			return nil, err
		}
		for _, event := range all.Items {
			if event.Source.Host == sides[side] {
				is[event.Reason] = "reported"
			}
		}
		return is, nil
	})
}

func anyCreated(s *v1.PodStatus) bool {
	return slices.ContainsFunc(slices.Concat(s.InitContainerStatuses, s.ContainerStatuses),
		func(c v1.ContainerStatus) bool { return c.ContainerID != "" })
}

// stop stops both nodes and compares the objects that they leave behind.
func (s *sameNode) stop(t *testing.T) {
	expect.NoError(t, s.hollow.Stop())
	s.fauxlet.halt(t)
	s.compare(t, "Node that has stopped", func(side int) (any, error) {
		node, err := s.plane.Client.CoreV1().Nodes().Get(context.Background(), sides[side], metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		is := map[string]any{"images": min(len(node.Status.Images), 1)}
		for _, c := range node.Status.Conditions {
			is[string(c.Type)] = c
		}
		return is, nil
	})
}
