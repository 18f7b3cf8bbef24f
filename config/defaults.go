package config

import (
	"encoding/json"
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/featuregate"
	logsapi "k8s.io/component-base/logs/api/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/utils/ptr"
)

type kubeletConfiguration = kubeletconfigv1beta1.KubeletConfiguration

// legacyConfiguration returns the defaults that apply without a configuration file. A kubelet begins with these
// defaults and then applies its flags. (k8s.io/kubernetes: NewKubeletConfiguration in cmd/kubelet/app/options)
func legacyConfiguration(v Version, gates featuregate.FeatureGate) *kubeletConfiguration {
	kc := defaultsOf(v, gates)
	must(json.Unmarshal(facts().Legacy, kc))
	setDefaults(kc, v, gates)
	return kc
}

// defaultsOf returns the defaults in kubelet.json, without those that need a disabled feature gate, and with those that
// are different in version v. If gates is nil, each gate has its default.
func defaultsOf(v Version, gates featuregate.FeatureGate) *kubeletConfiguration {
	defaults := facts().Defaults.DeepCopy()
	if gates != nil && !enabled(gates, v, "KubeletCrashLoopBackOffMax") {
		defaults.CrashLoopBackOff.MaxContainerRestartPeriod = nil
	}
	if gates != nil && !enabled(gates, v, "KubeletEnsureSecretPulledImages") {
		defaults.ImagePullCredentialsVerificationPolicy = ""
	}
	if !v.Has(FailOnCgroupV1) {
		defaults.FailCgroupV1 = ptr.To(false)
	}
	if !v.Has(NoThrottlingFactor) {
		defaults.MemoryThrottlingFactor = ptr.To(0.9)
	}
	return defaults
}

// setDefaults sets missing fields to the values that they have in a kubelet. A kubelet applies the defaults of v1beta1,
// and converts the configuration to its internal type and back, which also sets fields. For most fields, setDefaults
// replaces a zero value by the value in kubelet.json. The other defaults depend on other fields or on feature gates;
// see defaultsOf. (k8s.io/kubernetes: pkg/kubelet/apis/config/v1beta1/defaults.go)
func setDefaults(kc *kubeletConfiguration, v Version, gates featuregate.FeatureGate) {
	if kc.NodeStatusReportFrequency.Duration == 0 {
		kc.NodeStatusReportFrequency = kc.NodeStatusUpdateFrequency
	}
	if kc.SerializeImagePulls == nil {
		kc.SerializeImagePulls = ptr.To(kc.MaxParallelImagePulls == nil || *kc.MaxParallelImagePulls < 2)
	}
	if kc.PodPidsLimit != nil && *kc.PodPidsLimit < 0 {
		kc.PodPidsLimit = nil
	}
	logsapi.SetRecommendedLoggingConfiguration(&kc.Logging)

	fillZero(reflect.ValueOf(kc).Elem(), reflect.ValueOf(defaultsOf(v, gates)).Elem())
	fillZero(reflect.ValueOf(kc).Elem(), reflect.ValueOf(facts().Zero.DeepCopy()).Elem())
}

// fillZero copies fields from one struct to another of the same type. It changes only fields that are zero. It treats
// nested structs in the same way, with two exceptions: it copies a metav1.Duration as a whole, and it does not copy
// fields of the types TypeMeta and LoggingConfiguration.
func fillZero(into, from reflect.Value) {
	for i := range into.NumField() {
		field := into.Field(i)
		switch field.Interface().(type) {
		case metav1.TypeMeta, logsapi.LoggingConfiguration:
			continue
		case metav1.Duration:
		default:
			if field.Kind() == reflect.Struct {
				fillZero(field, from.Field(i))
				continue
			}
		}
		if field.IsZero() {
			field.Set(from.Field(i))
		}
	}
}

// roundMemory rounds the quantities of reserved memory up to a multiple of 0.001. A kubelet rounds values from a file,
// but not values from flags. (k8s.io/kubernetes: pkg/kubelet/apis/config/v1beta1/zz_generated.defaults.go)
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
func setEvictionDefaults(kc *kubeletConfiguration) {
	if set := kc.EvictionHard; set == nil || ptr.Deref(kc.MergeDefaultEvictionSettings, false) {
		kc.EvictionHard = maps.Clone(facts().EvictionHard)
		maps.Copy(kc.EvictionHard, set)
	}
}
