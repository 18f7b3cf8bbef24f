package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/sample"
	"fauxlet/internal/faults"
)

// faultRow is a row of the table in docs/faults.md: a fault, and the output of kubectl logs and kubectl exec while the
// fault is active.
type faultRow struct {
	add       []string // arguments of fauxlet fault add for this fault
	logs, run string
}

// faultRows reads the table of docs/faults.md.
func faultRows(t *testing.T) (rows []faultRow) {
	t.Helper()
	row := regexp.MustCompile("(?m)^\\| `fauxlet fault add ([^`|]+)` \\| [^|]+ \\| ([^|]+) \\| ([^|]+) \\|$")
	for _, cells := range row.FindAllStringSubmatch(expect.File(t, "../../docs/faults.md"), -1) {
		rows = append(rows, faultRow{strings.Fields(cells[1]), cells[2], cells[3]})
	}
	return rows
}

// differs compares the output of kubectl with a cell of the table. It returns the difference, or the empty string if
// there is none. If the cell begins with "works", kubectl must succeed with its usual output, which is the parameter
// "always". If the cell contains "no error" in bold, kubectl must succeed, but print only the beginning of its usual
// output. Otherwise kubectl must fail and print the text that stands between backticks in the cell. In this text,
// NODE:10250 stands for the kubelet's address, and … for any text.
func differs(cell, address string, got programs.Result, always string) string {
	printed := strings.Join(strings.Fields(got.Stdout+got.Stderr), " ")
	if strings.HasPrefix(cell, "works") {
		if got != (programs.Result{Stdout: always}) {
			return fmt.Sprintf("status %d, %q, want it to work", got.Status, printed)
		}
		return ""
	}
	if strings.Contains(cell, "**no error**") {
		if got.Status != 0 || got.Stderr != "" || got.Stdout == always || !strings.HasPrefix(always, got.Stdout) {
			return fmt.Sprintf("status %d, %q, want a part", got.Status, printed)
		}
		return ""
	}
	code := regexp.MustCompile("`([^`]+)`").FindStringSubmatch(cell)
	if code == nil {
		return fmt.Sprintf("%q: the cell quotes no output of kubectl", cell)
	}
	want := strings.ReplaceAll(regexp.QuoteMeta(strings.ReplaceAll(code[1], "NODE:10250", address)), "…", ".+")
	if got.Status == 0 || !regexp.MustCompile("^"+want+"$").MatchString(printed) {
		return fmt.Sprintf("status %d, %q, want %q", got.Status, printed, code[1])
	}
	return ""
}

// The constant "waits" is how long kubectl must run before the test concludes that kubectl waits for a response.
const waits = 15 * time.Second

// TestKubectlErrorsOfFaults injects each fault of docs/faults.md. While the fault is active, kubectl must print the
// text on the page. After the fault is cleared, "kubectl logs" must print the log again.
func TestKubectlErrorsOfFaults(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.Shared(t, controlplane.ForNodes)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	trace := fmt.Sprintf("127.0.0.1:%d", programs.FreePort(t))
	k := kubelet.Start(t, plane, kubelet.Options{Kind: "fauxlet", Settings: kubelet.ServingCertificate(t),
		Args: []string{"--admin-address", trace, "--admin-token-file=", "--register-node"}})
	t.Cleanup(func() { plane.DeleteNode(t, k.Node) })
	plane.AwaitNode(t, k.Node, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	plane.CreatePod(t, controlplane.BoundTo(k.Node, "nginx"))
	plane.AwaitPod(t, "nginx", "is Running", controlplane.PhaseIs(v1.PodRunning))
	plane.LogsPrinted(t)

	fault := func(t *testing.T, args ...string) string {
		t.Helper()
		command := exec.Command(programs.Path(t, "fauxlet"), append([]string{"fault", "--address", trace}, args...)...)
		got := programs.Run(t, command)
		if got.Status != 0 {
			t.Fatalf("fauxlet fault %q: status %d, %s", args, got.Status, got.Stderr)
		}
		return got.Stdout
	}
	echo := []string{"exec", "nginx", "--", "echo", "hello"}
	rows := faultRows(t)
	kinds := map[string]bool{}
	for _, row := range rows {
		kinds[row.add[0]] = true
		t.Run(strings.Join(row.add, " "), func(t *testing.T) {
			defer func() {
				fault(t, "clear")
				plane.LogsPrinted(t)
			}()
			fault(t, append([]string{"add"}, row.add...)...)
			if row.add[0] == faults.ReviewerRevoking { // this fault affects only the reviews after the first one
				plane.LogsPrinted(t)
				plane.Kubectl(t, echo...)
			}
			if wrong := differs(row.logs, k.Secure, plane.Kubectl(t, "logs", "nginx"), sample.NginxLog); wrong != "" {
				t.Errorf("kubectl logs nginx: %s", wrong)
			}
			if strings.HasPrefix(row.run, "no output") {
				ctx, cancel := context.WithTimeout(t.Context(), waits)
				defer cancel()
				if got := programs.Run(t, plane.KubectlCommand(t, ctx, echo...)); ctx.Err() == nil {
					t.Errorf("kubectl exec nginx: %+v, want it to wait", got)
				}
			} else {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				got := programs.Run(t, plane.KubectlCommand(t, ctx, echo...))
				if wrong := differs(row.run, k.Secure, got, "hello\n"); wrong != "" {
					t.Errorf("kubectl exec nginx: %s", wrong)
				}
			}
			var active []struct{ Applied int }
			expect.NoError(t, json.Unmarshal([]byte(fault(t, "list", "--output", "json")), &active))
			if len(active) != 1 || active[0].Applied == 0 && row.add[0] != faults.MemoryHeavy {
				t.Errorf("the active faults are %+v, want one fault that has been applied", active)
			}
		})
	}
	t.Run("a Node without declared features", func(t *testing.T) {
		old := sample.Nginx()
		old.Name = "old"
		address := fmt.Sprintf("127.0.0.1:%d", programs.FreePort(t))
		k := kubelet.Start(t, plane, kubelet.Options{Kind: "fauxlet", Node: "node-2", Pods: []sample.Pod{old},
			Settings: kubelet.ServingCertificate(t), Args: []string{"--admin-address", address, "--admin-token-file="}})
		plane.Register(t, k.Node, k.Port, old)
		got := programs.Run(t, exec.Command(programs.Path(t, "fauxlet"), "fault", "--address", address, "add", "cut",
			"--after", "12"))
		if got.Status != 0 {
			t.Fatalf("fauxlet fault add: %+v", got)
		}
		const want = "error: Internal error occurred: Timeout occurred"
		expect.Contains(t, "docs/faults.md", expect.File(t, "../../docs/faults.md"), "`"+want+"`")
		got = plane.Kubectl(t, "exec", "old", "--", "echo", "hello")
		expect.Contains(t, "kubectl exec", got.Stderr, want)
	})
	for _, kind := range faults.Kinds() {
		if !kinds[kind.Name] {
			t.Errorf("docs/faults.md does not describe %s", kind.Name)
		}
	}
}
