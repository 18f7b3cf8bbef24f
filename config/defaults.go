package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

type kubeletConfiguration = kubeletconfigv1beta1.KubeletConfiguration

// legacyConfiguration returns the configuration of a kubelet before it reads its flags.
// (k8s.io/kubernetes: NewKubeletConfiguration in cmd/kubelet/app/options)
func legacyConfiguration(f *kubeletFacts) (*kubeletConfiguration, error) {
	defaults, err := json.Marshal(f.Defaults)
	if err != nil {
		return nil, err
	}
	merged, err := jsonpatch.MergePatch(defaults, f.Legacy)
	if err != nil {
		return nil, fmt.Errorf("embedded kubelet.json: %w", err)
	}
	kc := &kubeletConfiguration{}
	if err := json.Unmarshal(merged, kc); err != nil {
		return nil, fmt.Errorf("embedded kubelet.json: %w", err)
	}
	setDefaults(f, kc, nil)
	return kc, nil
}

// setDefaults sets missing fields like the defaulting of v1beta1 and the round trip through the kubelet's internal
// type. Most defaults replace a zero value and come from kubelet.json. The exceptions depend on other fields or on
// feature gates. A nil gates means the default gates. (k8s.io/kubernetes: pkg/kubelet/apis/config/v1beta1/defaults.go)
func setDefaults(f *kubeletFacts, kc *kubeletConfiguration, gates featuregate.FeatureGate) {
	gated := func(name string) bool { return gates == nil || enabled(gates, name) }

	if kc.NodeStatusReportFrequency.Duration == 0 {
		kc.NodeStatusReportFrequency = kc.NodeStatusUpdateFrequency
	}
	if kc.SerializeImagePulls == nil {
		serial := kc.MaxParallelImagePulls == nil || *kc.MaxParallelImagePulls < 2
		kc.SerializeImagePulls = &serial
	}
	if kc.PodPidsLimit != nil && *kc.PodPidsLimit < 0 {
		kc.PodPidsLimit = nil
	}
	logsapi.SetRecommendedLoggingConfiguration(&kc.Logging)

	defaults := f.Defaults.DeepCopy()
	if !gated("KubeletCrashLoopBackOffMax") {
		defaults.CrashLoopBackOff.MaxContainerRestartPeriod = nil
	}
	if !gated("KubeletEnsureSecretPulledImages") {
		defaults.ImagePullCredentialsVerificationPolicy = ""
	}
	fillZero(reflect.ValueOf(kc).Elem(), reflect.ValueOf(defaults).Elem())
	fillNil(f, kc)
}

// fillNil sets the pointers whose fields are plain values in the kubelet's internal type. Conversion to that type and
// back has the same effect.
func fillNil(f *kubeletFacts, kc *kubeletConfiguration) {
	zero := f.Zero.DeepCopy()
	walkFields(reflect.ValueOf(kc).Elem(), reflect.ValueOf(zero).Elem(), func(field, from reflect.Value) {
		if field.Kind() == reflect.Pointer && field.IsNil() {
			field.Set(from)
		}
	})
}

// fillZero sets each zero field of the struct into to the value of the same field of the struct from.
func fillZero(into, from reflect.Value) {
	walkFields(into, from, func(field, from reflect.Value) {
		if field.IsZero() {
			field.Set(from)
		}
	})
}

// walkFields visits the fields of two structs of the same type. It descends into structs, except durations and the
// logging configuration.
func walkFields(into, from reflect.Value, visit func(field, from reflect.Value)) {
	for i := range into.NumField() {
		field := into.Field(i)
		switch field.Interface().(type) {
		case metav1.TypeMeta, logsapi.LoggingConfiguration:
		case metav1.Duration:
			visit(field, from.Field(i))
		default:
			if field.Kind() == reflect.Struct {
				walkFields(field, from.Field(i), visit)
			} else {
				visit(field, from.Field(i))
			}
		}
	}
}

// roundMemory rounds reserved memory up to milli-units. A kubelet rounds values from a file, but not values from
// flags. (k8s.io/kubernetes: pkg/kubelet/apis/config/v1beta1/zz_generated.defaults.go)
func roundMemory(kc *kubeletConfiguration) {
	for _, r := range kc.ReservedMemory {
		for name, quantity := range r.Limits {
			quantity.RoundUp(resource.Milli)
			r.Limits[name] = quantity
		}
	}
}

// setEvictionDefaults sets the eviction thresholds. A kubelet does this only if it has a configuration file.
// (k8s.io/kubernetes: loadConfigFile in cmd/kubelet/app/server.go)
func setEvictionDefaults(f *kubeletFacts, kc *kubeletConfiguration) {
	if kc.EvictionHard == nil {
		kc.EvictionHard = maps.Clone(f.EvictionHard)
		return
	}
	if kc.MergeDefaultEvictionSettings != nil && *kc.MergeDefaultEvictionSettings {
		for signal, threshold := range f.EvictionHard {
			if _, ok := kc.EvictionHard[signal]; !ok {
				kc.EvictionHard[signal] = threshold
			}
		}
	}
}
