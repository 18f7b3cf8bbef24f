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
// on a feature gate is not listed: kubelet.json has the history of the gates.
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
	// FailOnCgroupV1: the default of failCgroupV1 is true.
	FailOnCgroupV1
	// NoThrottlingFactor: memoryThrottlingFactor has no default.
	NoThrottlingFactor
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
	fields   []string // the KubeletConfiguration fields that are new
}

// changes lists what differs between the emulated versions, oldest change first. It is the only place in which code
// compares versions.
var changes = []Change{
	{Since: "1.31", Subject: "configuration", fields: []string{"failCgroupV1"},
		What: "New field failCgroupV1, and flag --fail-cgroupv1. The flags --keep-terminated-pod-volumes, " +
			"--iptables-masquerade-bit and --iptables-drop-bit are gone.",
		Source: "k8s.io/kubernetes/cmd/kubelet/app/options"},
	{Since: "1.32", Subject: "configuration", fields: []string{"crashLoopBackOff", "singleProcessOOMKill"},
		What: "New fields: crashLoopBackOff and singleProcessOOMKill.", Source: "k8s.io/kubelet, config/v1beta1"},
	{Since: "1.33", Subject: "configuration", fields: []string{"imagePullCredentialsVerificationPolicy",
		"mergeDefaultEvictionSettings", "preloadedImagesVerificationAllowlist", "userNamespaces"},
		What: "New fields: imagePullCredentialsVerificationPolicy, mergeDefaultEvictionSettings, " +
			"preloadedImagesVerificationAllowlist and userNamespaces.", Source: "k8s.io/kubelet, config/v1beta1"},
	{Since: "1.36", Subject: "configuration", fields: []string{"memoryReservationPolicy", "tlsCurvePreferences"},
		What:   "New fields: memoryReservationPolicy and tlsCurvePreferences.",
		Source: "k8s.io/kubelet, config/v1beta1"},
	{Since: "1.37", Subject: "configuration", fields: []string{"defaultPodSysctls"},
		What: "New field: defaultPodSysctls.", Source: "k8s.io/kubelet, config/v1beta1"},
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
	{Since: "1.33", Subject: "authorization", behavior: ZPages, What: "/statusz needs nodes/statusz, and /flagz needs " +
		"nodes/configz, if the feature gates ComponentStatusz and ComponentFlagz are on. Before, kubelets do not serve " +
		"them: 404, without authentication.", Source: "pkg/kubelet/server/auth.go"},
	{Since: "1.33", Subject: "authorization", What: "/pods and /runningpods need nodes/pods, /healthz needs " +
		"nodes/healthz, and /configz needs nodes/configz; nodes/proxy is enough, too. Before, they need nodes/proxy " +
		"(in 1.32, unless the feature gate KubeletFineGrainedAuthz is on).", Source: "pkg/kubelet/server/auth.go"},
	{Since: "1.34", Subject: "configuration", What: "The flags --cloud-config and --register-schedulable are gone.",
		Source: "k8s.io/kubernetes/cmd/kubelet/app/options"},
	{Since: "1.34", Subject: "paths", behavior: OmitsZeroTimes, What: "The pods in /runningpods have no field " +
		"creationTimestamp. Before, it is null.", Source: "k8s.io/apimachinery, ObjectMeta"},
	{Since: "1.34", Subject: "paths", behavior: AlwaysNotAcceptable, What: "If the Accept header does not " +
		"allow the path's content type, a POST, PUT or PATCH without Content-Length gets 406. Before, it gets 415.",
		Source: "go-restful v3.12, Route selection"},
	{Since: "1.35", Subject: "configuration", What: "The flag --pod-infra-container-image is gone.",
		Source: "pkg/kubelet/config/flags.go"},
	{Since: "1.35", Subject: "configuration", behavior: FailOnCgroupV1, What: "failCgroupV1 is true by default.",
		Source: "pkg/kubelet/apis/config/v1beta1/defaults.go"},
	{Since: "1.37", Subject: "configuration", behavior: NoThrottlingFactor,
		What:   "memoryThrottlingFactor has no default. Before, it is 0.9.",
		Source: "pkg/kubelet/apis/config/v1beta1/defaults.go"},
	{Since: "1.35", Subject: "paths", behavior: OpenStatusz, What: "If the feature gate ComponentStatusz is on, " +
		"/statusz is served on the read-only port too, and even with enableDebuggingHandlers: false.",
		Source: "pkg/kubelet/server/server.go, installStatusZ"},
	{Since: "1.36", Subject: "paths", behavior: ProtectedStatusz, What: "As before 1.35, /statusz is served " +
		"only on the secure port, and only with enableDebuggingHandlers: true.",
		Source: "pkg/kubelet/server/server.go, InstallZPages"},
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
			here = append(here, gateChanges(minor)...)
		}
		slices.SortStableFunc(here, func(a, b Change) int { return strings.Compare(a.Subject, b.Subject) })
		all = append(all, here...)
	}
	return all
}

// GatesWithEffect lists the feature gates that have an effect on a stand-in.
var GatesWithEffect = []string{"AllowDNSOnlyNodeCSR", "ComponentFlagz", "ComponentStatusz", "ContainerCheckpoint",
	"DisableNodeKubeProxyVersion", "ExtendWebSocketsToKubelet", "KubeletAllocatedPodsEndpoint",
	"KubeletCrashLoopBackOffMax", "KubeletFineGrainedAuthz", "KubeletInUserNamespace", "NodeDeclaredFeatures",
	"NodeLogQuery", "PodAndContainerStatsFromCRI", "PodLogsQuerySplitStreams", "ReloadKubeletClientCAFile",
	"ReloadKubeletServerCertificateFile", "RotateKubeletServerCertificate"}

// gateChanges returns the feature gates with effect that got another stage in a minor version.
func gateChanges(minor Version) (all []Change) {
	states := map[bool]string{false: "off", true: "on"}
	for _, name := range GatesWithEffect {
		gate := gatesByName()[name]
		for i, stages := 0, append(slices.Clone(gate.Earlier), gate.gateStage); i < len(stages); i++ {
			stage := stages[i]
			if stage.Since != minor.String() {
				continue
			}
			what := fmt.Sprintf("%s is on by default", name)
			switch {
			case stage.Locked:
				what = fmt.Sprintf("%s is locked to %s: a configuration that sets it to %v is refused", name,
					states[stage.Default], !stage.Default)
			case !stage.Default:
				what = fmt.Sprintf("%s is off by default", name)
			}
			switch {
			case i == 0 && gate.Before:
				what = "New: " + what + " (before, kubelets behave as if it were on)"
			case i == 0:
				what = "New: " + what
			case stages[i-1].Default != stage.Default || stage.Locked:
				what += fmt.Sprintf(" (before: %s by default)", states[stages[i-1].Default])
			default:
				continue // only the stage has changed, for example from alpha to beta
			}
			all = append(all, Change{Since: stage.Since, Subject: "feature gates", What: what + ".",
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
	for i := range changes {
		for _, field := range changes[i].fields {
			if v.before(changes[i].Since) {
				since[field] = changes[i].Since
			}
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
