package reviewapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// file is the name and content of a file.
type file struct {
	name string
	data []byte
}

// readManifests reads files and folders. In a folder it reads the .yaml, .yml and .json files, in the order of their
// names, but no subfolders. It skips names that begin with a dot, because a mounted ConfigMap contains such entries.
func readManifests(paths []string) ([]file, error) {
	var files []file
	for _, path := range paths {
		names := []string{path}
		if entries, err := os.ReadDir(path); err == nil {
			names = nil
			for _, entry := range entries {
				known := slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(entry.Name()))
				if known && !strings.HasPrefix(entry.Name(), ".") {
					names = append(names, filepath.Join(path, entry.Name()))
				}
			}
			if len(names) == 0 {
				return nil, fmt.Errorf("RBAC manifests: folder %s: contains no .yaml, .yml or .json file", path)
			}
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("RBAC manifests: %w", err)
			}
			files = append(files, file{name: name, data: data})
		}
	}
	return files, nil
}

// manifest is a decoded object, with the file and the number of the document in which it was found.
type manifest struct {
	object   runtime.Object
	file     string
	document int
}

// rbacDecoder decodes RBAC objects, and Lists of RBAC objects as kubectl prints them, from YAML or JSON. Unknown fields
// are errors.
var rbacDecoder = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	utilruntime.Must(rbacv1.AddToScheme(scheme))
	scheme.AddKnownTypes(corev1.SchemeGroupVersion, &corev1.List{})
	codecs := serializer.NewCodecFactory(scheme)
	info, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeYAML)
	return info.StrictSerializer
}()

const rbacKinds = "ClusterRole, ClusterRoleBinding, Role and RoleBinding of rbac.authorization.k8s.io/v1, and " +
	"Lists of them"

// otherKinds counts the objects of each kind that does not belong to RBAC. A published manifest often has the RBAC
// rules of a program beside its ServiceAccount, Deployment, Service or APIService.
type otherKinds map[string]int

// String returns a text such as `skipped objects of other kinds: 1 Deployment, 2 Service`, or an empty string.
func (k otherKinds) String() string {
	if len(k) == 0 {
		return ""
	}
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(k)) {
		all = append(all, fmt.Sprintf("%d %s", k[kind], kind))
	}
	return "skipped objects of other kinds: " + strings.Join(all, ", ")
}

// parseManifests returns the RBAC objects in the files and counts the other objects. Like kubectl, it puts an object
// without a namespace into the namespace default.
func parseManifests(files []file) ([]manifest, otherKinds, error) {
	var manifests []manifest
	var problems []error
	others := otherKinds{}
	for _, f := range files {
		documents, err := split(f.data)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: document %d: %w", f.name, len(documents)+1, err))
		}
		for i, document := range documents {
			objects, err := decode(document, others)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: document %d: %w", f.name, i+1, err))
			}
			for _, object := range objects {
				if namespaced, ok := object.(metav1.Object); ok && namespaced.GetNamespace() == "" {
					namespaced.SetNamespace(metav1.NamespaceDefault) // validate removes it from cluster-scoped objects
				}
				manifests = append(manifests, manifest{object: object, file: f.name, document: i + 1})
			}
		}
	}
	if len(manifests) == 0 && len(others) > 0 && len(problems) == 0 {
		names := make([]string, len(files))
		for i, f := range files {
			names[i] = f.name
		}
		return nil, nil, fmt.Errorf("%s: no role and no binding; %v; the supported kinds are %s",
			strings.Join(names, ", "), others, rbacKinds)
	}
	return manifests, others, errors.Join(problems...)
}

// split splits a file into documents: at the `---` lines of a YAML file, or into the top-level values of a JSON file.
func split(data []byte) (documents [][]byte, err error) {
	next := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))).Read
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		decoder := json.NewDecoder(bytes.NewReader(data))
		next = func() ([]byte, error) {
			var document json.RawMessage
			err := decoder.Decode(&document)
			if err != nil && err != io.EOF {
				err = fmt.Errorf("not JSON: %w", err)
			}
			return document, err
		}
	}
	for {
		document, err := next()
		if err == io.EOF {
			return documents, nil
		} else if err != nil {
			return documents, err
		}
		documents = append(documents, document)
	}
}

// decode returns the RBAC objects of one document, and adds the other objects to "others". A document with only
// comments has none. For a List, decode returns the items of the List and skips items that are null.
func decode(document []byte, others otherKinds) ([]runtime.Object, error) {
	plain, err := yaml.ToJSON(document)
	if err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if string(bytes.TrimSpace(plain)) == "null" {
		return nil, nil
	}
	object, gvk, err := rbacDecoder.Decode(document, nil, nil)
	switch {
	case runtime.IsNotRegisteredError(err) && gvk != nil && !isMeantForRBAC(gvk):
		others[gvk.Kind]++
		return nil, nil
	case runtime.IsNotRegisteredError(err) && gvk != nil:
		return nil, fmt.Errorf("%s of %s is not supported; correct apiVersion and kind; the supported kinds are %s",
			gvk.Kind, gvk.GroupVersion(), rbacKinds)
	case runtime.IsMissingKind(err):
		return nil, fmt.Errorf("kind is not set; it must be one of %s", rbacKinds)
	case runtime.IsMissingVersion(err):
		return nil, errors.New("apiVersion is not set; it must be rbac.authorization.k8s.io/v1")
	case err != nil && gvk != nil:
		return nil, fmt.Errorf("%s: %w", gvk.Kind, err)
	case err != nil:
		return nil, err
	}
	if !meta.IsListType(object) {
		return []runtime.Object{object}, nil
	}
	items, err := meta.ExtractList(object)
	if err != nil {
		return nil, err
	}
	var objects []runtime.Object
	var problems []error
	for i, item := range items {
		if item == nil { // an item of a v1.List is null
			continue
		}
		decoded := []runtime.Object{item}
		if unknown, ok := item.(*runtime.Unknown); ok { // the List is a v1.List, so its items are not decoded yet
			if decoded, err = decode(unknown.Raw, others); err != nil {
				problems = append(problems, fmt.Errorf("items[%d]: %w", i, err))
			}
		}
		objects = append(objects, decoded...)
	}
	return objects, errors.Join(problems...)
}

// isMeantForRBAC reports whether an object of an unknown kind is probably an RBAC object with a mistake, or of a
// version that is no longer served. If such an object were skipped, the policy would be incomplete.
func isMeantForRBAC(gvk *schema.GroupVersionKind) bool {
	kind := strings.TrimSuffix(strings.ToLower(gvk.Kind), "list")
	return gvk.Group == rbacv1.GroupName ||
		slices.Contains([]string{"clusterrole", "clusterrolebinding", "role", "rolebinding"}, kind)
}
