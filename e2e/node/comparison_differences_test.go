package node

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/e2e/internal/expect"
)

// nodeDifference is an allowed difference between the kubelet (program "hollow") and fauxlet.
type nodeDifference struct {
	what    string   // the kind of object that differs
	paths   []string // regular expressions for whole field paths; the test fails if one of them matches no difference
	hollow  string   // regular expression for the kubelet's whole value; "-" stands for a missing value
	fauxlet string   // regular expression for fauxlet's whole value
	text    string   // description for docs/node.md
	why     string
}

// sameNodeDifferences lists all allowed differences. The test also fails if a listed difference no longer occurs.
var sameNodeDifferences = []nodeDifference{
	{
		what: "Node",
		paths: []string{
			`status\.nodeInfo\.(bootID|machineID|systemUUID)`, `status\.nodeInfo\.kernelVersion`,
			`status\.nodeInfo\.osImage`,
			`status\.nodeInfo\.containerRuntimeVersion`, `status\.nodeInfo\.kubeletVersion`,
		},
		hollow: ".*", fauxlet: ".+",
		text: "`nodeInfo` describes no real machine, kernel or operating system. `containerRuntimeVersion` begins " +
			"with `fauxlet://`, and `kubeletVersion` ends in `+fauxlet`",
		why: "everyone can see that the node is a stand-in",
	},
	{
		what: "Node",
		paths: []string{
			`status\.capacity\.hugepages-1Gi`, `status\.capacity\.hugepages-2Mi`,
			`status\.allocatable\.hugepages-1Gi`, `status\.allocatable\.hugepages-2Mi`,
		},
		hollow: "-", fauxlet: "0",
		text: "the capacity for huge pages of 1Gi and 2Mi is 0",
		why: "a kubelet on a usual machine reports 0 too. The kubelet in this comparison runs on a fake machine, for " +
			"which it reports no capacity for huge pages",
	},
	{
		what:  "Node",
		paths: []string{`status\.declaredFeatures\[\d\]`},
		hollow: "InPlacePodLevelResourcesVerticalScaling|InPlacePodVerticalScalingInitContainers|" +
			"RestartAllContainersOnContainerExits",
		fauxlet: "-",
		text:    "`declaredFeatures` has only `ExtendWebSocketsToKubelet`",
		why: "fauxlet cannot resize pods in place or restart all containers of a pod, and the scheduler relies on " +
			"the declared features",
	},
	{
		what:   "CSINode",
		paths:  []string{`.*`},
		hollow: ".*", fauxlet: "-",
		text: "there is no CSINode object",
		why:  "there are no CSI drivers",
	},
	{
		what:    "Node that has stopped",
		paths:   []string{`Ready\.status`, `Ready\.reason`, `Ready\.message`},
		hollow:  "True|KubeletReady|kubelet is posting ready status",
		fauxlet: "False|KubeletNotReady|node is shutting down",
		text:    "the node becomes NotReady when its process receives SIGTERM",
		why:     "a kubelet reports NotReady when its machine shuts down. Here the process stands for the machine",
	},
	{
		what:   "Node that has stopped",
		paths:  []string{`images`},
		hollow: "1", fauxlet: "0",
		text: "the Node has no `images`",
		why:  "no image is pulled or stored",
	},
	{
		what:   "pod without room",
		paths:  []string{`phase`, `reason`},
		hollow: "Failed|OutOfcpu", fauxlet: "Running|",
		text: "a pod runs even if the node has too little capacity for it. A kubelet refuses it with `OutOfcpu`",
		why: "pods use no resources here. The client that binds pods, usually the scheduler, decides how many a node " +
			"gets",
	},
	{
		what:   "pod that does not pass its probes",
		paths:  []string{`ready`, `goes on`},
		hollow: "false", fauxlet: "true",
		text: "probes are not sent and never fail. A container becomes Ready when its probes can first have " +
			"succeeded, and liveness probes never restart it",
		why: "there is no process to probe. Set `readyAfter` and `exits` instead",
	},
	{
		what:   "reports of pods",
		paths:  []string{`reports pods before their containers`},
		hollow: "it does", fauxlet: "-",
		text: "the first status of a pod already has its first containers, waiting or running. A kubelet sends " +
			"a status without containers a moment before",
		why: "fauxlet saves one request for each pod",
	},
	{
		what:   "events",
		paths:  []string{`Started`, `Created`, `Pulled|Pulling`, `Killing`, `BackOff`, `.*`},
		hollow: "reported", fauxlet: "-",
		text: "there are no events",
		why:  "with many nodes, most requests to the apiserver would be about events",
	},
}

// flat is an object as a map from the paths of its fields, such as status.conditions[0].type, to their values.
type flat map[string]string

// masked has fields whose values differ between any two objects, even on the same node. It maps the last part of the
// path of such a field to a text that replaces the value before objects are compared.
var masked = map[string]string{
	"uid": "(uid)", "resourceVersion": "(version)", "creationTimestamp": "(time)", "deletionTimestamp": "(time)",
	"renewTime":         "(time)",
	"lastHeartbeatTime": "(time)", "lastTransitionTime": "(time)", "startTime": "(time)", "startedAt": "(time)",
	"finishedAt":  "(time)",
	"containerID": "(id)", "imageID": "(image)", "Port": "(port)",
}

// flatten returns the fields of an object. In the values, it replaces words that contain the name of the node, so that
// objects of two nodes can be compared.
func flatten(t testing.TB, object any, words ...string) flat {
	t.Helper()
	text, err := json.Marshal(object)
	expect.NoError(t, err)
	var tree any
	expect.NoError(t, json.Unmarshal(text, &tree))
	fields, replacer := flat{}, strings.NewReplacer(words...)
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(value)) {
				if name == "managedFields" {
					continue
				}
				walk(strings.TrimPrefix(path+"."+replacer.Replace(name), "."), value[name])
			}
			if len(value) == 0 && path != "" {
				fields[path] = "{}"
			}
		case []any:
			for i, item := range value {
				walk(fmt.Sprintf("%s[%d]", path, i), item)
			}
		case nil:
			if path != "" {
				fields[path] = "null"
			}
		default:
			is := replacer.Replace(fmt.Sprint(value))
			if mask := masked[path[strings.LastIndex(path, ".")+1:]]; mask != "" && value != "" {
				is = mask
			}
			fields[path] = is
		}
	}
	walk("", tree)
	return fields
}

// statusOf returns the fields of a pod's status. In the values, it replaces words that contain the name of the node.
func statusOf(t testing.TB, pod *v1.Pod) flat {
	t.Helper()
	words := []string{string(pod.UID), "(uid)", "_" + pod.Namespace + "(", "_(namespace)("}
	if !pod.Spec.HostNetwork && pod.Status.PodIP != "" {
		words = append(words, pod.Status.PodIP, "(pod's address)")
	}
	return flatten(t, pod.Status, words...)
}

// inShort returns a short description of a pod's successive statuses: the phase and the container states of each.
func inShort(all []stage) string {
	var text strings.Builder
	for _, s := range all {
		fmt.Fprintf(&text, "  %6.1fs %s", s.lasted.Seconds(), s.status["phase"])
		for _, path := range slices.Sorted(maps.Keys(s.status)) {
			if of, field, found := strings.Cut(path, ".state."); found &&
				(strings.HasSuffix(field, ".reason") || strings.HasPrefix(field, "running.")) {
				fmt.Fprintf(&text, " %s#%s:%s", s.status[of+".name"], s.status[of+".restartCount"],
					strings.Replace(s.status[path], "(time)", "Running", 1))
			}
		}
		text.WriteString("\n")
	}
	return text.String()
}

func (f flat) String() string {
	var text strings.Builder
	for _, path := range slices.Sorted(maps.Keys(f)) {
		fmt.Fprintf(&text, "%s=%s\n", path, f[path])
	}
	return text.String()
}

// comparer compares objects and records which allowed differences occurred.
type comparer struct {
	met map[string]bool // met contains the allowed differences that occurred, as index in sameNodeDifferences and path
}

// differ compares two objects. The first result describes the differences that are not allowed. The result "known"
// lists the entries of sameNodeDifferences that allow the other differences.
func (c *comparer) differ(what string, hollow, fauxlet flat) (all, known []string) {
	paths := map[string]bool{}
	for path := range hollow {
		paths[path] = true
	}
	for path := range fauxlet {
		paths[path] = true
	}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		h, f := absent(hollow, path), absent(fauxlet, path)
		if h == f {
			continue
		}
		if places := placesOf(what, path, h, f); len(places) > 0 {
			known = append(known, places...)
		} else {
			all = append(all, fmt.Sprintf("%s: %s: the kubelet's %q, fauxlet's %q", what, path, h, f))
		}
	}
	return all, known
}

// meet records which allowed differences occurred.
func (c *comparer) meet(known []string) {
	for _, place := range known {
		c.met[place] = true
	}
}

func absent(f flat, path string) string {
	if value, there := f[path]; there {
		return value
	}
	return "-"
}

// placesOf returns the entries of sameNodeDifferences that allow the difference.
func placesOf(what, path, hollow, fauxlet string) []string {
	var places []string
	for i, d := range sameNodeDifferences {
		for _, pattern := range d.paths {
			if d.what == what && whole(pattern, path) && whole(d.hollow, hollow) && whole(d.fauxlet, fauxlet) {
				places = append(places, place(i, pattern))
			}
		}
	}
	return places
}

func place(i int, pattern string) string { return fmt.Sprint(i, " ", pattern) }

func whole(pattern, text string) bool {
	return regexp.MustCompile("^(?s:" + pattern + ")$").MatchString(text)
}

// The method "unmet" reports each entry of sameNodeDifferences that did not occur. Each such entry makes the test fail.
func (c *comparer) unmet(t testing.TB) {
	t.Helper()
	for i, d := range sameNodeDifferences {
		for _, pattern := range d.paths {
			if !c.met[place(i, pattern)] {
				t.Errorf("%s %s: the kubelet's %s and fauxlet's %s no longer occur; remove the entry from "+
					"sameNodeDifferences",
					d.what, pattern, d.hollow, d.fauxlet)
			}
		}
	}
}

// stage is a pod's status, and how long the pod had that status.
type stage struct {
	status flat
	lasted time.Duration
}

// stages returns the successive statuses of a pod, without consecutive duplicates.
func stages(t testing.TB, history []moment) []stage {
	t.Helper()
	var all []stage
	var since time.Time
	for _, m := range history {
		status := statusOf(t, m.pod)
		if n := len(all); n > 0 {
			all[n-1].lasted = m.at.Sub(since)
			if maps.Equal(all[n-1].status, status) {
				continue
			}
		}
		all, since = append(all, stage{status: status}), m.at
	}
	if n := len(all); n > 0 && !history[len(history)-1].deleted {
		all[n-1].lasted = time.Since(since)
	}
	return all
}

// lasting is the shortest duration of a status that both nodes must report. Shorter statuses may be missing from the
// history, because a kubelet inspects its containers once a second, and less often on a busy machine.
const lasting = 4500 * time.Millisecond

// unmatched returns the statuses of one node that lasted long enough to be compared, but do not occur in the same order
// on the other node.
func (c *comparer) unmatched(of, other []stage, ofHollow bool) []string {
	var all []string
	from := 0
	for _, s := range of {
		if s.lasted < lasting {
			continue
		}
		nearest, found := []string(nil), -1
		for i := from; i < len(other); i++ {
			hollow, fauxlet := s.status, other[i].status
			if !ofHollow {
				hollow, fauxlet = fauxlet, hollow
			}
			differ, known := c.differ("pod", hollow, fauxlet)
			if len(differ) == 0 {
				c.meet(known)
				found = i
				break
			}
			if nearest == nil || cmp.Less(len(differ), len(nearest)) {
				nearest = differ
			}
		}
		if found >= 0 {
			from = found
			continue
		}
		all = append(all,
			fmt.Sprintf("for %v it was (phase %s), and the other never; the nearest of its %d stages differs "+
				"in\n      %s",
				s.lasted.Round(100*time.Millisecond), s.status["phase"], len(other)-from,
				strings.Join(nearest, "\n      ")))
	}
	return all
}
