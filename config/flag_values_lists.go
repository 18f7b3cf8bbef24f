package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// taintsValue is the value of --register-with-taints: key[=value]:effect, separated by commas.
// (k8s.io/kubernetes: pkg/util/flag RegisterWithTaintsVar, pkg/util/taints)
func taintsValue(into *[]v1.Taint) customValue {
	set := func(s string) error {
		*into = nil
		if s == "" {
			return nil
		}
		var taints []v1.Taint
		for spec := range strings.SplitSeq(s, ",") {
			taint, err := parseTaint(strings.TrimSuffix(spec, "-"))
			switch {
			case err != nil:
				return err
			case strings.HasSuffix(spec, "-"):
				continue // a kubelet parses and ignores taints that end with -
			case taint.Effect == "":
				return fmt.Errorf("invalid taint spec: %v", spec)
			case slices.ContainsFunc(taints, func(t v1.Taint) bool { return t.MatchTaint(&taint) }):
				return fmt.Errorf("duplicated taints with the same key and effect: %v", taint)
			}
			taints = append(taints, taint)
		}
		*into = taints
		return nil
	}
	show := func() string {
		var out []string
		for _, t := range *into {
			out = append(out, fmt.Sprintf("%s=%s:%s", t.Key, t.Value, t.Effect))
		}
		return strings.Join(out, ",")
	}
	return customValue{"[]v1.Taint", set, show}
}

func parseTaint(spec string) (v1.Taint, error) {
	taint := v1.Taint{Key: spec}
	if pair, effect, ok := strings.Cut(spec, ":"); ok {
		taint.Effect = v1.TaintEffect(effect)
		taint.Key, taint.Value, _ = strings.Cut(pair, "=")
		if err := checkEffect(taint.Effect); err != nil && !strings.Contains(effect, ":") {
			return taint, err
		}
		if strings.Contains(effect, ":") || strings.Contains(taint.Value, "=") {
			return taint, fmt.Errorf("invalid taint spec: %v", spec)
		}
	}
	why := validation.IsValidLabelValue(taint.Value)
	if len(why) == 0 {
		why = validation.IsQualifiedName(taint.Key)
	}
	if len(why) > 0 {
		return taint, fmt.Errorf("invalid taint spec: %v, %s", spec, strings.Join(why, "; "))
	}
	return taint, nil
}

func checkEffect(effect v1.TaintEffect) error {
	switch effect {
	case v1.TaintEffectNoSchedule, v1.TaintEffectPreferNoSchedule, v1.TaintEffectNoExecute:
		return nil
	}
	return fmt.Errorf("invalid taint effect: %v, unsupported taint effect", effect)
}

// reservedMemoryValue is the value of --reserved-memory: node:type=quantity[,type=quantity][;node:…]. The flag can be
// given more than once. (k8s.io/kubernetes: pkg/util/flag ReservedMemoryVar)
func reservedMemoryValue(into *[]kubeletconfigv1beta1.MemoryReservation) customValue {
	replaced := false
	set := func(s string) error {
		if s == "" {
			return nil
		}
		if !replaced {
			*into, replaced = nil, true
		}
		for one := range strings.SplitSeq(s, ";") {
			reservation, err := parseReservation(one)
			if err != nil {
				return err
			}
			*into = append(*into, reservation)
		}
		return nil
	}
	show := func() string {
		var out []string
		for _, r := range *into {
			var limits []string
			for name, quantity := range r.Limits {
				limits = append(limits, fmt.Sprintf("%s=%s", name, quantity.String()))
			}
			slices.Sort(limits)
			out = append(out, fmt.Sprintf("%d:%s", r.NumaNode, strings.Join(limits, ",")))
		}
		slices.Sort(out)
		return strings.Join(out, ",")
	}
	return customValue{"reserved-memory", set, show}
}

func parseReservation(s string) (r kubeletconfigv1beta1.MemoryReservation, err error) {
	parts := strings.Split(s, ":")
	if len(parts) != 2 {
		return r, fmt.Errorf("the reserved memory has incorrect format, expected "+
			"numaNodeID:type=quantity[,type=quantity...], got %s", s)
	}
	node, err := strconv.Atoi(parts[0])
	if err != nil {
		return r, fmt.Errorf("failed to convert the NUMA node ID, expected integer, got %s", parts[0])
	}
	r = kubeletconfigv1beta1.MemoryReservation{NumaNode: int32(node), Limits: v1.ResourceList{}}
	for limit := range strings.SplitSeq(parts[1], ",") {
		pair := strings.Split(limit, "=")
		if len(pair) != 2 {
			return r, fmt.Errorf("the reserved limit has incorrect value, expected type=quantity, got %s", limit)
		}
		name := v1.ResourceName(pair[0])
		if !memoryResource(name) {
			return r, fmt.Errorf("memory type conversion error, unknown type: %q", name)
		}
		if r.Limits[name], err = resource.ParseQuantity(pair[1]); err != nil {
			return r, fmt.Errorf("failed to parse the quantity: %s", pair[1])
		}
	}
	return r, nil
}

// memoryResource reports whether a resource is a kind of memory that --reserved-memory can reserve.
func memoryResource(name v1.ResourceName) bool {
	return name == v1.ResourceMemory || strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}
