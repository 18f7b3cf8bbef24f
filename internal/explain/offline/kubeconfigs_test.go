package offline_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/host"
	"fauxlet/internal/reviewapi"
	"fauxlet/internal/vectors"
	"fauxlet/testcerts"
)

// kubeconfigs has the kinds of credentials in the kubeconfig of a kubelet. The function "credential" returns the user
// entry. Its argument has the token and the client certificate of the review API.
var kubeconfigs = []struct {
	name       string
	credential func(t *testing.T, w *world, all *clientcmdapi.AuthInfo, certDir string) clientcmdapi.AuthInfo
	// These fields are the status of a request with a valid token, without and with rotateCertificates. The review API
	// accepts the token and the certificate of the kubelet, so the status is 200 or, for a kubelet without a valid
	// credential, 401.
	status, rotating int
	remedy           string // text that the remedies must contain with rotateCertificates
}{
	{"token", func(_ *testing.T, _ *world, all *clientcmdapi.AuthInfo, _ string) clientcmdapi.AuthInfo {
		return clientcmdapi.AuthInfo{Token: all.Token}
	}, 200, 401, "rotateCertificates: false"},
	{"token file", func(t *testing.T, _ *world, all *clientcmdapi.AuthInfo, _ string) clientcmdapi.AuthInfo {
		return clientcmdapi.AuthInfo{TokenFile: writeFile(t, "token", []byte(all.Token))}
	}, 200, 401, "rotateCertificates: false"},
	{"credential plugin", func(t *testing.T, _ *world, all *clientcmdapi.AuthInfo, _ string) clientcmdapi.AuthInfo {
		answer := fmt.Sprintf(`{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
			"status": {"token": %q}}`, all.Token)
		return clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{Command: "cat",
			Args:       []string{writeFile(t, "credential.json", []byte(answer))},
			APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode}}
	}, 200, 401, "rotateCertificates: false"},
	{"wrong token", func(*testing.T, *world, *clientcmdapi.AuthInfo, string) clientcmdapi.AuthInfo {
		return clientcmdapi.AuthInfo{Token: "wrong"}
	}, 401, 401, "rotateCertificates: false"},
	{"nothing", func(*testing.T, *world, *clientcmdapi.AuthInfo, string) clientcmdapi.AuthInfo {
		return clientcmdapi.AuthInfo{}
	}, 401, 401, "rotateCertificates: false"},
	{"certificate", func(_ *testing.T, _ *world, all *clientcmdapi.AuthInfo, _ string) clientcmdapi.AuthInfo {
		return clientcmdapi.AuthInfo{ClientCertificateData: all.ClientCertificateData, ClientKeyData: all.ClientKeyData}
	}, 200, 200, ""},
	{"certificate files", func(t *testing.T, _ *world, all *clientcmdapi.AuthInfo, _ string) clientcmdapi.AuthInfo {
		return clientcmdapi.AuthInfo{ClientCertificate: writeFile(t, "a.crt", all.ClientCertificateData),
			ClientKey: writeFile(t, "a.key", all.ClientKeyData)}
	}, 200, 200, ""},
	{"certificate and token", func(_ *testing.T, _ *world, all *clientcmdapi.AuthInfo, _ string) clientcmdapi.AuthInfo {
		return *all
	}, 200, 200, ""},
	{"wrong certificate and token",
		func(t *testing.T, w *world, all *clientcmdapi.AuthInfo, _ string) clientcmdapi.AuthInfo {
			pair := nodeCertificate(t, w.ca)
			return clientcmdapi.AuthInfo{ClientCertificateData: pair.CertPEM, ClientKeyData: pair.KeyPEM,
				Token: all.Token}
		}, 200, 401, "whoami"},
	{"expired certificate", func(t *testing.T, w *world, _ *clientcmdapi.AuthInfo, _ string) clientcmdapi.AuthInfo {
		pair := nodeCertificate(t, w.ca, testcerts.Expired)
		return clientcmdapi.AuthInfo{ClientCertificateData: pair.CertPEM, ClientKeyData: pair.KeyPEM}
	}, 401, 401, "rotateCertificates: false"},
	{"valid certificate and another one in --cert-dir",
		func(t *testing.T, w *world, all *clientcmdapi.AuthInfo, certDir string) clientcmdapi.AuthInfo {
			pair := nodeCertificate(t, w.ca)
			check(t, os.WriteFile(filepath.Join(certDir, "kubelet-client-current.pem"),
				append(pair.CertPEM, pair.KeyPEM...), 0o600))
			return *all
		}, 200, 401, "kubelet-client-current.pem"},
	{"token and a valid certificate in --cert-dir",
		func(t *testing.T, _ *world, all *clientcmdapi.AuthInfo, certDir string) clientcmdapi.AuthInfo {
			check(t, os.WriteFile(filepath.Join(certDir, "kubelet-client-current.pem"),
				append(all.ClientCertificateData, all.ClientKeyData...), 0o600))
			return clientcmdapi.AuthInfo{Token: all.Token}
		}, 200, 200, ""},
	{"the certificate in --cert-dir, by name",
		func(t *testing.T, _ *world, all *clientcmdapi.AuthInfo, certDir string) clientcmdapi.AuthInfo {
			file := filepath.Join(certDir, "kubelet-client-current.pem")
			check(t, os.WriteFile(file, append(all.ClientCertificateData, all.ClientKeyData...), 0o600))
			return clientcmdapi.AuthInfo{ClientCertificate: file, ClientKey: file}
		}, 200, 200, ""},
}

// TestKubeconfigsDecideLikeServer checks that an offline kubelet and a running host make the same Decisions for each
// kind of kubeconfig, with and without rotateCertificates. The apiserver is a review API over TLS. The configuration
// file of the offline kubelet has the opposite rotateCertificates, and what-if changes it.
func TestKubeconfigsDecideLikeServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	serving, err := w.ca.Server("node-1", []string{"127.0.0.1"})
	check(t, err)
	cert, key := writeFile(t, "serving.crt", serving.CertPEM), writeFile(t, "serving.key", serving.KeyPEM)
	reviews := serveReviews(t)
	var requests []offline.Request
	for _, token := range []string{"", "account", "bad"} {
		for _, certificate := range []string{"", "client", "client-unknown-ca"} {
			request := offline.Request{Method: http.MethodGet, Target: "/pods", Token: token}
			if pair := w.pair(t, vectors.Client{Kind: certificate, CommonName: "kubelet-client"}); pair != nil {
				request.Certificates = append(request.Certificates, pair.Leaf)
			}
			requests = append(requests, request)
		}
	}
	for _, kind := range kubeconfigs {
		for _, rotate := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, rotateCertificates %t", kind.name, rotate), func(t *testing.T) {
				t.Parallel()
				certDir := t.TempDir()
				content := reviews.DeepCopy()
				for name, all := range content.AuthInfos {
					credential := kind.credential(t, w, all, certDir)
					content.AuthInfos[name] = &credential
				}
				kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
				check(t, clientcmd.WriteToFile(*content, kubeconfig))
				settings := w.inFile(vectors.Settings{"rotateCertificates": rotate, "address": "127.0.0.1",
					"healthzPort": int64(0), "registerNode": false, "tlsCertFile": cert, "tlsPrivateKeyFile": key})
				cfg := loadConfig(t, settings, kubeconfig, certDir)
				settings["rotateCertificates"] = !rotate
				whatIf := loadConfig(t, settings, kubeconfig, certDir, fmt.Sprintf("rotateCertificates=%t", rotate))
				before := names(t, certDir)
				options := offline.Options{Config: whatIf}
				_, err := offline.Reviewers{}.Apply(&options, &offline.Request{})
				check(t, err)
				k, err := offline.New(options)
				check(t, err)
				var offlineDecisions []*authchain.Decision
				for _, request := range requests {
					d, err := k.Decide(t.Context(), request)
					check(t, err)
					offlineDecisions = append(offlineDecisions, d)
				}
				if after := names(t, certDir); after != before {
					t.Errorf("the offline kubelet has changed --cert-dir from %s to %s", before, after)
				}
				running := runHost(t, cfg)
				for i, request := range requests {
					got := running(w.tlsOf(t, request), request)
					if diff := cmp.Diff(comparable(got), comparable(offlineDecisions[i])); diff != "" {
						t.Errorf("request %d: the running (-) and the offline (+) kubelet differ:\n%s", i, diff)
					}
				}
				withToken := offlineDecisions[3]
				want := kind.status
				if rotate {
					want = kind.rotating
				}
				if withToken.Status != want {
					t.Errorf("a request with a token: status %d, want %d: %s", withToken.Status, want, withToken.Why())
				}
				remedies := explain.Decision(withToken, explain.FactsOf(cfg)).Remedies
				if text := fmt.Sprint(remedies); rotate && want == 401 && !strings.Contains(text, kind.remedy) {
					t.Errorf("the remedies do not contain %q: %s", kind.remedy, text)
				}
			})
		}
	}
}

func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	check(t, os.WriteFile(file, content, 0o600))
	return file
}

// nodeCertificate returns a client certificate of the node that the review API does not accept, because it has another
// CA.
func nodeCertificate(t *testing.T, ca *testcerts.Authority, mutate ...testcerts.Mutate) *testcerts.Pair {
	t.Helper()
	pair, err := ca.Client("system:node:node-1", []string{"system:nodes"}, mutate...)
	check(t, err)
	return pair
}

// serveReviews serves a review API until the test ends. It returns a kubeconfig for the API, with a token and a client
// certificate.
func serveReviews(t *testing.T) *clientcmdapi.Config {
	t.Helper()
	rbac := strings.ReplaceAll(claimsRBAC, "kubelet-client", "account")
	api, err := reviewapi.New(reviewapi.Options{CallerNode: "node-1",
		RBAC:   []string{writeFile(t, "rbac.yaml", []byte(rbac))},
		Tokens: writeFile(t, "tokens.csv", []byte("account,account,1\n"))})
	check(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() { _ = api.Serve(ctx, listener) })
	t.Cleanup(func() { stop(); served.Wait() })
	file := filepath.Join(t.TempDir(), "kubeconfig")
	check(t, api.WriteKubeconfig(file, listener.Addr().String()))
	content, err := clientcmd.LoadFromFile(file)
	check(t, err)
	return content
}

// loadConfig returns the configuration of a file with the settings. The overrides are FIELD=VALUE, as for --what-if.
func loadConfig(t *testing.T, settings vectors.Settings, kubeconfig, certDir string,
	overrides ...string) *config.Config {
	t.Helper()
	text, err := settings.YAML()
	check(t, err)
	flags := config.NewFlags()
	for name, value := range map[string]string{"config": writeFile(t, "kubelet.yaml", text), "kubeconfig": kubeconfig,
		"cert-dir": certDir, "hostname-override": "node-1", "port": "0"} {
		check(t, flags.Set(name, value))
	}
	for _, override := range overrides {
		field, value, _ := strings.Cut(override, "=")
		check(t, flags.Override(field, value))
	}
	c, err := flags.Load()
	check(t, err)
	return c
}

// names returns the names of the files in a folder.
func names(t *testing.T, folder string) string {
	t.Helper()
	all, err := fs.Glob(os.DirFS(folder), "*")
	check(t, err)
	return fmt.Sprint(all)
}

// runHost runs a stand-in kubelet until the test ends. The returned function sends a request with a client certificate
// or nil, and returns the kubelet's Decision.
func runHost(t *testing.T, cfg *config.Config) func(*tls.Certificate, offline.Request) *authchain.Decision {
	t.Helper()
	decided := make(chan *authchain.Decision, 16)
	h, err := host.New(host.Options{Config: cfg, Observe: func(d *authchain.Decision) { decided <- d }})
	check(t, err)
	check(t, h.Start(context.Background()))
	t.Cleanup(func() { check(t, h.Stop()) })
	url := "https://" + h.Addresses().Secure
	return func(certificate *tls.Certificate, request offline.Request) *authchain.Decision {
		settings := &tls.Config{InsecureSkipVerify: true}
		if certificate != nil {
			settings.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return certificate, nil
			}
		}
		r, err := http.NewRequestWithContext(t.Context(), request.Method, url+request.Target, nil)
		check(t, err)
		if request.Token != "" {
			r.Header.Set("Authorization", "Bearer "+request.Token)
		}
		response, err := (&http.Transport{TLSClientConfig: settings, DisableKeepAlives: true}).RoundTrip(r)
		check(t, err)
		check(t, response.Body.Close())
		return <-decided
	}
}

// tlsOf returns the certificate of a request with its key, or nil.
func (w *world) tlsOf(t *testing.T, request offline.Request) *tls.Certificate {
	t.Helper()
	for _, pair := range w.minted {
		if len(request.Certificates) > 0 && pair.Leaf.Equal(request.Certificates[0]) {
			certificate := pair.TLS()
			return &certificate
		}
	}
	return nil
}
