package programs

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// OlderReference is the beginning of the names of the programs that are the kubelet's server of an older minor, such as
// "reference-1.33". Each is built from the modules in record/1.33.mod, and from the package "reference". The files that
// only older minors need are in the folder testdata/older of that package, where "go mod tidy" does not find them.
const OlderReference = "reference-"

// ModuleVersion returns the version of k8s.io/kubernetes from which the kubelet's server of a minor is built.
func ModuleVersion(t testing.TB, minor string) string {
	t.Helper()
	if strings.HasPrefix(Version, "v"+minor+".") {
		return Version
	}
	text, err := os.ReadFile(modulesOf(minor))
	if err != nil {
		t.Fatalf("no modules for Kubernetes %s: %v", minor, err)
	}
	_, rest, _ := strings.Cut(string(text), "k8s.io/kubernetes ")
	version, _, _ := strings.Cut(rest, "\n")
	return version
}

func modulesOf(minor string) string { return filepath.Join(Module(), "record", minor+".mod") }

// writeOlderSources writes everything that the program of an older minor is built from, except the modules' contents.
func writeOlderSources(w io.Writer, minor string) error {
	files, err := filepath.Glob(filepath.Join(Module(), "reference", "*.[gs]*"))
	if err != nil {
		return err
	}
	older, err := olderFiles()
	if err != nil {
		return err
	}
	for _, file := range append(append(files, older...), modulesOf(minor)) {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, filepath.Base(file), len(text))
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return nil
}

func olderFiles() ([]string, error) {
	return filepath.Glob(filepath.Join(Module(), "reference/testdata/older/*.go"))
}

// buildOlder builds the kubelet's server of an older minor. It adds the files for older minors to the package
// "reference" by an overlay, which it writes next to the program. For 1.35, the build tags are before136 and before137.
func buildOlder(output, minor string) error {
	newest, _ := strconv.Atoi(strings.Split(Version, ".")[1])
	number, err := strconv.Atoi(strings.TrimPrefix(minor, "1."))
	if err != nil || number >= newest {
		return fmt.Errorf("%q is not an older minor of Kubernetes, such as 1.33", minor)
	}
	var tags []string
	for later := number + 1; later <= newest; later++ {
		tags = append(tags, fmt.Sprintf("before1%d", later))
	}
	files, err := olderFiles()
	if err != nil {
		return err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, file := range files {
		overlay.Replace[filepath.Join(Module(), "reference", filepath.Base(file))] = file
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return err
	}
	overlayFile := output + ".overlay.json"
	if err := os.WriteFile(overlayFile, list, 0o644); err != nil {
		return err
	}
	defer os.Remove(overlayFile)
	// With -mod=mod, the build adds the checksums of further modules to the .sum file.
	return goBuild(Module(), output, Modules["reference"], "-mod=mod", "-modfile="+modulesOf(minor),
		"-overlay="+overlayFile, "-tags="+strings.Join(tags, ","))
}
