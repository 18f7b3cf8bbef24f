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

// nodeDifference is one that there may be between what the two say.
type nodeDifference struct {
	what    string   // the object
	paths   []string // patterns of fields, each the whole of it, and each met
	hollow  string   // a pattern of the kubelet's value, the whole of it; absent is "-"
	fauxlet string   // that of fauxlet's
	tells   string   // it in words
	why     string
}

// sameNodeDifferences are all that there may be. One that is not seen any more fails the test too.
var sameNodeDifferences = []nodeDifference{
	{
		"Node", []string{`status\.nodeInfo\.(bootID|machineID|systemUUID)`, `status\.nodeInfo\.kernelVersion`, `status\.nodeInfo\.osImage`, `status\.nodeInfo\.containerRuntimeVersion`, `status\.nodeInfo\.kubeletVersion`}, ".*", ".+",
		"`nodeInfo` names no machine, kernel or system that there is; `containerRuntimeVersion` is `fauxlet://`, and `kubeletVersion` ends in `+fauxlet`",
		"a stand-in says what it is",
	},
	{
		"Node", []string{`status\.capacity\.hugepages-1Gi`, `status\.capacity\.hugepages-2Mi`, `status\.allocatable\.hugepages-1Gi`, `status\.allocatable\.hugepages-2Mi`}, "-", "0",
		"there are no huge pages, of 1Gi and of 2Mi",
		"so says a kubelet on a usual machine; the one that this is compared with has a made-up machine, with no size of pages",
	},
	{
		"Node", []string{`status\.declaredFeatures\[\d\]`}, "InPlacePodLevelResourcesVerticalScaling|InPlacePodVerticalScalingInitContainers|RestartAllContainersOnContainerExits", "-",
		"of `declaredFeatures` it has `ExtendWebSocketsToKubelet` alone",
		"it does not resize pods or restart all containers of one, and a scheduler goes by what a node declares",
	},
	{
		"CSINode", []string{`.*`}, ".*", "-",
		"there is no CSINode",
		"nothing is mounted, and there are no drivers",
	},
	{
		"Node that has stopped", []string{`Ready\.status`, `Ready\.reason`, `Ready\.message`}, "True|KubeletReady|kubelet is posting ready status", "False|KubeletNotReady|node is shutting down",
		"a node whose process is told to end says that it is not ready",
		"a kubelet says so when its machine shuts down, and otherwise leaves the cluster to find out; here the process is the machine",
	},
	{
		"Node that has stopped", []string{`images`}, "1", "0",
		"the Node has no `images`",
		"there are none; what a pod asks for is there at once",
	},
	{
		"pod without room", []string{`phase`, `reason`}, "Failed|OutOfcpu", "Running|",
		"a pod runs that is bound to a node without room for it; a kubelet refuses it, as `OutOfcpu`",
		"nothing is used up; how many pods a node takes is for whoever binds them to say",
	},
	{
		"pod that does not pass its probes", []string{`ready`, `goes on`}, "false", "true",
		"probes are not made, and so never fail: the container is Ready after the time that they need, and is not restarted for them",
		"there is nothing to be probed; `readyAfter` and `exits` say when a container is Ready, and when it ends",
	},
	{
		"conduct", []string{`tells of pods before their containers`}, "it does", "-",
		"the first that is told of a pod is told with its first containers created or started; a kubelet tells that it has the pod a moment before",
		"one request less for each pod",
	},
	{
		"events", []string{`Started`, `Created`, `Pulled|Pulling`, `Killing`, `BackOff`, `.*`}, "told", "-",
		"no events are recorded",
		"a fleet would write more of them than of all else",
	},
}

// flat is an object as its fields by their paths, as in status.conditions[0].type.
type flat map[string]string

// masked are the fields that any two of a kind differ in, by the end of their paths: what they are said to be, if they are
// there at all.
var masked = map[string]string{
	"uid": "(uid)", "resourceVersion": "(version)", "creationTimestamp": "(time)", "deletionTimestamp": "(time)", "renewTime": "(time)",
	"lastHeartbeatTime": "(time)", "lastTransitionTime": "(time)", "startTime": "(time)", "startedAt": "(time)", "finishedAt": "(time)",
	"containerID": "(id)", "imageID": "(image)", "Port": "(port)",
}

// flatten has what an object says, in words that do not depend on which node says it: words replaces its own.
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

// statusOf is the status of a pod, in words that do not depend on the node.
func statusOf(t testing.TB, pod *v1.Pod) flat {
	t.Helper()
	words := []string{string(pod.UID), "(uid)", "_" + pod.Namespace + "(", "_(namespace)("}
	if !pod.Spec.HostNetwork && pod.Status.PodIP != "" {
		words = append(words, pod.Status.PodIP, "(pod's address)")
	}
	return flatten(t, pod.Status, words...)
}

// inShort are the phases and the states of containers in each stage.
func inShort(all []stage) string {
	var text strings.Builder
	for _, s := range all {
		fmt.Fprintf(&text, "  %6.1fs %s", s.lasted.Seconds(), s.status["phase"])
		for _, path := range slices.Sorted(maps.Keys(s.status)) {
			if of, field, found := strings.Cut(path, ".state."); found && (strings.HasSuffix(field, ".reason") || strings.HasPrefix(field, "running.")) {
				fmt.Fprintf(&text, " %s#%s:%s", s.status[of+".name"], s.status[of+".restartCount"], strings.Replace(s.status[path], "(time)", "Running", 1))
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

// comparer compares, and remembers which differences it has met.
type comparer struct {
	met map[string]bool // by place
}

// differ are the differences between two, and the places of those that there may be.
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

// meet remembers that differences have been met.
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

// placesOf are those in sameNodeDifferences of a difference.
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

// unmet fails the test for differences that are gone.
func (c *comparer) unmet(t testing.TB) {
	t.Helper()
	for i, d := range sameNodeDifferences {
		for _, pattern := range d.paths {
			if !c.met[place(i, pattern)] {
				t.Errorf("%s %s: the kubelet's %s and fauxlet's %s are not seen any more; take it out of sameNodeDifferences", d.what, pattern, d.hollow, d.fauxlet)
			}
		}
	}
}

// stage is a status for as long as it lasted.
type stage struct {
	status flat
	lasted time.Duration
}

// stages are the different statuses of a history, in their order.
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

// lasting is how long a status must last for the other node to have to have it too. A kubelet looks at its containers once
// a second, and tells of what it finds then; on a machine that has other things to do, later.
const lasting = 4500 * time.Millisecond

// unmatched are the stages of one that lasted, and that the other does not have after those before them.
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
		all = append(all, fmt.Sprintf("for %v it was (phase %s), and the other never; the nearest of its %d stages differs in\n      %s",
			s.lasted.Round(100*time.Millisecond), s.status["phase"], len(other)-from, strings.Join(nearest, "\n      ")))
	}
	return all
}
