package host

import (
	"os"
	"path/filepath"
	"testing"

	"fauxlet/internal/faults"
)

// TestScenarioGivesImages checks that each container gets an image. A Scenario file may omit images, but an apiserver
// rejects a mirror pod without images.
func TestScenarioGivesImages(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "scenario.yaml")
	const text = `{apiVersion: fauxlet/v1alpha1, kind: Scenario, pods: [{metadata: {name: worker}, spec:
		{initContainers: [{name: migrate}], containers: [{name: app}, {name: web, image: nginx}]}}]}`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &scenarioFile{path: path, joins: true, faults: faults.NewSet(), manifests: &manifests{}}
	if err := s.read(); err != nil {
		t.Fatal(err)
	}
	static, err := s.staticPods()
	if err != nil {
		t.Fatal(err)
	}
	spec := static[0].Spec
	if got := [3]string{spec.InitContainers[0].Image, spec.Containers[0].Image,
		spec.Containers[1].Image}; got != [3]string{"migrate", "app", "nginx"} {
		t.Errorf("the images are %q", got)
	}
}
