package bootstrap_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/testcerts"
)

// broken contains cases of files that were damaged since an earlier start, with the expected result of Connect.
var broken = map[string]struct {
	spoil func(testing.TB, *fixture)
	// refused lists texts that must occur in the error of Connect if rotation is on. If refused is nil, Connect must
	// request a new certificate.
	refused []string
	// refusedOnce lists texts that must occur in the error of Connect if rotation is off. If refusedOnce is nil,
	// Connect must request a new certificate.
	refusedOnce []string
}{
	"no kubeconfig": {spoil: func(t testing.TB, w *fixture) { must(t, os.RemoveAll(w.dir+"/pki")) }},
	"a garbled kubeconfig": {spoil: func(t testing.TB, w *fixture) {
		must(t, os.WriteFile(w.options.Kubeconfig, []byte("token: ["), 0o600))
	}},
	"a kubeconfig with a token": {spoil: func(t testing.TB, w *fixture) {
		w.kubeconfig(t, w.options.Kubeconfig, clientcmdapi.AuthInfo{Token: "x"})
	}},
	"an expired certificate": {spoil: func(t testing.TB, w *fixture) {
		expired, err := w.ca.Client("system:node:node-1", []string{"system:nodes"}, testcerts.Expired)
		must(t, err)
		w.keeps(t, expired)
	}},
	"a link to nowhere": {spoil: func(t testing.TB, w *fixture) {
		good, err := w.ca.Client("system:node:node-1", []string{"system:nodes"})
		must(t, err)
		must(t, os.Remove(w.keeps(t, good)))
	}},
	"a truncated certificate": {
		spoil: func(t testing.TB, w *fixture) {
			good, err := w.ca.Client("system:node:node-1", []string{"system:nodes"})
			must(t, err)
			must(t, os.Truncate(w.keeps(t, good), 100))
		},
		refused: []string{"--cert-dir", "kubelet-client-current.pem", "remove the file"},
	},
	"a key that does not fit": {
		spoil: func(t testing.TB, w *fixture) {
			good, err := w.ca.Client("system:node:node-1", []string{"system:nodes"})
			must(t, err)
			other, err := w.ca.Client("system:node:node-1", []string{"system:nodes"})
			must(t, err)
			mixed := *good
			mixed.KeyPEM = other.KeyPEM
			w.keeps(t, &mixed)
		},
		refused:     []string{"--cert-dir", "kubelet-client-current.pem", "private key does not match"},
		refusedOnce: []string{"--kubeconfig", "private key does not match"},
	},
	"a file where the link belongs": {
		spoil: func(t testing.TB, w *fixture) {
			pemOf(t, w.path("pki/kubelet-client-updated.pem"), &testcerts.Pair{})
		},
		refused:     []string{"--cert-dir", `kubelet-client-updated.pem" to be a symlink`},
		refusedOnce: []string{"--cert-dir", `kubelet-client-updated.pem" to be a symlink`},
	},
}

// The method "keeps" stores a certificate and a kubeconfig, as an earlier start of the node would have done. It returns
// the path of the certificate file.
func (w *fixture) keeps(t testing.TB, pair *testcerts.Pair) string {
	t.Helper()
	file := w.path("pki/kubelet-client-2026-01-02-03-04-05.pem")
	pemOf(t, file, pair)
	current := w.path("pki/kubelet-client-current.pem")
	must(t, os.Symlink(file, current))
	w.kubeconfig(t, w.options.Kubeconfig, clientcmdapi.AuthInfo{ClientCertificate: current, ClientKey: current})
	return file
}

func TestDamagedFilesAreReplaced(t *testing.T) {
	t.Parallel()
	for name, test := range broken {
		for kind, rotate := range map[string]bool{"rotating": true, "once": false} {
			t.Run(name+", "+kind, func(t *testing.T) {
				bubbleIf(t, rotate, func(t *testing.T) {
					w := newFixture(t, rotate)
					test.spoil(t, w)
					before := w.files(t)
					refused := test.refusedOnce
					if rotate {
						refused = test.refused
					}
					done := w.connect()
					if refused != nil {
						wantsError(t, (<-done).err, refused...)
						return
					}
					request := w.nth(t, 0)
					wantsClientRequest(t, request, bootUser)
					w.issue(t, request)
					if got := whoami(t, w.wait(t, done)); got != "system:node:node-1" {
						t.Errorf("authenticated as %q", got)
					}
					w.hasKubeconfig(t)
					for _, kept := range before {
						if !strings.Contains(kept, "->") && !slices.Contains(w.files(t), kept) {
							t.Errorf("Connect has removed the existing file %s", kept)
						}
					}
				})
			})
		}
	}
}

// TestPlantedLinksAreNotFollowed checks that symbolic links in the place of the files that Connect writes are replaced,
// and that nothing is written where they point.
func TestPlantedLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	for kind, rotate := range map[string]bool{"rotating": true, "once": false} {
		t.Run(kind, func(t *testing.T) {
			bubbleIf(t, rotate, func(t *testing.T) {
				w := newFixture(t, rotate)
				const content = "a file of the victim\n"
				victim, missing := w.path("victim"), w.path("missing")
				must(t, os.WriteFile(victim, []byte(content), 0o600))
				must(t, os.MkdirAll(w.options.CertDir, 0o755))
				must(t, os.Symlink(victim, w.options.Kubeconfig))
				must(t, os.Symlink(missing, w.path("pki/kubelet-client.key.tmp")))
				for second := range 600 { // one of these is the name of the new certificate file
					at := time.Now().Add(time.Duration(second) * time.Second).Format("2006-01-02-15-04-05")
					must(t, os.Symlink(victim, w.path("pki/kubelet-client-"+at+".pem")))
				}
				done := w.connect()
				w.issue(t, w.nth(t, 0))
				if got := whoami(t, w.wait(t, done)); got != "system:node:node-1" {
					t.Errorf("authenticated as %q", got)
				}
				if data, err := os.ReadFile(victim); err != nil || string(data) != content {
					t.Errorf("the file to which links point contains %q, %v", data, err)
				}
				if _, err := os.Stat(missing); err == nil {
					t.Error("a key was written to the target of a link")
				}
			})
		})
	}
}

func TestConnectErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(testing.TB, *fixture)
		want   []string
	}{
		"no kubeconfig and no bootstrap": {change: func(t testing.TB, w *fixture) {
			w.options.BootstrapKubeconfig = ""
		},
			want: []string{"--kubeconfig", "kubelet.conf", "no such file"}},
		"no bootstrap kubeconfig": {change: func(t testing.TB, w *fixture) {
			must(t, os.Remove(w.options.BootstrapKubeconfig))
		},
			want: []string{"--bootstrap-kubeconfig", "bootstrap.conf", "no such file", "needed because --kubeconfig"}},
		"a garbled bootstrap kubeconfig": {change: func(t testing.TB, w *fixture) {
			must(t, os.WriteFile(w.options.BootstrapKubeconfig, []byte("users: [{name: u, user: {token: "+token+"}"),
				0o600))
		}, want: []string{"--bootstrap-kubeconfig", "bootstrap.conf", "invalid kubeconfig"}},
		"an empty bootstrap kubeconfig": {change: func(t testing.TB, w *fixture) {
			must(t, os.WriteFile(w.options.BootstrapKubeconfig, nil, 0o600))
		},
			want: []string{"--bootstrap-kubeconfig", "bootstrap.conf", "no configuration has been provided"}},
		"a file for the certificate folder": {change: func(t testing.TB, w *fixture) {
			w.options.CertDir = w.options.BootstrapKubeconfig
		}, want: []string{"--cert-dir", "bootstrap.conf", "not a directory"}},
		"no certificate folder": {change: func(t testing.TB, w *fixture) { w.options.CertDir = "" },
			want: []string{"--cert-dir", "set it to a folder"}},
		"a kubeconfig below a file": {change: func(t testing.TB, w *fixture) {
			w.options.Kubeconfig = w.options.BootstrapKubeconfig + "/kubelet.conf"
		}, want: []string{"--kubeconfig", "not a directory"}},
		"no node name": {change: func(t testing.TB, w *fixture) { w.options.NodeName = "" },
			want: []string{"NodeName"}},
	} {
		for kind, rotate := range map[string]bool{"rotating": true, "once": false} {
			t.Run(name+", "+kind, func(t *testing.T) {
				bubbleIf(t, rotate, func(t *testing.T) {
					w := newFixture(t, rotate)
					test.change(t, w)
					wantsError(t, (<-w.connect()).err, test.want...)
					if len(w.all()) != 0 {
						t.Error("a certificate was requested")
					}
				})
			})
		}
	}
}
