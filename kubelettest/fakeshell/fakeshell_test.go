package fakeshell_test

import (
	"bytes"
	"testing"

	"fauxlet/internal/pods"
	"fauxlet/kubelettest"
	"fauxlet/kubelettest/fakeshell"
)

func TestCommandsRunInShell(t *testing.T) {
	for name, test := range map[string]struct {
		options []kubelettest.Option
		stdout  string
	}{
		"with the option":    {options: []kubelettest.Option{fakeshell.Option()}, stdout: "B\n"},
		"without the option": {stdout: ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := kubelettest.New(t, test.options...)
			var stdout bytes.Buffer
			_ = k.Pods.Exec(t.Context(), "default", "nginx", "nginx", []string{"sh", "-c", "echo b | tr b B"},
				pods.Streams{Stdout: &stdout})
			if stdout.String() != test.stdout {
				t.Errorf("stdout %q, want %q", &stdout, test.stdout)
			}
		})
	}
}
