package bootstrap_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/keyutil"

	"fauxlet/internal/bootstrap"
)

func TestBootstrapWithRotation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t, true)
		done := w.connect()
		request := w.nth(t, 0)
		wantsClientRequest(t, request, bootUser)
		if !strings.HasPrefix(request.Name, "csr-") {
			t.Errorf("the CertificateSigningRequest has the unexpected name %s", request.Name)
		}
		w.logs(t, "waiting for approval", "approve=kubectl certificate approve "+request.Name, "node=node-1")
		w.hasFiles(t)
		w.issue(t, request)
		connection := w.wait(t, done)
		if got := whoami(t, connection); got != "system:node:node-1" {
			t.Errorf("authenticated as %q", got)
		}
		if connection.Config.UserAgent != "a test" {
			t.Errorf("user agent %q", connection.Config.UserAgent)
		}
		w.hasFiles(t, "kubelet-client-"+stamp+`\.pem`, `kubelet-client-current\.pem -> kubelet-client-`+stamp+`\.pem`)
		w.hasKubeconfig(t)
		w.logs(t, "certificate issued", "file="+w.path("pki/kubelet-client-2"))

		// After a restart the node requests no certificate, even if the bootstrap kubeconfig is invalid.
		w.again()
		must(t, os.WriteFile(w.options.BootstrapKubeconfig, []byte("{"), 0o600))
		if got := whoami(t, w.wait(t, w.connect())); got != "system:node:node-1" || len(w.all()) != 1 {
			t.Errorf("after a restart: authenticated as %q, and %d certificates were requested", got, len(w.all()))
		}
	})
}

// TestRotationWithToken checks the warning of a node with rotateCertificates and a kubeconfig that has only a token:
// the token requests a certificate, and other requests are anonymous.
func TestRotationWithToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t, true)
		w.options.BootstrapKubeconfig = ""
		w.kubeconfig(t, w.options.Kubeconfig, clientcmdapi.AuthInfo{Token: token})
		if found, _, err := bootstrap.AtStart(w.options); err != nil || found != bootstrap.NoCredential {
			t.Errorf("credential at the start: %s, error %v, want none", found, err)
		}
		done := w.connect()
		request := w.nth(t, 0)
		wantsClientRequest(t, request, bootUser)
		w.logs(t, "requests to the apiserver are anonymous", "rotateCertificates: false",
			"kubeconfig="+w.options.Kubeconfig)
		w.issue(t, request)
		if got := whoami(t, w.wait(t, done)); got != "system:node:node-1" {
			t.Errorf("authenticated as %q", got)
		}
		if found, _, err := bootstrap.AtStart(w.options); err != nil || found != bootstrap.Stored {
			t.Errorf("credential at the next start: %s, error %v, want the stored certificate", found, err)
		}
	})
}

// TestRequestWithRSAKey checks the usages in the request for an RSA key, and their order. The name of the request is a
// digest that includes the usages in this order.
func TestRequestWithRSAKey(t *testing.T) {
	t.Parallel()
	w := newFixture(t, false)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	data, err := keyutil.MarshalPrivateKeyToPEM(key)
	must(t, err)
	must(t, keyutil.WriteKey(w.path("pki/kubelet-client.key.tmp"), data))
	done := w.connect()
	usages := w.nth(t, 0).Spec.Usages
	if !slices.Equal(usages, []certificatesv1.KeyUsage{"digital signature", "client auth", "key encipherment"}) {
		t.Errorf("usages %q", usages)
	}
	w.stop()
	<-done
}

// TestBootstrapOnce checks that without rotation the name of the request is derived from the key, and that the key
// is kept until the request is approved or denied, so that a restart makes no second request.
func TestBootstrapOnce(t *testing.T) {
	t.Parallel()
	w := newFixture(t, false)
	done := w.connect()
	request := w.nth(t, 0)
	wantsClientRequest(t, request, bootUser)
	if !regexp.MustCompile(`^node-csr-[\w-]{43}$`).MatchString(request.Name) {
		t.Errorf("the CertificateSigningRequest has the unexpected name %s", request.Name)
	}
	w.logs(t, "approve=kubectl certificate approve "+request.Name)
	w.hasFiles(t, `kubelet-client\.key\.tmp`)
	w.again()
	if err := (<-done).err; !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if _, err := os.Stat(w.options.Kubeconfig); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a kubeconfig exists before the certificate was issued: %v", err)
	}

	done = w.connect()
	w.logs(t, "certificate already requested with the same key")
	w.issue(t, request)
	if got := whoami(t, w.wait(t, done)); got != "system:node:node-1" || len(w.all()) != 1 {
		t.Errorf("authenticated as %q, and %d certificates were requested", got, len(w.all()))
	}
	w.hasFiles(t, "kubelet-client-"+stamp+`\.pem`, `kubelet-client-current\.pem -> kubelet-client-`+stamp+`\.pem`)
	w.hasKubeconfig(t)
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fixture, *certificatesv1.CertificateSigningRequest){
		"denied": func(w *fixture, r *certificatesv1.CertificateSigningRequest) {
			w.change(r.Name, condition(certificatesv1.CertificateDenied, "NotMine"))
		},
		"the signer refused": func(w *fixture, r *certificatesv1.CertificateSigningRequest) {
			w.change(r.Name, condition(certificatesv1.CertificateFailed, "NotMine"))
		},
	} {
		t.Run(name+", rotating", func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newFixture(t, true)
				done := w.connect()
				first := w.nth(t, 0)
				change(w, first)
				w.logs(t, name, first.Name, "reason=NotMine", "because of a test",
					"a new request follows automatically")
				second := w.nth(t, 1)
				if bytes.Equal(first.Spec.Request, second.Spec.Request) {
					t.Error("the new request uses the same key")
				}
				w.issue(t, second)
				w.wait(t, done)
			})
		})
		t.Run(name+", once", func(t *testing.T) {
			t.Parallel()
			w := newFixture(t, false)
			done := w.connect()
			first := w.nth(t, 0)
			change(w, first)
			wantsError(t, (<-done).err, "no client certificate for node node-1", "NotMine", "because of a test")
			w.logs(t, name, first.Name, "kubectl delete csr")
			w.again()
			wantsError(t, (<-w.connect()).err, "NotMine")
			if len(w.all()) != 1 {
				t.Errorf("%d certificates were requested", len(w.all()))
			}
		})
	}
}

func TestCertificateCannotBeRequested(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t, true)
		w.kubeconfig(t, w.options.BootstrapKubeconfig, clientcmdapi.AuthInfo{Token: "old"})
		done := w.connect()
		w.logs(t, "cannot request a certificate", "Unauthorized", "bootstrap-token-ID in kube-system")
		w.stop()
		wantsError(t, (<-done).err, "no client certificate for node node-1", "context canceled")
	})
}

// TestRenewedTokenIsNotLogged checks that the log does not contain a token that the bootstrap kubeconfig did not have
// when the node started, if the apiserver repeats the token. (The fixture checks the log.)
func TestRenewedTokenIsNotLogged(t *testing.T) {
	for _, kind := range []string{"token", "file"} {
		t.Run(kind, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newFixture(t, true)
				bootstrap := func(value string) clientcmdapi.AuthInfo {
					if kind == "token" {
						return clientcmdapi.AuthInfo{Token: value}
					}
					must(t, os.WriteFile(w.path("token"), []byte(value), 0o600))
					return clientcmdapi.AuthInfo{TokenFile: w.path("token")}
				}
				w.kubeconfig(t, w.options.BootstrapKubeconfig, bootstrap("old"))
				done := w.connect()
				w.logs(t, "cannot request a certificate", "Unauthorized")
				w.kubeconfig(t, w.options.BootstrapKubeconfig, bootstrap(token))
				w.change(w.nth(t, 0).Name, func(r *certificatesv1.CertificateSigningRequest) {
					condition(certificatesv1.CertificateDenied, token)(r)
					r.Status.Conditions[0].Message = "not for " + token
				})
				w.logs(t, "request denied", "removed, because it repeats the token")
				w.stop()
				wantsError(t, (<-done).err, "context canceled")
			})
		})
	}
}

// shortLife is the lifetime of a certificate that expires during a test. It is long enough to be used on a busy
// machine.
const shortLife = 8 * time.Second

// TestRotation checks that the current certificate authenticates the request for its successor, and that connections
// with the old certificate are then closed.
func TestRotation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t, true)
		w.life = shortLife // the validity starts 5 minutes ago, so the renewal is due at once
		done := w.connect()
		first := w.issue(t, w.nth(t, 0))
		connection := w.wait(t, done)
		ran := make(chan error, 1)
		ctx, stop := context.WithCancel(w.ctx)
		go func() { ran <- connection.Run(ctx) }()

		second := w.nth(t, 1)
		wantsClientRequest(t, second, "system:node:node-1")
		w.mu.Lock()
		w.life = time.Hour
		w.mu.Unlock()
		w.issue(t, second)
		w.logs(t, "closing connections that used the previous one")
		synctest.Wait()
		eventually(t, "the first certificate has expired", func() bool { return time.Now().After(first.NotAfter) })
		if got := whoami(t, connection); got != "system:node:node-1" {
			t.Errorf("authenticated as %q", got)
		}
		names := w.files(t)
		if last := names[len(names)-1]; len(names) < 2 || last != "kubelet-client-current.pem -> "+names[len(names)-2] {
			t.Errorf("--cert-dir has %q", names)
		}
		stop()
		must(t, <-ran)
	})
}

// TestAdminsKubeconfig checks the kubeconfig of kubeadm's first kubelet, which contains an admin's certificate. The
// node stores and uses this certificate, and requests its own certificate at once.
func TestAdminsKubeconfig(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t, true)
		w.options.BootstrapKubeconfig = ""
		admin, err := w.ca.Client("admin", []string{"system:masters"})
		must(t, err)
		w.kubeconfig(t, w.options.Kubeconfig,
			clientcmdapi.AuthInfo{ClientCertificateData: admin.CertPEM, ClientKeyData: admin.KeyPEM})
		connection := w.wait(t, w.connect())
		if got := whoami(t, connection); got != "admin" {
			t.Errorf("at first authenticated as %q", got)
		}
		w.hasFiles(t, "kubelet-client-"+stamp+`\.pem`, `kubelet-client-current\.pem -> kubelet-client-`+stamp+`\.pem`)
		request := w.nth(t, 0)
		wantsClientRequest(t, request, "admin")
		ran := make(chan error, 1)
		go func() { ran <- connection.Run(w.ctx) }()
		w.issue(t, request)
		w.logs(t, "closing connections that used the previous one")
		synctest.Wait()
		if got := whoami(t, connection); got != "system:node:node-1" {
			t.Errorf("authenticated as %q", got)
		}
		stopped := false
		connection.Config.Transport = idleCloser{connection.Config.Transport, func() { stopped = true }}
		w.stop()
		must(t, <-ran)
		if !stopped {
			t.Error("Run has returned, but the connection has not stopped")
		}
	})
}

// idleCloser is a transport that calls a function in place of closing its idle connections.
type idleCloser struct {
	http.RoundTripper
	closeIdle func()
}

func (c idleCloser) CloseIdleConnections() { c.closeIdle() }

func TestKubeconfigWithToken(t *testing.T) {
	t.Parallel()
	w := newFixture(t, false)
	w.options.BootstrapKubeconfig = ""
	w.kubeconfig(t, w.options.Kubeconfig, clientcmdapi.AuthInfo{Token: token})
	connection := w.wait(t, w.connect())
	if got := whoami(t, connection); got != bootUser {
		t.Errorf("authenticated as %q", got)
	}
	if len(connection.Metrics()) != 0 || len(w.files(t)) != 0 {
		t.Error("there are files or metrics although there is no certificate")
	}
	connection.CloseAll()
	if got := whoami(t, connection); got != bootUser {
		t.Errorf("on a new connection authenticated as %q", got)
	}
	connection.CloseAll()
	w.stop()
	must(t, connection.Run(w.ctx))
}

// TestExpiredWhileItRuns checks a node whose certificate expires before it is renewed. The node then reads the
// bootstrap kubeconfig again, and requests a certificate as the user of this kubeconfig.
func TestExpiredWhileItRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t, true)
		w.options.BootstrapKubeconfig = w.path("later.conf")
		pair, err := w.ca.Client("system:node:node-1", []string{"system:nodes"}, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-5*time.Minute), time.Now().Add(shortLife) // due for renewal
		})
		must(t, err)
		w.keeps(t, pair)
		// The kubeconfig contains the certificate itself. If it contained the path of a certificate file, client-go
		// would watch this file in a goroutine that does not end.
		w.kubeconfig(t, w.options.Kubeconfig,
			clientcmdapi.AuthInfo{ClientCertificateData: pair.CertPEM, ClientKeyData: pair.KeyPEM})
		connection := w.wait(t, w.connect())
		ran := make(chan error, 1)
		go func() { ran <- connection.Run(w.ctx) }()
		first := w.nth(t, 0)
		wantsClientRequest(t, first, "system:node:node-1")
		eventually(t, "the certificate has expired", func() bool { return time.Now().After(pair.Leaf.NotAfter) })
		w.change(first.Name, condition(certificatesv1.CertificateDenied, "TooLate"))
		w.logs(t, "the bootstrap kubeconfig cannot be read", "later.conf")
		w.kubeconfig(t, w.options.BootstrapKubeconfig, clientcmdapi.AuthInfo{Token: token})
		second := w.nth(t, 1)
		wantsClientRequest(t, second, bootUser)
		w.issue(t, second)
		w.logs(t, "closing connections that used the previous one")
		synctest.Wait()
		if got := whoami(t, connection); got != "system:node:node-1" {
			t.Errorf("authenticated as %q", got)
		}
		w.stop()
		must(t, <-ran)
	})
}
