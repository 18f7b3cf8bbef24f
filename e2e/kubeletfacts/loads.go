package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"sigs.k8s.io/yaml"
)

// A load is a kubelet command line with its files, and the result: a configuration or an error.
type load struct {
	Name  string            `json:"name"`
	Args  []string          `json:"args"`
	Files map[string]string `json:"files,omitempty"`

	// Config is the effective configuration, as a JSON merge patch over the defaults for a configuration file.
	Config object `json:"config,omitempty"`
	// Lenient is true if strict decoding of the file failed and the kubelet continued with lenient decoding.
	Lenient bool `json:"lenient,omitempty"`
	// Invalid has the validation errors of the configuration, sorted.
	Invalid []string `json:"invalid,omitempty"`
	// Error is an error other than the validation errors in Invalid. $DIR stands for the folder of the files.
	Error string `json:"error,omitempty"`
}

// The kubelet's command changes global variables, so each case runs in its own child process. The command must end
// with an error after it has validated the configuration. Therefore each command line contains the constant "marker",
// a flag with a value that validation always refuses. The error about this value is removed from the result.
const (
	childArgs   = "KUBELETFACTS_CHILD"
	marker      = "--event-burst=-1"
	markerError = "invalid configuration: eventBurst (--event-burst) -1 must not be a negative number"
	// hostError is a validation error that depends on the machine that runs kubeletfacts, so it is removed from the
	// result.
	hostError = "kubelet is configured to not run on a host using cgroup v1"
)

// result is the outcome of one case. The child process writes it, as JSON, to file descriptor 3.
type result struct {
	Error   string   `json:"error"`
	Invalid []string `json:"invalid"`
	Marked  bool     `json:"marked"`
}

// newKubeletCommand returns the kubelet's command. Before 1.34, the function in package app has no argument.
func newKubeletCommand() *cobra.Command {
	var args []reflect.Value
	build := reflect.ValueOf(app.NewKubeletCommand)
	if build.Type().NumIn() > 0 {
		args = append(args, reflect.ValueOf(context.Background()))
	}
	return build.Call(args)[0].Interface().(*cobra.Command)
}

// runChild runs the kubelet's command in the child process.
func runChild(argsJSON string) {
	out := result{}
	func() {
		defer func() {
			if p := recover(); p != nil {
				out.Error = fmt.Sprintf("panic: %v", p)
			}
		}()
		var args []string
		if err := json.Unmarshal([]byte(argsJSON), &args); err != nil {
			out.Error = err.Error()
			return
		}
		cmd := newKubeletCommand()
		cmd.SetArgs(args)
		cmd.SilenceErrors = true
		err := cmd.Execute()
		if err == nil {
			out.Error = "the kubelet's command returned without an error"
			return
		}
		out.Error = err.Error()
		var list utilerrors.Aggregate
		if errors.As(err, &list) {
			for _, one := range list.Errors() {
				switch text := one.Error(); {
				case text == markerError:
					out.Marked = true
				case strings.HasPrefix(text, hostError):
				default:
					out.Invalid = append(out.Invalid, text)
				}
			}
		}
	}()
	_ = json.NewEncoder(os.NewFile(3, "result")).Encode(out)
}

// measureLoads runs every load case and returns the results.
func measureLoads() ([]load, error) {
	known, err := measureFacts()
	if err != nil {
		return nil, err
	}
	cases := append(slices.Clone(written), flagCases(known.Flags)...)
	names := map[string]bool{}
	for i := range cases {
		if names[cases[i].Name] {
			return nil, fmt.Errorf("two cases are named %q", cases[i].Name)
		}
		names[cases[i].Name] = true
		if err := cases[i].measure(known.Defaults); err != nil {
			return nil, fmt.Errorf("%s: %w", cases[i].Name, err)
		}
		if !newest {
			cases[i].Files = nil // they are the same for the newest version
		}
	}
	return cases, nil
}

// flagCases returns two kinds of cases. For each flag that sets a configuration field, there is a case with a valid
// value, except for three flags: the marker's flag event-burst, fail-cgroupv1 and feature-gates. For each flag that
// does not accept every string, there is a case with an invalid value.
func flagCases(flags []flag) []load {
	var out []load
	for _, f := range flags {
		if f.Field != "" && f.Name != "event-burst" && f.Name != "fail-cgroupv1" && f.Name != "feature-gates" {
			for _, sample := range samples {
				fs, _, err := kubeletFlags()
				if err == nil && sample != f.Default && fs.Set(f.Name, sample) == nil {
					out = append(out, load{Name: "flag " + f.Name, Args: []string{"--" + f.Name + "=" + sample}})
					break
				}
			}
		}
		if f.Type != "string" && f.Type != "stringSlice" {
			out = append(out, load{Name: "bad flag " + f.Name, Args: []string{"--" + f.Name + "=no such"}})
		}
	}
	return out
}

func (l *load) measure(defaults object) error {
	dir, err := os.MkdirTemp("", "kubeletfacts")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for name, text := range l.Files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	args, err := json.Marshal(append(slices.Clone(l.Args), marker))
	if err != nil {
		return err
	}
	answer, logs, err := runKubelet(dir, string(args))
	if err != nil {
		return err
	}
	hide := func(text string) string {
		return schemeName.ReplaceAllString(strings.ReplaceAll(text, dir, "$DIR"), "in scheme")
	}
	l.Lenient = strings.Contains(logs, "Using lenient decoding as strict decoding failed")
	if !answer.Marked {
		l.Error = hide(answer.Error)
		return nil
	}
	for _, text := range answer.Invalid {
		l.Invalid = append(l.Invalid, hide(text))
	}
	slices.Sort(l.Invalid)
	if len(l.Invalid) > 0 || !newest {
		return nil // an older kubelet does not log its configuration before it validates it
	}
	config, err := effective(hide(logs))
	if err != nil {
		return err
	}
	config["eventBurst"] = defaults["eventBurst"]
	delete(config, "apiVersion")
	delete(config, "kind")
	l.Config = difference(defaults, config)
	return nil
}

// schemeName matches the part of a decoding error that states a position in the kubelet's source code.
var schemeName = regexp.MustCompile(`in scheme "[^"]*"`)

func runKubelet(dir, args string) (*result, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	defer read.Close()
	defer write.Close()
	var logs bytes.Buffer
	cmd := exec.Command(self)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), childArgs+"="+args)
	cmd.Stdout, cmd.Stderr = &logs, &logs
	cmd.ExtraFiles = []*os.File{write}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	write.Close()
	answer := &result{}
	decodeErr := json.NewDecoder(read).Decode(answer)
	if err := cmd.Wait(); err != nil {
		return nil, "", fmt.Errorf("%w\n%s", err, logs.String())
	}
	return answer, logs.String(), decodeErr
}

// effective returns the configuration from the logs of a kubelet, in either log format. The kubelet logs its
// configuration before it validates it.
func effective(logs string) (object, error) {
	const message = "Effective KubeletConfiguration"
	for line := range strings.SplitSeq(logs, "\n") {
		if !strings.HasPrefix(line, "{") || !strings.Contains(line, message) {
			continue
		}
		var entry struct {
			Config string `json:"config"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			return nil, err
		}
		return decodeYAML(entry.Config)
	}
	_, rest, ok := strings.Cut(logs, `"`+message+`" config=<`+"\n")
	if !ok {
		return nil, fmt.Errorf("the kubelet has not logged its effective configuration:\n%s", logs)
	}
	text, _, _ := strings.Cut(rest, "\n >")
	return decodeYAML(strings.ReplaceAll("\n"+text, "\n\t", "\n"))
}

func decodeYAML(text string) (object, error) {
	var out object
	return out, yaml.Unmarshal([]byte(text), &out)
}
