package main

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/featuregate"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	_ "k8s.io/kubernetes/cmd/kubelet/app" // this import registers the kubelet's feature gates
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubeletscheme "k8s.io/kubernetes/pkg/kubelet/apis/config/scheme"
	"k8s.io/kubernetes/pkg/kubelet/eviction"
)

type facts struct {
	// Defaults is the configuration that the kubelet makes of an empty file: after defaulting, and after conversion
	// to the internal type and back.
	Defaults object `json:"defaults"`
	// Legacy is the JSON merge patch that turns Defaults into the defaults of a kubelet without a configuration file.
	Legacy object `json:"legacy"`
	// Zero is the result of the conversion of an empty internal configuration to the versioned type. The conversion
	// itself sets some fields. Zero shows which fields these are.
	Zero object `json:"zero"`
	// Paths lists the fields that contain file paths. A relative path is relative to the folder of the configuration
	// file.
	Paths []string `json:"paths"`
	// EvictionHard is the value of the field evictionHard if the configuration file does not set it.
	EvictionHard map[string]string `json:"evictionHard"`
	// Fields lists the paths of all fields of KubeletConfiguration v1beta1. It is empty for the newest version.
	Fields []string `json:"fields,omitempty"`
	// Gates has a value of another type for older kubelets.
	Gates any `json:"gates"`
	// Dependencies maps each feature gate to the other feature gates that it depends on. It is empty before 1.35.
	Dependencies map[string][]string `json:"dependencies,omitempty"`
	Flags        []flag              `json:"flags"`
}

type object = map[string]any

type flag struct {
	Name      string `json:"name"`
	Shorthand string `json:"shorthand,omitempty"`
	// Type is the type name in the usage text. Value is the Go type that parses the flag; flags with the same Type
	// can have different Values.
	Type        string `json:"type"`
	Value       string `json:"value"`
	Default     string `json:"default,omitempty"`
	NoOptDefVal string `json:"noOptDefault,omitempty"`
	// Field is the path of the KubeletConfiguration field that the flag sets.
	Field      string `json:"field,omitempty"`
	Usage      string `json:"usage,omitempty"`
	Deprecated string `json:"deprecated,omitempty"`
}

func measureFacts() (*facts, error) {
	scheme, _, err := kubeletscheme.NewSchemeAndCodecs()
	if err != nil {
		return nil, err
	}
	versioned := &kubeletconfigv1beta1.KubeletConfiguration{}
	scheme.Default(versioned)
	internal := &kubeletconfig.KubeletConfiguration{}
	if err := scheme.Convert(versioned, internal, nil); err != nil {
		return nil, err
	}
	f := &facts{EvictionHard: eviction.DefaultEvictionHard}
	if f.Defaults, err = versionedJSON(internal); err != nil {
		return nil, err
	}
	if f.Zero, err = versionedJSON(&kubeletconfig.KubeletConfiguration{}); err != nil {
		return nil, err
	}
	legacyConfig, err := options.NewKubeletConfiguration()
	if err != nil {
		return nil, err
	}
	legacy, err := versionedJSON(legacyConfig)
	if err != nil {
		return nil, err
	}
	f.Legacy = difference(f.Defaults, legacy)
	if f.Paths, err = measurePaths(); err != nil {
		return nil, err
	}
	f.Gates, f.Dependencies = measureGates()
	if !newest {
		f.Fields = appendFields(nil, "", reflect.TypeFor[kubeletconfigv1beta1.KubeletConfiguration]())
	}
	f.Flags, err = measureFlags(legacy)
	return f, err
}

// appendFields appends the paths of the fields of a type. The path of a field in the items of a list contains [].
// Package config does the same for the newest version. This program is also built with the modules of older versions,
// with which package config cannot be built.
func appendFields(paths []string, prefix string, in reflect.Type) []string {
	for in.Kind() == reflect.Slice || in.Kind() == reflect.Pointer {
		if in.Kind() == reflect.Slice {
			prefix = strings.TrimSuffix(prefix, ".") + "[]."
		}
		in = in.Elem()
	}
	if in.Kind() != reflect.Struct || reflect.PointerTo(in).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return paths
	}
	for i := range in.NumField() {
		field := in.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" && field.Anonymous {
			paths = appendFields(paths, prefix, field.Type)
			continue
		}
		paths = append(paths, prefix+name)
		paths = appendFields(paths, prefix+name+".", field.Type)
	}
	return paths
}

// versionedJSON converts a configuration as the kubelet does for /configz.
func versionedJSON(kc *kubeletconfig.KubeletConfiguration) (object, error) {
	scheme, _, err := kubeletscheme.NewSchemeAndCodecs()
	if err != nil {
		return nil, err
	}
	versioned := &kubeletconfigv1beta1.KubeletConfiguration{}
	if err := scheme.Convert(kc, versioned, nil); err != nil {
		return nil, err
	}
	text, err := json.Marshal(versioned)
	if err != nil {
		return nil, err
	}
	var out object
	return out, json.Unmarshal(text, &out)
}

// difference returns the JSON merge patch from one object to another. A field that exists only in the first object
// becomes null.
func difference(from, to object) object {
	patch := object{}
	for key, want := range to {
		have, ok := from[key]
		if ok && reflect.DeepEqual(have, want) {
			continue
		}
		fromObject, fromOK := have.(object)
		toObject, toOK := want.(object)
		if fromOK && toOK {
			patch[key] = difference(fromObject, toObject)
		} else {
			patch[key] = want
		}
	}
	for key := range from {
		if _, ok := to[key]; !ok {
			patch[key] = nil
		}
	}
	return patch
}

// onlyPath returns the path of the only leaf field in which two configurations differ, or "" if they are equal.
func onlyPath(from, to object) (string, error) {
	at := difference(from, to)
	var path []string
	for len(at) > 0 {
		if len(at) > 1 {
			return "", fmt.Errorf("more than one field differs: %v", at)
		}
		for key, value := range at {
			path = append(path, key)
			have, _ := lookup(from, path).(object)
			next, ok := value.(object)
			if !ok || have == nil {
				return strings.Join(path, "."), nil
			}
			at = next
		}
	}
	return "", nil
}

func lookup(in object, path []string) any {
	var at any = in
	for _, key := range path {
		m, ok := at.(object)
		if !ok {
			return nil
		}
		at = m[key]
	}
	return at
}

func measurePaths() ([]string, error) {
	empty := &kubeletconfig.KubeletConfiguration{}
	base, err := versionedJSON(empty)
	if err != nil {
		return nil, err
	}
	var paths []string
	for i := range kubeletconfig.KubeletConfigurationPathRefs(empty) {
		kc := &kubeletconfig.KubeletConfiguration{}
		*kubeletconfig.KubeletConfigurationPathRefs(kc)[i] = "sample"
		changed, err := versionedJSON(kc)
		if err != nil {
			return nil, err
		}
		path, err := onlyPath(base, changed)
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func dependencies(of map[featuregate.Feature][]featuregate.Feature) map[string][]string {
	needs := map[string][]string{}
	for name, others := range of {
		for _, other := range others {
			needs[string(name)] = append(needs[string(name)], string(other))
		}
		slices.Sort(needs[string(name)])
	}
	return needs
}

// kubeletFlags returns the flag set of the kubelet, built in the same way as in the kubelet's command.
func kubeletFlags() (*pflag.FlagSet, *kubeletconfig.KubeletConfiguration, error) {
	kc, err := options.NewKubeletConfiguration()
	if err != nil {
		return nil, nil, err
	}
	fs := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	options.NewKubeletFlags().AddFlags(fs)
	options.AddKubeletConfigFlags(fs, kc)
	options.AddGlobalFlags(fs)
	fs.SetOutput(io.Discard) // discard warnings about deprecated flags
	return fs, kc, nil
}

// samples lists flag values. For each flag that sets a configuration field, at least one of them is valid.
var samples = []string{
	"true", "false", "7", "7s", "10.11.12.13", "a=true", "a=b", "a<b", "a:b",
	"0:memory=1Gi", "k=v:NoSchedule", "p=7", "7Ki",
}

func measureFlags(legacy object) ([]flag, error) {
	all, _, err := kubeletFlags()
	if err != nil {
		return nil, err
	}
	var out []flag
	all.VisitAll(func(f *pflag.Flag) {
		if err != nil {
			return
		}
		one := flag{
			Name: f.Name, Shorthand: f.Shorthand, Type: f.Value.Type(), Value: valueType(f.Value), Default: f.DefValue,
			NoOptDefVal: f.NoOptDefVal, Usage: f.Usage, Deprecated: f.Deprecated,
		}
		if !newest {
			one.Usage = "" // fauxlet shows only the usage of the newest version's flags
		}
		if err = measureField(&one, legacy); err == nil {
			out = append(out, one)
		}
	})
	return out, err
}

func measureField(f *flag, legacy object) error {
	// To find the field of a flag, set the flag and compare the configurations. The usage text of a flag is not
	// reliable, because some usage texts change with the values of other flags.
	for _, sample := range samples {
		fs, kc, err := kubeletFlags()
		if err != nil {
			return err
		}
		if strings.HasSuffix(f.Value, "versionValue") {
			return nil // a flag like --version sets no configuration field
		}
		if fs.Set(f.Name, sample) != nil {
			continue
		}
		changed, err := versionedJSON(kc)
		if err != nil {
			return fmt.Errorf("--%s=%s: %w", f.Name, sample, err)
		}
		if f.Field, err = onlyPath(legacy, changed); err != nil {
			return fmt.Errorf("--%s=%s: %w", f.Name, sample, err)
		}
		if f.Field != "" {
			return nil
		}
	}
	return nil
}

// valueType returns the name of a flag's parser: the Go type of the flag's value. For maps, the returned name also says
// whether the parser splits at commas.
func valueType(v pflag.Value) string {
	name := strings.TrimPrefix(fmt.Sprintf("%T", v), "*")
	if m, ok := v.(*cliflag.MapStringString); ok && m.NoSplit {
		name += "NoSplit"
	}
	return name
}
