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
type taintsValue struct{ into *[]v1.Taint }

func (v *taintsValue) Set(s string) error {
	*v.into = nil
	if s == "" {
		return nil
	}
	var taints []v1.Taint
	for spec := range strings.SplitSeq(s, ",") {
		remove := strings.HasSuffix(spec, "-")
		taint, err := parseTaint(strings.TrimSuffix(spec, "-"))
		if err != nil {
			return err
		}
		if remove {
			continue // a kubelet parses and ignores taints that end with -
		}
		if taint.Effect == "" {
			return fmt.Errorf("invalid taint spec: %v", spec)
		}
		if slices.ContainsFunc(
			taints,
			func(t v1.Taint) bool { return t.Key == taint.Key && t.Effect == taint.Effect },
		) {
			return fmt.Errorf("duplicated taints with the same key and effect: %v", taint)
		}
		taints = append(taints, taint)
	}
	*v.into = taints
	return nil
}

func parseTaint(spec string) (v1.Taint, error) {
	invalid := func(why []string) error {
		if len(why) == 0 {
			return fmt.Errorf("invalid taint spec: %v", spec)
		}
		return fmt.Errorf("invalid taint spec: %v, %s", spec, strings.Join(why, "; "))
	}
	taint := v1.Taint{Key: spec}
	if pair, effect, ok := strings.Cut(spec, ":"); ok {
		taint.Effect = v1.TaintEffect(effect)
		if strings.Contains(effect, ":") {
			return taint, invalid(nil)
		}
		if err := checkEffect(taint.Effect); err != nil {
			return taint, err
		}
		taint.Key, taint.Value, _ = strings.Cut(pair, "=")
		if strings.Contains(taint.Value, "=") {
			return taint, invalid(nil)
		}
		if why := validation.IsValidLabelValue(taint.Value); len(why) > 0 {
			return taint, invalid(why)
		}
	}
	if why := validation.IsQualifiedName(taint.Key); len(why) > 0 {
		return taint, invalid(why)
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

func (v *taintsValue) String() string {
	var out []string
	for _, t := range *v.into {
		out = append(out, fmt.Sprintf("%s=%s:%s", t.Key, t.Value, t.Effect))
	}
	return strings.Join(out, ",")
}

func (v *taintsValue) Type() string { return "[]v1.Taint" }

// reservedMemoryValue is the value of --reserved-memory: node:type=quantity[,type=quantity][;node:…], repeatable.
// (k8s.io/kubernetes: pkg/util/flag ReservedMemoryVar)
type reservedMemoryValue struct {
	into *[]kubeletconfigv1beta1.MemoryReservation
	set  bool
}

func (v *reservedMemoryValue) Set(s string) error {
	if s == "" {
		return nil
	}
	if !v.set {
		*v.into, v.set = nil, true
	}
	for one := range strings.SplitSeq(s, ";") {
		parts := strings.Split(one, ":")
		if len(parts) != 2 {
			return fmt.Errorf(
				"the reserved memory has incorrect format, expected numaNodeID:type=quantity[,type=quantity...], got %s",
				one,
			)
		}
		node, err := strconv.Atoi(parts[0])
		if err != nil {
			return fmt.Errorf("failed to convert the NUMA node ID, expected integer, got %s", parts[0])
		}
		reservation := kubeletconfigv1beta1.MemoryReservation{NumaNode: int32(node), Limits: v1.ResourceList{}}
		for limit := range strings.SplitSeq(parts[1], ",") {
			pair := strings.Split(limit, "=")
			if len(pair) != 2 {
				return fmt.Errorf("the reserved limit has incorrect value, expected type=quantity, got %s", limit)
			}
			name := v1.ResourceName(pair[0])
			if !memoryResource(name) {
				return fmt.Errorf("memory type conversion error, unknown type: %q", name)
			}
			quantity, err := resource.ParseQuantity(pair[1])
			if err != nil {
				return fmt.Errorf("failed to parse the quantity: %s", pair[1])
			}
			reservation.Limits[name] = quantity
		}
		*v.into = append(*v.into, reservation)
	}
	return nil
}

// memoryResource reports whether --reserved-memory accepts the name of a resource.
func memoryResource(name v1.ResourceName) bool {
	return name == v1.ResourceMemory || strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

func (v *reservedMemoryValue) String() string {
	var out []string
	for _, r := range *v.into {
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

func (v *reservedMemoryValue) Type() string { return "reserved-memory" }
