package controlplane

import (
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// etcd is the one etcd of a test binary. Each kube-apiserver has a prefix of its own there.
var etcd struct {
	sync.Mutex
	url     string // empty until it runs
	command []string
	process *programs.Process
}

// etcdURL returns the address of etcd, and starts it for the first caller.
func etcdURL(t testing.TB) (string, error) {
	etcd.Lock()
	defer etcd.Unlock()
	if etcd.url != "" {
		return etcd.url, nil
	}
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", programs.FreePort(t)), fmt.Sprintf("http://127.0.0.1:%d", programs.FreePort(t))
	etcd.command = []string{programs.Path(t, "etcd"), "--data-dir=" + filepath.Join(programs.Scratch, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer}
	if err := runEtcd(client); err != nil {
		return "", err
	}
	programs.StopLast(func() *programs.Process {
		etcd.Lock()
		defer etcd.Unlock()
		return etcd.process
	})
	etcd.url = client
	return client, nil
}

// RestartEtcd stops etcd and starts it again with its data. No other test of the package may use a control plane
// meanwhile.
func RestartEtcd(t testing.TB) {
	t.Helper()
	etcd.Lock()
	defer etcd.Unlock()
	expect.NoError(t, etcd.process.Stop())
	expect.NoError(t, runEtcd(etcd.url))
}

// runEtcd starts etcd and waits until it is healthy. The caller holds the lock.
func runEtcd(url string) error {
	p, err := programs.Start("etcd", etcd.command[0], etcd.command[1:]...)
	if err != nil {
		return err
	}
	etcd.process = p
	if problem := expect.Within(time.Minute, func() string {
		response, err := http.Get(url + "/health")
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return response.Status
		}
		return ""
	}); problem != "" {
		return fmt.Errorf("etcd is not ready: %s\n%s", problem, p.Out.String())
	}
	return nil
}
