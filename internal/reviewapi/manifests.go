package reviewapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// file is a file that has been read.
type file struct {
	name string
	data []byte
}

// readManifests reads files, and the .yaml, .yml and .json files directly in folders, in the order of their names.
// It skips names that begin with a dot, because a mounted ConfigMap contains such entries for internal use.
func readManifests(paths []string) ([]file, error) {
	var files []file
	for _, path := range paths {
		names := []string{path}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("RBAC manifests: %w", err)
		}
		if info.IsDir() {
			if names, err = manifestsIn(path); err != nil {
				return nil, err
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

func manifestsIn(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("RBAC manifests: %w", err)
	}
	var names []string
	for _, entry := range entries {
		known := slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(entry.Name()))
		if known && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, filepath.Join(folder, entry.Name()))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("RBAC manifests: folder %s: contains no .yaml, .yml or .json file", folder)
	}
	return names, nil
}

// manifest is an object with its file and document.
type manifest struct {
	object   runtime.Object
	file     string
	document int
}

// rbacDecoder decodes the kinds of a Policy, and Lists of them as kubectl prints them, from YAML or JSON. Unknown
// fields are errors.
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

func parseManifests(files []file) ([]manifest, error) {
	var manifests []manifest
	var problems []error
	for _, f := range files {
		documents, err := split(f.data)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: document %d: %w", f.name, len(documents)+1, err))
		}
		for i, document := range documents {
			objects, err := decode(document)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: document %d: %w", f.name, i+1, err))
			}
			for _, object := range objects {
				manifests = append(manifests, manifest{object: object, file: f.name, document: i + 1})
			}
		}
	}
	return manifests, errors.Join(problems...)
}

// split splits a file into documents: YAML at its `---` lines, JSON between its values.
func split(data []byte) ([][]byte, error) {
	var documents [][]byte
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		for decoder := json.NewDecoder(bytes.NewReader(data)); ; {
			var document json.RawMessage
			if err := decoder.Decode(&document); err == io.EOF {
				return documents, nil
			} else if err != nil {
				return documents, fmt.Errorf("not JSON: %w", err)
			}
			documents = append(documents, document)
		}
	}
	for reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		document, err := reader.Read()
		if err == io.EOF {
			return documents, nil
		}
		if err != nil {
			return documents, err
		}
		documents = append(documents, document)
	}
}

// decode returns the objects of one document: none if it has only comments, several if it is a List.
func decode(document []byte) ([]runtime.Object, error) {
	plain, err := yaml.ToJSON(document)
	if err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if string(bytes.TrimSpace(plain)) == "null" {
		return nil, nil
	}
	object, gvk, err := rbacDecoder.Decode(document, nil, nil)
	switch {
	case runtime.IsNotRegisteredError(err) && gvk != nil:
		return nil, fmt.Errorf("%s of %s is not supported, only %s; remove the document", gvk.Kind, gvk.GroupVersion(),
			rbacKinds)
	case runtime.IsMissingKind(err):
		return nil, fmt.Errorf("kind is not set; it must be one of %s", rbacKinds)
	case runtime.IsMissingVersion(err):
		return nil, errors.New("apiVersion is not set; it must be rbac.authorization.k8s.io/v1")
	case err != nil && gvk != nil:
		return nil, fmt.Errorf("%s: %w", gvk.Kind, err)
	case err != nil:
		return nil, err
	}
	switch list := object.(type) {
	case *corev1.List:
		return decodeItems(list.Items)
	case *rbacv1.ClusterRoleList:
		return pointers(list.Items, func(r *rbacv1.ClusterRole) runtime.Object { return r }), nil
	case *rbacv1.ClusterRoleBindingList:
		return pointers(list.Items, func(r *rbacv1.ClusterRoleBinding) runtime.Object { return r }), nil
	case *rbacv1.RoleList:
		return pointers(list.Items, func(r *rbacv1.Role) runtime.Object { return r }), nil
	case *rbacv1.RoleBindingList:
		return pointers(list.Items, func(r *rbacv1.RoleBinding) runtime.Object { return r }), nil
	}
	return []runtime.Object{object}, nil
}

func decodeItems(items []runtime.RawExtension) ([]runtime.Object, error) {
	var objects []runtime.Object
	var problems []error
	for i, item := range items {
		decoded, err := decode(item.Raw)
		if err != nil {
			problems = append(problems, fmt.Errorf("items[%d]: %w", i, err))
		}
		objects = append(objects, decoded...)
	}
	return objects, errors.Join(problems...)
}

func pointers[T any](items []T, object func(*T) runtime.Object) []runtime.Object {
	objects := make([]runtime.Object, len(items))
	for i := range items {
		objects[i] = object(&items[i])
	}
	return objects
}
