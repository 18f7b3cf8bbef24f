package config

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// measuredLoad is one case in testdata/loads.json: a command line, the files that it names, and the configuration or
// error of the real kubelet. The program e2e/kubeletfacts generates loads.json.
type measuredLoad struct {
	Name    string            `json:"name"`
	Args    []string          `json:"args"`
	Files   map[string]string `json:"files"`
	Config  json.RawMessage   `json:"config"`
	Lenient bool              `json:"lenient"`
	Invalid []string          `json:"invalid"`
	Error   string            `json:"error"`
}

// deliberate lists the cases in which fauxlet deliberately differs from the kubelet, with the reasons.
var deliberate = map[string]string{
	"port 0 by flag": "it asks for a free port",
}

var schemeName = regexp.MustCompile(`in scheme "[^"]*"`)

// remark matches what fauxlet adds to a kubelet's error about a feature gate or a flag.
var remark = regexp.MustCompile(` \(kubelets [^()]*; the emulated version is [^()]*\)$`)

func readLoads(t *testing.T, name string) (cases []measuredLoad) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return cases
}

func TestLoadsAsTheKubelet(t *testing.T) {
	cases := readLoads(t, "testdata/loads.json")
	defaults, err := json.Marshal(facts().Defaults)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if why, ok := deliberate[c.Name]; ok {
				if _, _, err := loadIn(t, c.Args, c.Files); err != nil {
					t.Errorf("unexpected error %v; fauxlet should accept this because %s", err, why)
				}
				return
			}
			kc, l, err := loadIn(t, c.Args, c.Files)
			if checkError(t, &c, err) || kc == nil {
				return
			}
			checkLenient(t, &c, l)
			if len(c.Config) == 0 {
				c.Config = json.RawMessage("{}")
			}
			want, err := jsonpatch.MergePatch(defaults, c.Config)
			if err != nil {
				t.Fatal(err)
			}
			for name := range kc.StaticPodURLHeader {
				kc.StaticPodURLHeader[name] = []string{"<masked>"} // as in the kubelet's log
			}
			if diff := cmp.Diff(plain(t, want), plain(t, kc)); diff != "" {
				t.Errorf("effective configuration (-kubelet +fauxlet):\n%s", diff)
			}
		})
	}
}

func checkLenient(t *testing.T, c *measuredLoad, l *loader) {
	t.Helper()
	lenient := func(warning string) bool { return strings.Contains(warning, "lenient decoding") }
	if c.Lenient != slices.ContainsFunc(l.warnings, lenient) {
		t.Errorf("kubelet decodes leniently: %t; fauxlet's warnings: %q", c.Lenient, l.warnings)
	}
}

// checkError compares the error of Load with the kubelet's error in the case c. It returns true if the kubelet returned
// an error.
func checkError(t *testing.T, c *measuredLoad, err error) bool {
	t.Helper()
	switch {
	case len(c.Invalid) > 0:
		var list utilerrors.Aggregate
		if !errors.As(err, &list) {
			t.Fatalf("error %v, want the validation errors %q", err, c.Invalid)
		}
		var got []string
		for _, one := range list.Errors() {
			got = append(got, one.Error())
		}
		slices.Sort(got)
		if diff := cmp.Diff(c.Invalid, got); diff != "" {
			t.Errorf("validation errors differ (-kubelet +fauxlet):\n%s", diff)
		}
		if !strings.HasPrefix(err.Error(), "failed to validate kubelet configuration, error: ") {
			t.Errorf("the error does not begin with the kubelet's prefix: %v", err)
		}
		return true
	case c.Error != "":
		if err == nil {
			t.Fatalf("Load accepted the configuration, want the error %s", c.Error)
		}
		want, panics := strings.CutPrefix(c.Error, "panic: ")
		got := schemeName.ReplaceAllString(err.Error(), "in scheme")
		got = remark.ReplaceAllString(got, "")
		if got != want && !(panics && strings.HasSuffix(got, want)) {
			t.Errorf("got the error\n%s\nwant the kubelet's error\n%s", got, want)
		}
		return true
	case err != nil:
		t.Fatalf("unexpected error: %v", err)
	}
	return false
}

// loadIn writes the given files to a new directory, and loads the configuration with this directory as the working
// directory.
func loadIn(t *testing.T, args []string, files map[string]string) (*kubeletConfiguration, *loader, error) {
	t.Helper()
	f, dir, err := parseIn(t, args, files)
	if err != nil {
		return nil, nil, err
	}
	return effectiveIn(t, f, dir)
}

// parseIn writes the given files to a new directory, changes to this directory, and parses the command line.
func parseIn(t *testing.T, args []string, files map[string]string) (f *Flags, dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	writeFiles(t, dir, files)
	t.Chdir(dir)
	f, err = parse(args)
	return f, dir, err
}

// effectiveIn loads the configuration. In the result, "$DIR" replaces the path of the directory.
func effectiveIn(t *testing.T, f *Flags, dir string) (*kubeletConfiguration, *loader, error) {
	t.Helper()
	kc, l, err := f.effective()
	if err != nil {
		return nil, nil, hidden{err, strings.ReplaceAll(err.Error(), dir, "$DIR")}
	}
	text, err := json.Marshal(kc)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), dir, "$DIR")), kc); err != nil {
		t.Fatal(err)
	}
	return kc, l, nil
}

// hidden is an error in whose text "$DIR" replaces the path of the test's temporary directory.
type hidden struct {
	error
	text string
}

func (h hidden) Error() string { return h.text }
func (h hidden) Unwrap() error { return h.error }

func parse(args []string) (*Flags, error) {
	f := NewFlags()
	fs := pflag.NewFlagSet("fauxlet", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f.AddTo(fs)
	if err := fs.Parse(args); err != nil {
		return nil, FlagError(err)
	}
	return f, nil
}

func writeFiles(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The function "plain" returns a configuration as decoded JSON, without apiVersion and kind.
func plain(t *testing.T, v any) map[string]any {
	t.Helper()
	text, ok := v.([]byte)
	if !ok {
		var err error
		if text, err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	delete(out, "apiVersion")
	delete(out, "kind")
	return out
}
