package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/component-base/featuregate"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"
)

// loader reads the configuration file and drop-ins, and collects warnings.
type loader struct {
	gates    featuregate.FeatureGate
	version  Version
	strict   bool
	warnings []string
}

func (l *loader) warnf(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

// setDefaults sets the missing fields of a configuration. Some defaults depend on feature gates. For these, the feature
// gates in the configuration override the feature gates of the command line.
func (l *loader) setDefaults(kc *kubeletConfiguration) error {
	gates := l.gates.DeepCopy()
	err := setFromMap(gates, l.version, kc.FeatureGates)
	if err != nil && l.version.Has(GatedDefaults) {
		return fmt.Errorf("failed to merge global and in-flight KubeletConfiguration while setting defaults, error: %w",
			err)
	}
	setDefaults(kc, l.version, gates)
	return nil
}

// file reads the configuration file of --config, sets defaults, and makes its relative paths absolute.
// (k8s.io/kubernetes: loadConfigFile in cmd/kubelet/app/server.go, pkg/kubelet/kubeletconfig/configfiles)
func (l *loader) file(name string) (*kubeletConfiguration, error) {
	path, data, err := readFile("kubelet", name)
	if err != nil {
		return nil, err
	}
	kc, err := l.decode(path, data)
	if err != nil {
		return nil, err
	}
	if err := l.setDefaults(kc); err != nil {
		return nil, err
	}
	roundMemory(kc)
	for _, field := range facts().Paths {
		makeAbsolute(kc, field, filepath.Dir(path))
	}
	setEvictionDefaults(kc)
	return kc, nil
}

// FileError is an error in a configuration file or a drop-in. Error returns the kubelet's text, which repeats the name
// of the file. [FileError.Short] does not.
type FileError struct {
	File   string
	DropIn bool
	err    error
	text   string
}

func (e *FileError) Error() string { return e.text }
func (e *FileError) Unwrap() error { return e.err }

// Short returns an error that names the file once. If the file is a kubeconfig or a ConfigMap, the error says so.
func (e *FileError) Short() error {
	reason := e.err
	if path, ok := errors.AsType[*fs.PathError](reason); ok {
		reason = path.Err
	} else if empty, ok := errors.AsType[emptyFileError](reason); ok {
		reason = empty.short()
	} else if isMissingKind(reason) { // the decoder's text contains the whole file
		reason = errors.New("failed to decode: kind is not set; a configuration file begins with " +
			"apiVersion: kubelet.config.k8s.io/v1beta1 and kind: KubeletConfiguration" + e.otherKind())
	} else {
		reason = fmt.Errorf("%w%s", reason, e.otherKind())
	}
	return fmt.Errorf("%s: %w", e.File, reason)
}

func isMissingKind(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if runtime.IsMissingKind(err) {
			return true
		}
	}
	return false
}

// otherKind returns a remedy, beginning with a semicolon, for a file that is not a KubeletConfiguration but another
// file that often stands beside one. It returns an empty string for all other files.
func (e *FileError) otherKind() string {
	data, err := os.ReadFile(e.File)
	if err != nil {
		return ""
	}
	var content struct {
		Kind          string
		KubeletConfig any
	}
	if yaml.Unmarshal(data, &content) != nil {
		return ""
	}
	switch {
	case content.Kind == "Config":
		return "; this file is a kubeconfig: give the file with the kind KubeletConfiguration, " +
			"often /var/lib/kubelet/config.yaml"
	case content.Kind == "ConfigMap":
		return "; this file is a ConfigMap: the KubeletConfiguration is the text below data.kubelet"
	case content.KubeletConfig != nil:
		return "; this file is a response of /configz: write the object below kubeletconfig into a file, and add " +
			"apiVersion and kind"
	}
	return ""
}

// emptyFileError is the error of an empty file. It is the file's absolute path.
type emptyFileError string

func (e emptyFileError) Error() string {
	return fmt.Sprintf("kubelet config file %q was empty", string(e))
}
func (e emptyFileError) short() error { return errors.New("the file is empty") }

// readFile reads a configuration file, and returns its absolute path and content. An empty file is an error.
func readFile(kind, name string) (path string, data []byte, err error) {
	if path, err = filepath.Abs(name); err != nil {
		return "", nil, err
	}
	if data, err = os.ReadFile(path); err != nil {
		return "", nil, fmt.Errorf("failed to read %s config file %q, error: %w", kind, path, err)
	}
	if len(data) == 0 {
		return "", nil, emptyFileError(path)
	}
	return path, data, nil
}

// decode decodes a v1beta1 configuration strictly. If this fails only because of unknown or duplicate fields, and
// Strict is not set, decode decodes it leniently and adds one warning. (k8s.io/kubernetes: DecodeKubeletConfiguration
// in pkg/kubelet/kubeletconfig/util/codec)
func (l *loader) decode(path string, data []byte) (*kubeletConfiguration, error) {
	obj, gvk, err := l.decodeStrictly(data)
	if runtime.IsStrictDecodingError(err) && !l.strict {
		strictErr := err
		if obj, gvk, err = decodeInto(data, nil, serializer.DisableStrict); err != nil {
			return nil, fmt.Errorf("failed lenient decoding: %w", strictErr)
		}
		l.warnf("%s: using lenient decoding as strict decoding failed: %s; an unknown field has no effect, and of two "+
			"values the last one counts; correct or remove them", path, inOneLine(withNearestFields(strictErr)))
	}
	if err != nil {
		return nil, fmt.Errorf("failed to decode: %w", withNearestFields(err))
	}
	kc, ok := obj.(*kubeletConfiguration)
	if !ok {
		return nil, fmt.Errorf("failed to cast object to KubeletConfiguration, unexpected type: %v", gvk)
	}
	l.version.removeNewerFields(kc)
	return kc, nil
}

// decodeStrictly decodes YAML or JSON. Fields that the kubelet of the emulated version does not have are errors, too.
func (l *loader) decodeStrictly(data []byte) (runtime.Object, *schema.GroupVersionKind, error) {
	obj, gvk, err := decodeInto(data, nil, serializer.EnableStrict)
	var problems []error
	if strict, ok := runtime.AsStrictDecodingError(err); ok {
		problems = strict.Errors()
	} else if err != nil {
		return nil, gvk, err
	}
	if problems = append(problems, l.version.newerFields(data)...); len(problems) > 0 {
		err = runtime.NewStrictDecodingError(problems)
	}
	return obj, gvk, err
}

// inOneLine returns the text of an error without line breaks, for a warning.
func inOneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// decodeInto decodes YAML or JSON of the group kubelet.config.k8s.io into the given object. If the object is nil,
// the kind in the document determines the type of the result.
func decodeInto(data []byte, into runtime.Object,
	strictness serializer.CodecFactoryOptionsMutator) (runtime.Object, *schema.GroupVersionKind, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(kubeletconfigv1beta1.AddToScheme(scheme))
	return serializer.NewCodecFactory(scheme, strictness).UniversalDeserializer().Decode(data, nil, into)
}

// makeAbsolute makes the path in a field absolute. A relative path is relative to dir. An empty path stays empty.
func makeAbsolute(kc *kubeletConfiguration, field, dir string) {
	value := reflect.Indirect(fieldAt(reflect.ValueOf(kc).Elem(), field))
	if value.IsValid() && value.String() != "" && !filepath.IsAbs(value.String()) {
		value.SetString(filepath.Join(dir, value.String()))
	}
}

// dropIns applies the .conf files under dir to kc as JSON merge patches, in lexical order. As in a kubelet, other files
// are ignored, and relative paths in drop-ins stay relative to the working directory.
// (k8s.io/kubernetes: mergeKubeletConfigurations in cmd/kubelet/app/server.go)
func (l *loader) dropIns(kc *kubeletConfiguration, dir string) (*kubeletConfiguration, error) {
	var patches [][]byte
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(entry.Name()) != ".conf" {
			return err
		}
		patch, err := l.dropIn(path)
		patches = append(patches, patch)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("failed to walk through kubelet dropin directory %q: %w", dir, err)
	}
	return l.merge(kc, patches, l.version.Has(GatedDefaults))
}

// merge applies JSON merge patches to kc. If defaults is true, a field that is then zero or missing gets its default.
// Otherwise, a zero stays, and a null in a patch has no effect.
func (l *loader) merge(kc *kubeletConfiguration, patches [][]byte, defaults bool) (*kubeletConfiguration, error) {
	base := kc.DeepCopy()
	base.APIVersion, base.Kind = "", ""
	merged, err := json.Marshal(base)
	for i := 0; i < len(patches) && err == nil; i++ {
		merged, err = jsonpatch.MergePatch(merged, patches[i])
	}
	out := base // a field that the merged JSON does not have keeps its value
	if defaults {
		out = &kubeletConfiguration{}
	}
	if err == nil {
		err = json.Unmarshal(merged, out)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to unmarshal merged JSON into kubelet configuration: %w", err)
	}
	if defaults {
		err = l.setDefaults(out)
	}
	return out, err
}

// dropIn reads one drop-in and returns it as JSON.
func (l *loader) dropIn(name string) ([]byte, error) {
	failed := func(err error) error {
		return &FileError{File: name, DropIn: true, err: err,
			text: fmt.Sprintf("failed to load kubelet dropin file, path: %s, error: %v", name, err)}
	}
	path, data, err := readFile("drop-in kubelet", name)
	if err != nil {
		return nil, failed(err)
	}
	content := &unstructured.Unstructured{}
	_, gvk, err := decodeInto(data, content, serializer.EnableStrict)
	switch {
	case err != nil:
		return nil, failed(err)
	case !l.version.Has(GatedDefaults):
	case gvk.Empty():
		return nil, fmt.Errorf("failed to load kubelet dropin file, path: %s, no apiVersion/kind", name)
	case *gvk != kubeletconfigv1beta1.SchemeGroupVersion.WithKind("KubeletConfiguration"):
		return nil, fmt.Errorf("failed to load kubelet dropin file, path: %s, unknown apiVersion/kind: %v", name, gvk)
	}
	if _, _, err := l.decodeStrictly(data); runtime.IsStrictDecodingError(err) {
		err = withNearestFields(err)
		if l.strict {
			return nil, failed(err)
		}
		l.warnf("%s: %s; a kubelet ignores it and logs nothing", path, inOneLine(err))
	}
	for field := range l.version.lacking() {
		delete(content.Object, field)
	}
	return json.Marshal(content.Object)
}
