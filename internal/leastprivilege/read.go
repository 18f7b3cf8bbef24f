package leastprivilege

import (
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime"

	"fauxlet/config"
	"fauxlet/internal/reviewapi"
)

// Read reads manifest files, and returns what their subjects may do at kubelets of the given versions, as [Grants]
// does, with warnings as [MissingRoles] returns them. The file name - stands for the reader.
func Read(standardInput io.Reader, files []string, versions []config.Version) (Subjects, []string, error) {
	policy, objects, err := readPolicy(standardInput, files)
	if err != nil {
		return nil, nil, err
	}
	return Grants(policy, objects, versions), MissingRoles(objects), nil
}

// ReadAndCompare reads manifest files, and compares what they grant to a user, or to its groups, with the user's
// requests, as [Compare] does. Files and warnings are as in [Read]. The report has no number of Decisions.
func ReadAndCompare(standardInput io.Reader, files []string, user string, groups []string, requests []Request,
	own *Kubelets) (*Report, []string, error) {
	policy, objects, err := readPolicy(standardInput, files)
	if err != nil {
		return nil, nil, err
	}
	return &Report{User: user, Comparisons: Compare(policy.ClusterRules(user, groups), requests, own),
		MissingRoles: policy.MissingClusterRoles(user, groups)}, MissingRoles(objects), nil
}

func readPolicy(standardInput io.Reader, files []string) (*reviewapi.Policy, []runtime.Object, error) {
	var objects []runtime.Object
	for _, name := range files {
		var data []byte
		var err error
		if name == "-" {
			data, err = io.ReadAll(standardInput)
		} else {
			data, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, nil, err
		}
		parsed, err := reviewapi.ParseManifests(name, data)
		if err != nil {
			return nil, nil, err
		}
		objects = append(objects, parsed...)
	}
	policy, err := reviewapi.NewPolicy(objects...)
	return policy, objects, err
}
