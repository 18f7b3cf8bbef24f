package controlplane

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// Etcd is a running etcd. Several kube-apiservers can share it, because each of them stores its objects under a
// different key prefix.
type Etcd struct {
	url     string
	command []string
	process *programs.Process
}

// sharedEtcd is the etcd of all control planes except those that NewWithEtcd creates.
var sharedEtcd struct {
	sync.Mutex
	etcd *Etcd
}

// theEtcd returns the shared etcd. The first call starts it.
func theEtcd(t testing.TB) (*Etcd, error) {
	sharedEtcd.Lock()
	defer sharedEtcd.Unlock()
	if sharedEtcd.etcd == nil {
		e, err := newEtcd(t)
		if err != nil {
			return nil, err
		}
		programs.StopLast(e.process)
		sharedEtcd.etcd = e
	}
	return sharedEtcd.etcd, nil
}

func newEtcd(t testing.TB) (*Etcd, error) {
	dir, err := os.MkdirTemp(programs.Scratch, "etcd-")
	if err != nil {
		return nil, err
	}
	client := fmt.Sprintf("http://127.0.0.1:%d", programs.FreePort(t))
	peer := fmt.Sprintf("http://127.0.0.1:%d", programs.FreePort(t))
	e := &Etcd{url: client, command: []string{
		programs.Path(t, "etcd"), "--data-dir=" + filepath.Join(dir, "data"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
	}}
	return e, e.start()
}

// Restart stops etcd and starts it again with its data.
func (e *Etcd) Restart(t testing.TB) {
	t.Helper()
	expect.NoError(t, e.process.Stop())
	expect.NoError(t, e.start())
}

// start starts etcd and waits until it is healthy.
func (e *Etcd) start() error {
	var err error
	if e.process, err = programs.Start("etcd", e.command[0], e.command[1:]...); err != nil {
		return err
	}
	if problem := expect.Within(time.Minute, func() string {
		response, err := http.Get(e.url + "/health")
		if err != nil {
			return err.Error()
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return response.Status
		}
		return ""
	}); problem != "" {
		return fmt.Errorf("etcd is not ready: %s\n%s", problem, e.process.Out.String())
	}
	return nil
}
