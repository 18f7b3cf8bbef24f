package node

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// ReadManifests reads static pods from a file, or from every file of a folder whose name does not begin with a dot. If
// refuseReferences is true, a manifest that refers to API objects such as Secrets is invalid.
//
// An invalid file in a folder is skipped, and the result "skipped" has an error that names the file and the remedy. If
// path is an invalid file or cannot be read, ReadManifests returns an error. An empty path, or a path that does not
// exist, gives no pods. (kubelet: pkg/kubelet/config, sourceFile)
func ReadManifests(path string, refuseReferences bool) (all []*v1.Pod, skipped []error, err error) {
	if path == "" {
		return nil, nil, nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	case !info.IsDir():
		pod, err := readManifest(path, refuseReferences)
		if err != nil {
			return nil, nil, err
		}
		return []*v1.Pod{pod}, nil, nil
	}
	files, err := filepath.Glob(filepath.Join(path, "[^.]*"))
	if err != nil {
		return nil, nil, err
	}
	names, uids := map[types.NamespacedName]string{}, map[types.UID]string{}
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			continue
		}
		pod, err := readManifest(file, refuseReferences)
		if err == nil {
			key := types.NamespacedName{Namespace: cmp.Or(pod.Namespace, metav1.NamespaceDefault), Name: pod.Name}
			switch {
			case names[key] != "":
				err = fmt.Errorf("%s: %s has the name %s too; rename one of the pods", file, names[key], key)
			case pod.UID != "" && uids[pod.UID] != "":
				err = fmt.Errorf("%s: %s has the metadata.uid %s too; remove it to get a generated one", file,
					uids[pod.UID], pod.UID)
			}
			if err == nil {
				names[key], uids[pod.UID] = file, file
			}
		}
		switch {
		case err == nil:
			all = append(all, pod)
		case !errors.Is(err, fs.ErrNotExist): // the file was removed after the folder was read
			skipped = append(skipped, err)
		}
	}
	return all, skipped, nil
}

// readManifest reads a static pod from a file. Like a kubelet, it ignores unknown fields. The error names the file.
// (kubelet: pkg/kubelet/config, tryDecodeSinglePod)
func readManifest(file string, refuseReferences bool) (*v1.Pod, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	json, err := yaml.ToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; correct the YAML", file, err)
	}
	var header metav1.PartialObjectMetadata
	if err := yaml.Unmarshal(json, &header); err != nil {
		return nil, fmt.Errorf("%s: %w; correct the manifest", file, err)
	}
	if header.Kind != "Pod" || header.APIVersion != "v1" || header.Name == "" {
		return nil, fmt.Errorf("%s: apiVersion %q, kind %q, name %q: must be a v1 Pod with a name", file,
			header.APIVersion, header.Kind, header.Name)
	}
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(json, nil, &v1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w; correct the manifest", file, err)
	}
	pod := object.(*v1.Pod)
	if _, err := pods.NewStore(scenario.Pod{Pod: pod}); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if reference := apiReference(&pod.Spec); reference != "" && (refuseReferences || isAlwaysRefused[reference]) {
		return nil, fmt.Errorf("%s: static pods may not reference %s; remove the reference, or use a hostPath volume",
			file, reference)
	}
	return pod, nil
}

// isAlwaysRefused has the references that also a kubelet without the feature gate PreventStaticPodAPIReferences
// refuses.
var isAlwaysRefused = map[string]bool{"clustertrustbundles": true, "resourceclaims": true}
