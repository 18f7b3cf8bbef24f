package server_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"fauxlet/internal/pods"
	"fauxlet/server"
)

// TestNewErrors expects each error of New to say what to change.
func TestNewErrors(t *testing.T) {
	for name, test := range map[string]struct {
		authentication, yaml string
		want                 []string
	}{
		"tokens and no kubeconfig": {"{x509: {clientCAFile: ca.crt}}", "", []string{
			"no client provided, cannot use webhook authentication", "--kubeconfig",
			"authentication.webhook.enabled: false"}},
		"Webhook and no kubeconfig": {"{webhook: {enabled: false}, x509: {clientCAFile: ca.crt}}", "", []string{
			"no client provided, cannot use webhook authorization", "--kubeconfig", "authorization.mode: AlwaysAllow"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := prepare(t, fixtureOptions{authentication: test.authentication, yaml: test.yaml})
			store, err := pods.NewStore(nginx(0)...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = server.New(server.Options{Config: f.load(t, nil), Pods: store})
			if err == nil {
				t.Fatal("New succeeded, want an error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not have %q", err, want)
				}
			}
		})
	}
	if _, err := server.New(server.Options{}); err == nil || !strings.Contains(err.Error(), "Options.Config") {
		t.Errorf("without a Config: error %v, want Options.Config in it", err)
	}
}

// TestListenErrors checks that an error of Listen names the port and its flag, and that Listen closes the other port
// again.
func TestListenErrors(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := strconv.Itoa(busy.Addr().(*net.TCPAddr).Port)
	free := strconv.Itoa(freePort(t))
	for name, test := range map[string]struct {
		flags []string
		want  []string
	}{
		"port in use": {[]string{"--port=" + port}, []string{"port: " + port, "in use", "--port"}},
		"read-only port in use": {[]string{"--port=" + free, "--read-only-port=" + port},
			[]string{"readOnlyPort: " + port, "in use", "--read-only-port"}},
		"one port for both": {[]string{"--port=" + free, "--read-only-port=" + free},
			[]string{"readOnlyPort: " + free, "in use", "--read-only-port"}},
		"an address of others": {[]string{"--address=192.0.2.1"}, []string{"address: 192.0.2.1", "--address"}},
		"no serving certificate": {[]string{"--port=" + free, "--tls-cert-file=nowhere.crt",
			"--tls-private-key-file=nowhere.key"}, []string{"tlsCertFile", "nowhere.crt", "no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := prepare(t, fixtureOptions{})
			standin, err := f.newServer(t, fixtureOptions{flags: test.flags})
			if err != nil {
				t.Fatal(err)
			}
			listeners, err := standin.Listen()
			if err == nil {
				listeners.Close()
				t.Fatal("Listen succeeded, want an error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not have %q", err, want)
				}
			}
			again, err := net.Listen("tcp", "127.0.0.1:"+free)
			if err != nil {
				t.Errorf("the other port was not closed: %v", err)
			} else {
				again.Close()
			}
		})
	}
}

// TestServerDisabled expects enableServer: false to turn the secure port off, and to keep the read-only port open.
func TestServerDisabled(t *testing.T) {
	options := fixtureOptions{yaml: "enableServer: false\n",
		flags: []string{"--read-only-port=" + strconv.Itoa(freePort(t))}}
	f := prepare(t, options)
	standin, err := f.newServer(t, options)
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := standin.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer listeners.Close()
	if listeners.Secure != nil || listeners.ReadOnly == nil {
		t.Errorf("secure %v, read-only %v", listeners.Secure, listeners.ReadOnly)
	}
}
