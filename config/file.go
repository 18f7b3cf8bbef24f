package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/component-base/featuregate"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// dropInExtension is the extension of drop-in files. A kubelet ignores other files in --config-dir.
const dropInExtension = ".conf"

// loader reads configuration files and collects warnings.
type loader struct {
	facts    *kubeletFacts
	gates    featuregate.FeatureGate
	strict   bool
	warnings []string
}

func (l *loader) warnf(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

// gatesFor returns the feature gates of the command line, overridden by the feature gates of a configuration.
func (l *loader) gatesFor(kc *kubeletConfiguration) (featuregate.FeatureGate, error) {
	if l.gates == nil {
		return nil, errors.New("no feature gates")
	}
	local := l.gates.DeepCopy()
	if err := local.SetFromMap(kc.FeatureGates); err != nil {
		return nil, fmt.Errorf(
			"failed to merge global and in-flight KubeletConfiguration while setting defaults, error: %w",
			err,
		)
	}
	return local, nil
}

// file reads the configuration file of --config, sets defaults, and makes its relative paths absolute.
// (k8s.io/kubernetes: loadConfigFile in cmd/kubelet/app/server.go, pkg/kubelet/kubeletconfig/configfiles)
func (l *loader) file(name string) (*kubeletConfiguration, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("failed to read kubelet config file %q, error: %w", path, err)
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("kubelet config file %q was empty", path)
	}
	kc, err := l.decode(path, data)
	if err != nil {
		return nil, err
	}
	gates, err := l.gatesFor(kc)
	if err != nil {
		return nil, err
	}
	setDefaults(l.facts, kc, gates)
	roundMemory(kc)
	for _, field := range l.facts.Paths {
		makeAbsolute(kc, field, filepath.Dir(path))
	}
	setEvictionDefaults(l.facts, kc)
	return kc, nil
}

// decode decodes v1beta1 strictly. If only strict decoding fails, it decodes leniently and adds a warning.
// (k8s.io/kubernetes: DecodeKubeletConfiguration in pkg/kubelet/kubeletconfig/util/codec)
func (l *loader) decode(path string, data []byte) (*kubeletConfiguration, error) {
	obj, gvk, err := decodeInto(data, nil, serializer.EnableStrict)
	if runtime.IsStrictDecodingError(err) && !l.strict {
		strictErr := err
		if obj, gvk, err = decodeInto(data, nil, serializer.DisableStrict); err != nil {
			return nil, fmt.Errorf("failed lenient decoding: %w", strictErr)
		}
		l.warnf(
			"%s: using lenient decoding as strict decoding failed: %v; correct or remove these fields, they have "+
				"no effect",
			path,
			strictErr,
		)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to decode: %w", err)
	}
	kc, ok := obj.(*kubeletConfiguration)
	if !ok {
		return nil, fmt.Errorf("failed to cast object to KubeletConfiguration, unexpected type: %v", gvk)
	}
	return kc, nil
}

// decodeInto decodes YAML or JSON of the group kubelet.config.k8s.io into the given object. If the object is nil,
// the kind in the document determines the type of the result.
func decodeInto(
	data []byte,
	into runtime.Object,
	strictness serializer.CodecFactoryOptionsMutator,
) (runtime.Object, *schema.GroupVersionKind, error) {
	scheme := runtime.NewScheme()
	if err := kubeletconfigv1beta1.AddToScheme(scheme); err != nil {
		return nil, nil, err
	}
	return serializer.NewCodecFactory(scheme, strictness).UniversalDeserializer().Decode(data, nil, into)
}

// makeAbsolute makes a relative path in a field absolute, starting from a directory. An empty path stays empty.
func makeAbsolute(kc *kubeletConfiguration, field, dir string) {
	value, ok := fieldAt(reflect.ValueOf(kc).Elem(), field)
	if ok && value.Kind() == reflect.Pointer {
		value = value.Elem()
	}
	if !ok || !value.IsValid() || value.String() == "" || filepath.IsAbs(value.String()) {
		return
	}
	value.SetString(filepath.Join(dir, value.String()))
}

// dropIns merges the .conf files under dir over kc, in lexical order, as JSON merge patches.
// Relative paths in drop-ins stay relative to the working directory, as in the kubelet.
// (k8s.io/kubernetes: mergeKubeletConfigurations in cmd/kubelet/app/server.go)
func (l *loader) dropIns(kc *kubeletConfiguration, dir string) (*kubeletConfiguration, error) {
	base := kc.DeepCopy()
	base.APIVersion, base.Kind = "", ""
	merged, err := json.Marshal(base)
	if err != nil {
		return nil, fmt.Errorf("failed to marshal base config: %w", err)
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(entry.Name()) != dropInExtension {
			return err
		}
		patch, err := l.dropIn(path)
		if err != nil {
			return err
		}
		if merged, err = jsonpatch.MergePatch(merged, patch); err != nil {
			return fmt.Errorf("failed to merge drop-in and current config: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("failed to walk through kubelet dropin directory %q: %w", dir, err)
	}
	out := &kubeletConfiguration{}
	if err := json.Unmarshal(merged, out); err != nil {
		return nil, fmt.Errorf("failed to unmarshal merged JSON into kubelet configuration: %w", err)
	}
	gates, err := l.gatesFor(out)
	if err != nil {
		return nil, err
	}
	setDefaults(l.facts, out, gates)
	return out, nil
}

// dropIn reads one drop-in and returns it as JSON.
func (l *loader) dropIn(name string) ([]byte, error) {
	failed := func(err error) error {
		return fmt.Errorf("failed to load kubelet dropin file, path: %s, error: %w", name, err)
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, failed(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, failed(fmt.Errorf("failed to read drop-in kubelet config file %q, error: %w", path, err))
	}
	if len(data) == 0 {
		return nil, failed(fmt.Errorf("kubelet config file %q was empty", path))
	}
	obj, gvk, err := decodeInto(data, &unstructured.Unstructured{}, serializer.EnableStrict)
	if err != nil {
		return nil, failed(err)
	}
	if gvk == nil || gvk.Empty() {
		return nil, fmt.Errorf("failed to load kubelet dropin file, path: %s, no apiVersion/kind", name)
	}
	if *gvk != kubeletconfigv1beta1.SchemeGroupVersion.WithKind("KubeletConfiguration") {
		return nil, fmt.Errorf(
			"failed to load kubelet dropin file, path: %s, unknown apiVersion/kind: %v",
			name,
			gvk.String(),
		)
	}
	if _, _, err := decodeInto(data, nil, serializer.EnableStrict); runtime.IsStrictDecodingError(err) {
		if l.strict {
			return nil, failed(err)
		}
		l.warnf("%s: %v; a kubelet ignores it and logs nothing", path, err)
	}
	content, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, failed(fmt.Errorf("unexpected type %T", obj))
	}
	return json.Marshal(content.Object)
}
