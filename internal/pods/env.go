package pods

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"fauxlet/internal/podlife"
)

// variables are the environment variables of a container. (kubelet: pkg/kubelet/kubelet_pods.go,
// makeEnvironmentVariables)
type variables struct {
	names  []string // in the order in which they are declared
	values map[string]string
}

// makeEnv returns the variables in the spec of a container, and the variables of Services unless the spec sets them.
// Variables from files are left out, and those from ConfigMaps and Secrets that r cannot read. If r is nil or cannot
// read the Service "kubernetes", its address is made up. The argument "allocatable" has the resources of the node,
// which are the limits of a container without limits.
func makeEnv(pod *v1.Pod, spec *v1.Container, allocatable v1.ResourceList, r *reader) *variables {
	env := &variables{values: r.services(pod)}
	ofService := slices.Sorted(maps.Keys(env.values))
	for _, from := range spec.EnvFrom {
		var o *object
		switch {
		case from.ConfigMapRef != nil:
			o = r.object(configMap, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
		case from.SecretRef != nil:
			o = r.object(secret, from.SecretRef.Name, from.SecretRef.Optional)
		}
		if o == nil {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(o.text)) {
			env.set(from.Prefix+key, o.text[key])
		}
	}
	for _, variable := range spec.Env {
		value, found := env.expand(variable.Value), true
		if from := variable.ValueFrom; variable.Value == "" && from != nil {
			switch {
			case from.FieldRef != nil:
				value, found = fieldValue(pod, from.FieldRef.FieldPath)
			case from.ResourceFieldRef != nil:
				value, found = resourceValue(pod, spec, from.ResourceFieldRef, allocatable)
			case from.ConfigMapKeyRef != nil:
				ref := from.ConfigMapKeyRef
				value, found = r.key(configMap, ref.Name, ref.Key, ref.Optional)
			case from.SecretKeyRef != nil:
				ref := from.SecretKeyRef
				value, found = r.key(secret, ref.Name, ref.Key, ref.Optional)
			default:
				found = false
			}
		}
		if found {
			env.set(variable.Name, value)
		}
	}
	for _, name := range ofService {
		env.set(name, env.values[name])
	}
	return env
}

// set sets a variable, unless its value contains a NUL byte, which no process can receive.
func (v *variables) set(name, value string) {
	if strings.Contains(value, "\x00") {
		return
	}
	if !slices.Contains(v.names, name) {
		v.names = append(v.names, name)
	}
	v.values[name] = value
}

// list returns the variables as KEY=value.
func (v *variables) list() []string {
	list := make([]string, len(v.names))
	for i, name := range v.names {
		list[i] = name + "=" + v.values[name]
	}
	return list
}

// reference matches $(NAME) and the escaped dollar sign $$.
var reference = regexp.MustCompile(`\$\$|\$\([^)]*\)`)

// expand replaces each $(NAME) by the value of the variable, and $$ by $. References to variables that do not exist
// stay as they are. (k8s.io/kubernetes/third_party/forked/golang/expansion)
func (v *variables) expand(text string) string {
	return reference.ReplaceAllStringFunc(text, func(match string) string {
		if match == "$$" {
			return "$"
		}
		if value, found := v.values[match[2:len(match)-1]]; found {
			return value
		}
		return match
	})
}

func (v *variables) expandAll(texts []string) []string {
	for i, text := range texts {
		texts[i] = v.expand(text)
	}
	return texts
}

// fieldValue returns the value of a field of a pod. (kubelet: podFieldSelectorRuntimeValue)
func fieldValue(pod *v1.Pod, path string) (value string, found bool) {
	if field, rest, hasKey := strings.Cut(path, "['"); hasKey {
		key, valid := strings.CutSuffix(rest, "']")
		of, found := map[string]map[string]string{"metadata.labels": pod.Labels,
			"metadata.annotations": pod.Annotations}[field]
		return of[key], found && valid
	}
	switch path {
	case "metadata.name":
		return pod.Name, true
	case "metadata.namespace":
		return pod.Namespace, true
	case "metadata.uid":
		return string(pod.UID), true
	case "spec.nodeName":
		return pod.Spec.NodeName, true
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, true
	case "status.hostIP":
		return pod.Status.HostIP, true
	case "status.podIP":
		return pod.Status.PodIP, true
	}
	var ips []string
	switch path {
	case "status.hostIPs":
		for _, ip := range pod.Status.HostIPs {
			ips = append(ips, ip.IP)
		}
	case "status.podIPs":
		for _, ip := range pod.Status.PodIPs {
			ips = append(ips, ip.IP)
		}
	default:
		return "", false
	}
	return strings.Join(ips, ","), true
}

// resourceValue returns a request or a limit of a container, in units of the divisor and rounded up. The default of a
// limit is the limit of the pod or, without one, the allocatable resources of the node. (kubelet:
// defaultPodLimitsForDownwardAPI; pkg/api/v1/resource, ExtractContainerResourceValue)
func resourceValue(pod *v1.Pod, c *v1.Container, ref *v1.ResourceFieldSelector,
	allocatable v1.ResourceList) (value string, found bool) {
	if ref.ContainerName != "" {
		c = podlife.ContainerSpec(pod, ref.ContainerName)
	}
	kind, rest, _ := strings.Cut(ref.Resource, ".")
	name := v1.ResourceName(rest)
	if c == nil || kind != "limits" && kind != "requests" {
		return "", false
	}
	lists := []v1.ResourceList{c.Resources.Limits}
	if kind == "requests" { // the API server sets a missing request to the limit
		lists = []v1.ResourceList{c.Resources.Requests, c.Resources.Limits}
	} else if !strings.HasPrefix(rest, v1.ResourceHugePagesPrefix) {
		if pod.Spec.Resources != nil {
			lists = append(lists, pod.Spec.Resources.Limits)
		}
		lists = append(lists, allocatable)
	}
	var quantity resource.Quantity
	for _, list := range lists {
		if quantity = list[name]; !quantity.IsZero() {
			break
		}
	}
	unit := ref.Divisor
	if unit.IsZero() {
		unit = resource.MustParse("1")
	}
	in := (*resource.Quantity).Value
	if name == v1.ResourceCPU {
		in = (*resource.Quantity).MilliValue
	}
	return strconv.FormatInt(int64(math.Ceil(float64(in(&quantity))/float64(in(&unit)))), 10), true
}
