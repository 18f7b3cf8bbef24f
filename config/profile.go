package config

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Behavior is a behaviour of a kubelet that not all versions have. See [Version.Has].
type Behavior int

// These are the behaviours that the code of fauxlet asks for. Each has a row in the table named changes. What depends
// on a feature gate is not listed: versions.json has the history of the gates.
const (
	_ Behavior = iota
	// SubresourceList: a 403 lists all subresources that were checked, and ends with a line feed.
	SubresourceList
	// CredentialID: reviews of a client certificate's user have the extra attribute
	// authentication.kubernetes.io/credential-id.
	CredentialID
	// CertificateUID: the user of a client certificate can have a UID.
	CertificateUID
	// ProtectedCheckpoint: /checkpoint is not served on the read-only port.
	ProtectedCheckpoint
	// MoreHealthChecks: /healthz has the checks of the container manager.
	MoreHealthChecks
	// LogStreams: the query parameter stream of /containerLogs is looked at.
	LogStreams
	// ZPages: /statusz and /flagz can be served, and need their own subresources.
	ZPages
	// AllocatedPods: /allocatedPods can be served, and needs the subresource pods.
	AllocatedPods
	// OpenStatusz: /statusz is served on the read-only port too, if its feature gate is on.
	OpenStatusz
	// ProtectedStatusz: /statusz is not served on the read-only port.
	ProtectedStatusz
	// OmitsZeroTimes: an object without a creation time has no field creationTimestamp.
	OmitsZeroTimes
	// AlwaysNotAcceptable: a request for another content type is answered with 406.
	AlwaysNotAcceptable
	// GatedDefaults: some defaults depend on feature gates, and are set again after the drop-ins are merged. The
	// apiVersion and kind of a drop-in are checked.
	GatedDefaults
	// NoRunOnce: runOnce is refused.
	NoRunOnce
	// EnforcesPerLevel: with cgroupsPerQOS: false, enforceNodeAllocatable can be none.
	EnforcesPerLevel
	// CompressibleReserved: enforceNodeAllocatable can have system-reserved-compressible and
	// kube-reserved-compressible.
	CompressibleReserved
	// NamesLogQuery: the error about the feature gate NodeLogQuery names the field enableSystemLogQuery.
	NamesLogQuery
	// FailOnCgroupV1: the default of failCgroupV1 is true.
	FailOnCgroupV1
	// ChecksLogFiles: containerLogMaxFiles must be 2 or more.
	ChecksLogFiles
	// ChecksMinimumAge: imageMinimumGCAge must not be negative.
	ChecksMinimumAge
	// NoThrottlingFactor: memoryThrottlingFactor has no default.
	NoThrottlingFactor
	// NoStaticPodReferences: manifests of static pods that refer to API objects are refused, whatever the feature gates
	// are.
	NoStaticPodReferences
)

// Change is a difference between the kubelets of two versions.
type Change struct {
	// Since is the minor version that has the change first, such as 1.32.
	Since string `json:"since"`
	// Backports are patch versions of older minor versions that have the change too, such as 1.31.6.
	Backports []string `json:"backports,omitempty"`
	// Subject is what the change is about: authorization, paths, configuration, node or feature gates.
	Subject string `json:"subject"`
	// What describes the change for people whose programs send requests to kubelets.
	What string `json:"what"`
	// Source is where the change is in Kubernetes.
	Source string `json:"source"`

	behavior Behavior
}

// changes lists the behaviours that differ between the emulated versions, oldest change first. versions.json has the
// feature gates, fields and flags of each version.
var changes = []Change{
	{Since: "1.31", Subject: "configuration", behavior: EnforcesPerLevel, What: "With cgroupsPerQOS: false, " +
		"enforceNodeAllocatable can be [none]; before, it must be empty. A repeated entry is refused.",
		Source: "pkg/kubelet/apis/config/validation"},
	{Since: "1.32", Subject: "configuration", behavior: GatedDefaults, What: "A field that is 0 or null in a drop-in " +
		"gets its default, and a drop-in with another apiVersion or kind is refused. Before, 0 stays, null has no " +
		"effect, and neither is checked.", Source: "k8s.io/kubernetes/cmd/kubelet/app, mergeKubeletConfigurations"},
	{Since: "1.32", Subject: "configuration", behavior: NoRunOnce, What: "runOnce: true is refused.",
		Source: "pkg/kubelet/apis/config/validation"},
	{Since: "1.32", Subject: "configuration", behavior: CompressibleReserved, What: "enforceNodeAllocatable can have " +
		"system-reserved-compressible and kube-reserved-compressible.", Source: "pkg/kubelet/apis/config/validation"},
	{Since: "1.32", Subject: "authorization", behavior: SubresourceList, What: "A 403 lists the subresources that " +
		"were checked, as in `subresource(s)=[proxy]`, and ends with a line feed. Before, it names one, as in " +
		"`subresource=proxy`.", Source: "pkg/kubelet/server/server.go, InstallAuthFilter"},
	{Since: "1.32", Subject: "authorization", behavior: CredentialID, What: "SubjectAccessReviews for the user of a " +
		"client certificate have the extra attribute authentication.kubernetes.io/credential-id.",
		Source: "k8s.io/apiserver, request/x509"},
	{Since: "1.32", Subject: "paths", behavior: MoreHealthChecks, What: "/healthz has the checks of the container " +
		"manager, such as device-plugin.", Source: "pkg/kubelet/server/server.go, InstallDefaultHandlers"},
	{Since: "1.32", Subject: "paths", behavior: LogStreams, What: "/containerLogs answers 400 if the parameter " +
		"stream is anything but All and the feature gate PodLogsQuerySplitStreams is off. Before, the parameter is " +
		"ignored.", Source: "pkg/kubelet/server/server.go, getContainerLogs"},
	{Since: "1.33", Backports: []string{"1.30.10", "1.31.6", "1.32.2"}, Subject: "paths", behavior: ProtectedCheckpoint,
		What:   "/checkpoint is not served on the read-only port (CVE-2025-0426).",
		Source: "pkg/kubelet/server/server.go; kubernetes#130016"},
	{Since: "1.33", Subject: "authorization", behavior: CertificateUID, What: "The user of a client certificate has " +
		"the UID in the certificate's subject, unless the feature gate AllowParsingUserUIDFromCertAuth is off.",
		Source: "k8s.io/apiserver, request/x509"},
	{Since: "1.33", Subject: "authorization", behavior: ZPages, What: "/statusz needs nodes/statusz, and /flagz " +
		"needs nodes/configz, if the feature gates ComponentStatusz and ComponentFlagz are on. Before, kubelets do " +
		"not serve them: 404, without authentication.", Source: "pkg/kubelet/server/auth.go"},
	{Since: "1.33", Subject: "authorization", What: "/pods and /runningpods need nodes/pods, /healthz needs " +
		"nodes/healthz, and /configz needs nodes/configz; nodes/proxy is enough, too. Before, they need nodes/proxy " +
		"(in 1.32, unless the feature gate KubeletFineGrainedAuthz is on).", Source: "pkg/kubelet/server/auth.go"},
	{Since: "1.33", Subject: "configuration", behavior: ChecksLogFiles, What: "containerLogMaxFiles: 1 is refused " +
		"when the configuration is validated. Before, a kubelet ends a little later.",
		Source: "pkg/kubelet/apis/config/validation"},
	{Since: "1.34", Subject: "paths", behavior: OmitsZeroTimes, What: "The pods in /runningpods have no field " +
		"creationTimestamp. Before, it is null.", Source: "k8s.io/apimachinery, ObjectMeta"},
	{Since: "1.34", Subject: "paths", behavior: AlwaysNotAcceptable, What: "If the Accept header does not " +
		"allow the path's content type, a POST, PUT or PATCH without Content-Length gets 406. Before, it gets 415.",
		Source: "go-restful v3.12, Route selection"},
	{Since: "1.35", Subject: "configuration", behavior: NamesLogQuery, What: "The error about enableSystemLogQuery " +
		"without the feature gate NodeLogQuery names this field. Before, it names enableSystemLogHandler.",
		Source: "pkg/kubelet/apis/config/validation"},
	{Since: "1.35", Subject: "configuration", behavior: FailOnCgroupV1, What: "failCgroupV1 is true by default.",
		Source: "pkg/kubelet/apis/config/v1beta1/defaults.go"},
	{Since: "1.35", Subject: "paths", behavior: OpenStatusz, What: "If the feature gate ComponentStatusz is on, " +
		"/statusz is served on the read-only port too, and even with enableDebuggingHandlers: false.",
		Source: "pkg/kubelet/server/server.go, installStatusZ"},
	{Since: "1.36", Subject: "configuration", behavior: ChecksMinimumAge, What: "A negative imageMinimumGCAge is " +
		"refused.", Source: "pkg/kubelet/apis/config/validation"},
	{Since: "1.36", Subject: "paths", behavior: ProtectedStatusz, What: "As before 1.35, /statusz is served " +
		"only on the secure port, and only with enableDebuggingHandlers: true.",
		Source: "pkg/kubelet/server/server.go, InstallZPages"},
	{Since: "1.37", Subject: "configuration", behavior: NoThrottlingFactor,
		What: "memoryThrottlingFactor has no default, and is refused while the feature gate MemoryQoS is off. " +
			"Before, the default is 0.9.",
		Source: "pkg/kubelet/apis/config/v1beta1/defaults.go"},
	{Since: "1.37", Subject: "node", behavior: NoStaticPodReferences, What: "A manifest in staticPodPath that refers to " +
		"API objects, such as Secrets or a ServiceAccount, is always skipped. From 1.34 on, it is skipped if the feature " +
		"gate PreventStaticPodAPIReferences is on.", Source: "pkg/kubelet/config/common.go"},
	{Since: "1.37", Subject: "authorization", behavior: AllocatedPods, What: "/allocatedPods needs nodes/pods or " +
		"nodes/proxy, if the feature gate KubeletAllocatedPodsEndpoint is on. Before, kubelets do not serve it: 404, " +
		"without authentication.", Source: "pkg/kubelet/server/auth.go"},
}

// Changes returns what differs between the kubelets of two versions: what the second version has and the first one does
// not, oldest change first. Only the feature gates that have an effect on a stand-in are compared.
func Changes(from, to Version) []Change {
	var all []Change
	for _, minor := range Versions() {
		var here []Change
		for _, c := range changes {
			if c.Since == minor.String() && !from.has(c.Since, c.Backports) && to.has(c.Since, c.Backports) {
				here = append(here, c)
			}
		}
		if from.before(minor.String()) && !to.before(minor.String()) {
			here = append(here, newFields(minor)...)
			here = append(here, flagChanges(minor)...)
			here = append(here, gateChanges(minor)...)
		}
		slices.SortStableFunc(here, func(a, b Change) int { return strings.Compare(a.Subject, b.Subject) })
		all = append(all, here...)
	}
	return all
}

// newFields returns the fields of KubeletConfiguration that a minor version has first.
func newFields(minor Version) []Change {
	var names []string
	for field, since := range history().Fields {
		if since == minor.String() {
			names = append(names, field)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil
	}
	return []Change{{Since: minor.String(), Subject: "configuration", Source: "k8s.io/kubelet, config/v1beta1",
		What: "New fields: " + strings.Join(names, ", ") + "."}}
}

// flagChanges returns the flags that a minor version has first, and the flags that it does not have any more.
func flagChanges(minor Version) (all []Change) {
	var added, removed []string
	for _, flag := range history().Flags {
		switch minor.String() {
		case flag.Since:
			added = append(added, "--"+flag.Name)
		case flag.Until:
			removed = append(removed, "--"+flag.Name)
		}
	}
	for _, change := range []struct {
		what  string
		names []string
	}{{"New flags: ", added}, {"These flags are gone: ", removed}} {
		if len(change.names) > 0 {
			all = append(all, Change{Since: minor.String(), Subject: "configuration",
				What:   change.what + strings.Join(change.names, ", ") + ".",
				Source: "k8s.io/kubernetes/cmd/kubelet/app/options"})
		}
	}
	return all
}

// GatesWithEffect lists the feature gates that have an effect on a stand-in.
var GatesWithEffect = []string{"AllowDNSOnlyNodeCSR", "ComponentFlagz", "ComponentStatusz", "ContainerCheckpoint",
	"DisableNodeKubeProxyVersion", "ExtendWebSocketsToKubelet", "KubeletAllocatedPodsEndpoint",
	"KubeletCrashLoopBackOffMax", "KubeletFineGrainedAuthz", "KubeletInUserNamespace", "NodeDeclaredFeatures",
	"NodeLogQuery", "PodAndContainerStatsFromCRI", "PodLogsQuerySplitStreams",
	"PreventStaticPodAPIReferences", "ReloadKubeletClientCAFile", "ReloadKubeletServerCertificateFile",
	"RotateKubeletServerCertificate"}

// gateChanges returns the feature gates with effect that got another stage in a minor version.
func gateChanges(minor Version) (all []Change) {
	states := map[bool]string{false: "off", true: "on"}
	for _, name := range GatesWithEffect {
		changes := history().Gates[name]
		for i, change := range changes {
			if change.Since != minor.String() {
				continue
			}
			what := fmt.Sprintf("%s is on by default", name)
			switch {
			case change.Removed:
				what = name + " is gone: a configuration that sets it is refused"
			case change.Locked:
				what = fmt.Sprintf("%s is locked to %s: a configuration that sets it to %v is refused", name,
					states[change.Default], !change.Default)
			case !change.Default:
				what = fmt.Sprintf("%s is off by default", name)
			}
			switch {
			case i == 0 && onBefore()[name]:
				what = "New: " + what + " (before, kubelets behave as if it were on)"
			case i == 0:
				what = "New: " + what
			case changes[i-1].Default != change.Default || change.Locked || change.Removed:
				what += fmt.Sprintf(" (before: %s by default)", states[changes[i-1].Default])
			default:
				continue // only the stage has changed, for example from alpha to beta
			}
			all = append(all, Change{Since: change.Since, Subject: "feature gates", What: what + ".",
				Source: "pkg/features/kube_features.go"})
		}
	}
	return all
}

// Has reports whether the kubelet of version v has a behaviour.
func (v Version) Has(behavior Behavior) bool {
	for i := range changes {
		if c := &changes[i]; c.behavior == behavior {
			return v.has(c.Since, c.Backports)
		}
	}
	panic("config: unknown behavior")
}

// lacking maps the fields of KubeletConfiguration that version v does not have to the first version that has them.
func (v Version) lacking() map[string]string {
	since := map[string]string{}
	for field, first := range history().Fields {
		if v.before(first) {
			since[field] = first
		}
	}
	return since
}

func (v Version) removeNewerFields(kc *kubeletConfiguration) {
	for field := range v.lacking() {
		fieldAt(reflect.ValueOf(kc).Elem(), field).SetZero()
	}
}

// withoutNewerStructs removes the empty objects that encoding/json writes for fields that the kubelet of version v does
// not have.
func (v Version) withoutNewerStructs(configz []byte) []byte {
	for field := range v.lacking() {
		configz = bytes.ReplaceAll(configz, []byte(`"`+field+`":{},`), nil)
	}
	return configz
}

// newerFields returns an error for each field in a configuration file that the kubelet of version v does not know. The
// texts are those of a strict decoder. The argument is YAML or JSON.
func (v Version) newerFields(file []byte) (unknown []error) {
	var content map[string]any
	if v == (Version{}) || yaml.Unmarshal(file, &content) != nil {
		return nil
	}
	lacking := v.lacking()
	for _, name := range slices.Sorted(maps.Keys(content)) {
		since := lacking[name]
		if object, ok := content[name].(map[string]any); since == "" || content[name] == nil || ok && len(object) == 0 {
			continue
		}
		unknown = append(unknown, fmt.Errorf("unknown field %q (kubelets have it since %s; the emulated version is %s)",
			name, since, v))
	}
	return unknown
}
