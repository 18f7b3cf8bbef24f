package kubelettest_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"fauxlet/kubelettest"
	"fauxlet/scenario"
)

func TestExec(t *testing.T) {
	t.Parallel()
	k := kubelettest.New(t, kubelettest.WithPods(kubelettest.Pod("shop", "db", map[string]scenario.Container{
		"postgres": {
			// The command pg_dump has a scripted answer. Other commands, such as cat, can read Files.
			Exec: []scenario.ExecAnswer{{Command: []string{"pg_dump", "shop"}, Stderr: "no such database\n",
				ExitCode: 3}},
			Files: map[string]string{"/etc/motd": "do not touch\n"},
		},
	})))
	run := func(command ...string) (stdout, stderr string, err error) {
		at, err := url.Parse(k.URL + "/exec/shop/db/postgres?" +
			url.Values{"command": command, "output": {"1"}, "error": {"1"}}.Encode())
		if err != nil {
			t.Fatal(err)
		}
		executor, err := remotecommand.NewSPDYExecutor(k.RESTConfig("kubelet-client"), http.MethodPost, at)
		if err != nil {
			t.Fatal(err)
		}
		var out, errOut bytes.Buffer
		err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out, Stderr: &errOut})
		return out.String(), errOut.String(), err
	}

	if stdout, _, err := run("cat", "/etc/motd"); err != nil || stdout != "do not touch\n" {
		t.Errorf("cat: %q, %v", stdout, err)
	}
	_, stderr, err := run("pg_dump", "shop")
	var failed exec.CodeExitError
	if !errors.As(err, &failed) || failed.Code != 3 || stderr != "no such database\n" {
		t.Errorf("pg_dump: %q, %v", stderr, err)
	}
	k.AssertChecked(t, "kubelet-client", "create nodes/proxy", "create nodes/proxy")
	if decisions := k.Decisions(); len(decisions) != 2 || decisions[1].Status != http.StatusSwitchingProtocols {
		t.Errorf("Decisions: %v", decisions)
	}
}
