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

// olderAPIServer is the beginning of the names of the programs that are kube-apiservers of an older minor, such as
// "kube-apiserver-1.34". They are built from the same modules as the kubelet's servers.
const olderAPIServer = "kube-apiserver-"

// APIServer returns the name of the kube-apiserver program that the control planes run. The variable
// FAUXLET_E2E_APISERVER selects the minor, such as 1.34. By default it is that of the version in go.mod.
func APIServer() string {
	if minor := os.Getenv("FAUXLET_E2E_APISERVER"); minor != "" && !strings.HasPrefix(Version, "v"+minor+".") {
		return olderAPIServer + minor
	}
	return "kube-apiserver"
}

// APIServerMinor returns the number of the minor of APIServer, such as 34 for 1.34.
func APIServerMinor() int {
	minor, older := strings.CutPrefix(APIServer(), olderAPIServer+"1.")
	if !older {
		minor = strings.Split(Version, ".")[1]
	}
	number, _ := strconv.Atoi(minor)
	return number
}

// minorOf returns the minor of a program that is built from older modules, such as 1.33 for "reference-1.33".
func minorOf(name string) (string, bool) {
	for _, begin := range []string{OlderReference, olderAPIServer} {
		if minor, older := strings.CutPrefix(name, begin); older {
			return minor, true
		}
	}
	return "", false
}

// ModuleVersion returns the version of k8s.io/kubernetes from which the kubelet's server of a minor is built.
func ModuleVersion(t testing.TB, minor string) string {
	t.Helper()
	if strings.HasPrefix(Version, "v"+minor+".") {
		return Version
	}
	version, err := olderVersion(minor)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// olderVersion returns the version of k8s.io/kubernetes that the modules of an older minor require.
func olderVersion(minor string) (string, error) {
	text, err := os.ReadFile(modulesOf(minor))
	if err != nil {
		return "", fmt.Errorf("no modules for Kubernetes %s: %w", minor, err)
	}
	_, rest, _ := strings.Cut(string(text), "k8s.io/kubernetes ")
	version, _, _ := strings.Cut(rest, "\n")
	return version, nil
}

func modulesOf(minor string) string { return filepath.Join(Module(), "record", minor+".mod") }

// writeOlderSources writes everything that the program of an older minor is built from, except the modules' contents.
func writeOlderSources(w io.Writer, name, minor string) error {
	var files []string
	if strings.HasPrefix(name, OlderReference) {
		var err error
		if files, err = filepath.Glob(filepath.Join(Module(), "reference", "*.[gs]*")); err != nil {
			return err
		}
		older, err := olderFiles()
		if err != nil {
			return err
		}
		files = append(files, older...)
	}
	for _, file := range append(files, modulesOf(minor)) {
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

// buildOlder builds a program of an older minor.
func buildOlder(output, name, minor string) error {
	newest, _ := strconv.Atoi(strings.Split(Version, ".")[1])
	number, err := strconv.Atoi(strings.TrimPrefix(minor, "1."))
	if err != nil || number >= newest {
		return fmt.Errorf("%q is not an older minor of Kubernetes, such as 1.33", minor)
	}
	version, err := olderVersion(minor)
	if err != nil {
		return err
	}
	// With -mod=mod, the build adds the checksums of further modules to the .sum file.
	flags := []string{"-mod=mod", "-modfile=" + modulesOf(minor)}
	if strings.HasPrefix(name, olderAPIServer) {
		const variables = "k8s.io/component-base/version."
		return goBuild(Module(), output, Modules["kube-apiserver"], append(flags, fmt.Sprintf(
			"-ldflags=-X %[1]sgitVersion=%[2]s -X %[1]sgitMajor=1 -X %[1]sgitMinor=%[3]d", variables, version, number))...)
	}
	overlay := output + ".overlay.json"
	defer os.Remove(overlay)
	if err := writeOverlay(overlay); err != nil {
		return err
	}
	// For 1.35, the build tags are before136 and before137.
	var tags []string
	for later := number + 1; later <= newest; later++ {
		tags = append(tags, fmt.Sprintf("before1%d", later))
	}
	return goBuild(Module(), output, Modules["reference"],
		append(flags, "-overlay="+overlay, "-tags="+strings.Join(tags, ","))...)
}

// writeOverlay writes an overlay file for "go build" that adds the files for older minors to the package "reference".
func writeOverlay(path string) error {
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
	return os.WriteFile(path, list, 0o644)
}
