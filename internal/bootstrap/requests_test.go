package bootstrap_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/internal/bootstrap"
)

// roundTripper is a function that implements http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRequestsEnd checks that no request for a certificate is under way when the caller has stopped waiting for the
// certificate, and that none follows, even if a request takes a second to end after it was cancelled.
func TestRequestsEnd(t *testing.T) {
	for name, wait := range map[string]func(*testing.T, context.Context, func(*rest.Config)){
		"bootstrap": func(t *testing.T, ctx context.Context, configure func(*rest.Config)) {
			if _, err := bootstrap.Connect(ctx, bootstrapOptions(t, configure)); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want %v", err, context.Canceled)
			}
		},
		"rotation": func(t *testing.T, ctx context.Context, configure func(*rest.Config)) {
			options := bootstrapOptions(t, configure)
			options.Rotate = true
			connection, err := bootstrap.Connect(ctx, options)
			must(t, err)
			<-ctx.Done()
			must(t, connection.Run(ctx))
		},
		"serving": func(t *testing.T, ctx context.Context, configure func(*rest.Config)) {
			config := &rest.Config{Host: "http://192.0.2.1"}
			configure(config)
			client, err := kubernetes.NewForConfig(config)
			must(t, err)
			serving, err := bootstrap.NewServing(bootstrap.ServingOptions{NodeName: "node-1", CertDir: t.TempDir(),
				Client: client, Addresses: func() []v1.NodeAddress {
					return []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "192.0.2.7"}}
				}})
			must(t, err)
			serving.Run(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var requested, ended atomic.Bool
				var active atomic.Int32
				wait(t, ctx, func(config *rest.Config) {
					config.ContentType = "application/json"
					config.WrapTransport = func(http.RoundTripper) http.RoundTripper {
						return roundTripper(func(r *http.Request) (*http.Response, error) {
							if ended.Load() {
								t.Errorf("a request was sent after the end: %s", r.URL)
							}
							active.Add(1)
							defer active.Add(-1)
							response := &http.Response{StatusCode: http.StatusOK, Request: r,
								Header: http.Header{"Content-Type": {"application/json"}}}
							switch {
							case r.Method == http.MethodPost:
								response.StatusCode, response.Body = http.StatusCreated, r.Body
							case r.URL.Path == "/healthz":
								response.Body = io.NopCloser(strings.NewReader("ok"))
							case r.URL.Query().Get("watch") != "":
								// The informer of the certificate library then sends a list request.
								return nil, errors.New("this apiserver serves no watches")
							case !requested.Swap(true): // the library's own list request, for which it waits
								response.Body = io.NopCloser(strings.NewReader(
									`{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequestList"}`))
							default:
								cancel()
								<-r.Context().Done()
								time.Sleep(time.Second)
								return nil, r.Context().Err()
							}
							return response, nil
						})
					}
				})
				ended.Store(true)
				if n := active.Load(); n > 0 || ctx.Err() == nil {
					t.Errorf("%d requests were under way at the end, and the context has the error %v", n, ctx.Err())
				}
			})
		})
	}
}

// bootstrapOptions returns options with a bootstrap kubeconfig, and without a certificate.
func bootstrapOptions(t *testing.T, configure func(*rest.Config)) bootstrap.Options {
	dir := t.TempDir()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: "http://192.0.2.1"}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	file := filepath.Join(dir, "bootstrap.conf")
	must(t, clientcmd.WriteToFile(*config, file))
	return bootstrap.Options{NodeName: "node-1", Kubeconfig: filepath.Join(dir, "kubelet.conf"),
		BootstrapKubeconfig: file, CertDir: filepath.Join(dir, "pki"), Configure: configure}
}
