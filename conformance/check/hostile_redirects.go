package check

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"fauxlet/conformance/hostile"
	"fauxlet/conformance/stage"
)

// redirects are the HTTP statuses for which a client may follow the Location header.
var redirects = []int{301, 302, 303, 307, 308}

// redirectTarget is a server to which the hostile kubelet redirects a request.
type redirectTarget struct {
	name, url string
	// The field "kubelet" is the kubelet that listens at the URL. It records its connections, so they show whether the
	// redirect was followed. The field is nil for two targets: the hostile kubelet itself, and the kube-apiserver. For
	// these, the check detects a followed redirect by the requests to the hostile kubelet and by the response.
	kubelet *kubelet
}

func (t redirectTarget) visits() int {
	if t.kubelet == nil {
		return 0
	}
	return len(t.kubelet.states.All())
}

// The method "presented" describes the first client certificate that the target received, or returns "".
func (t redirectTarget) presented() string {
	for _, s := range t.kubelet.states.All() {
		if s.TLS != nil && len(s.TLS.PeerCertificates) > 0 {
			return " and presented the certificate of " + s.TLS.PeerCertificates[0].Subject.String()
		}
	}
	return ""
}

// withRedirectTargets calls the given function with four targets: the hostile kubelet itself, another kubelet, the
// kube-apiserver, and an HTTP URL without TLS on this machine. The last one represents a cloud's metadata service.
func (v *hostileKubelet) withRedirectTargets(ctx context.Context, name string, do func([]redirectTarget) error) error {
	var kubelets []*kubelet
	for _, suffix := range []string{"-other", "-metadata"} {
		k, err := v.run.kubelet(ctx, kubeletOptions{node: nodeOptions{name: name + suffix}, raw: func(net.Conn) {}})
		if err != nil {
			return err
		}
		defer k.Close()
		kubelets = append(kubelets, k)
	}
	version := v.run.client.Discovery().RESTClient().Get().AbsPath("/version").URL()
	return do([]redirectTarget{
		{"itself", fmt.Sprintf("https://%s/fauxlet-check-redirected", v.Addr()), nil},
		{"another kubelet", fmt.Sprintf("https://%s/fauxlet-check-redirected", kubelets[0].Addr()), kubelets[0]},
		{"kube-apiserver", version.String(), nil},
		{"a metadata address", fmt.Sprintf("http://%s/latest/meta-data/", kubelets[1].Addr()), kubelets[1]},
	})
}

// tryRedirect calls the method "try" with a redirect to the target. If the kube-apiserver connects to the target, or
// sends a second request to the hostile kubelet, the check fails and the result "followed" is true.
func (v *hostileKubelet) tryRedirect(
	ctx context.Context, f *finding, req userRequest, status int, target redirectTarget, within time.Duration,
	send func() reply,
) (t trial, followed bool, err error) {
	before := target.visits()
	t, err = v.try(ctx, req, hostile.Redirect(status, target.name, target.url), within, send)
	switch {
	case err != nil:
	case target.visits() > before:
		return t, true, f.fail("kube-apiserver followed a redirect%s: %s", target.presented(), t.what)
	case t.requests() > 1:
		return t, true, f.fail("kube-apiserver sent %d requests instead of one: %s", t.requests(), t.what)
	}
	return t, false, err
}

func checkRedirects(ctx context.Context, v *hostileKubelet, f *finding) error {
	return v.withRedirectTargets(ctx, "redirect", func(targets []redirectTarget) error {
		for n, req := range append([]userRequest{logRequest}, upgradeRequests...) {
			tried, before := 0, len(f.problems)
			var last reply
			for i, status := range redirects {
				for j, target := range targets {
					if !req.isLog() && (i+n)%len(targets) != j {
						continue // skip most combinations of status and target, because each needs two handshakes
					}
					if f.enough() {
						return nil
					}
					t, followed, err := v.tryRedirect(ctx, f, req, status, target, v.closeTimeout(req), func() reply {
						return v.send(ctx, req)
					})
					tried, last = tried+1, t.got
					switch {
					case err != nil:
						return err
					case followed:
					case t.got.hangs:
						return f.fail("the user's request does not end: %s", t.what)
					case t.got.isSuccess(req):
						f.fail("the user got no error: %s; the user got %s", t.what, t.got)
					case t.got.status >= 300 && t.got.status < 400:
						f.fail("kube-apiserver passed on the redirect, and the user's client may follow it with its "+
							"credential: %s", t.what)
					}
				}
			}
			if len(f.problems) == before {
				f.note("%s: followed none of %d redirects; the user gets %s", req.name, tried, last)
			}
		}
		return nil
	})
}

// proxyRequest is the name of a request through nodes/proxy, for the report. It has no other contents, because the
// method node.proxyTo sends these requests.
var proxyRequest = userRequest{name: "nodes/proxy"}

// proxyTo sends a request for a path of the kubelet through nodes/proxy.
func (n *node) proxyTo(ctx context.Context, path string) reply {
	to := n.run.client.CoreV1().RESTClient().Get().Resource("nodes").Name(n.object.Name).SubResource("proxy").
		Suffix(path).URL()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return reply{err: err}
	}
	l, err := n.run.dial(ctx, request)
	if err != nil {
		return reply{err: fmt.Errorf("no response from kube-apiserver: %w", err)}
	}
	defer l.Close()
	return l.reply(n.run.soon)
}

func checkProxyToLoopback(ctx context.Context, r *run, f *finding) error {
	for i, address := range []string{"127.0.0.1", "::1"} {
		// Nothing listens on this port, so a kube-apiserver that connects to it gets "connection refused".
		n, err := r.node(ctx, nodeOptions{name: fmt.Sprintf("hostile-loopback-%d", i),
			addresses: stage.AddressesOfEveryType(address), port: 1})
		if err != nil {
			return err
		}
		got := n.proxyTo(ctx, "/pods")
		if got.err != nil {
			return got.err
		}
		if got.status != http.StatusBadRequest || !strings.Contains(got.text, "address not allowed") {
			f.fail("nodes/proxy connects to a Node with the address %s: the user gets %s", address, got)
		}
		f.note("a Node with the address %s: the user gets %s", address, got)
	}
	return nil
}

func checkProxyRedirects(ctx context.Context, r *run, f *finding) error {
	if !r.nodeIP.IsGlobalUnicast() {
		return notApplicable(fmt.Sprintf("nodes/proxy does not connect to %v (address not allowed); give --node-ip "+
			"an address that is not loopback", r.nodeIP))
	}
	return withHostileKubelet("proxy", func(ctx context.Context, v *hostileKubelet, f *finding) error {
		return v.withRedirectTargets(ctx, "proxy", func(targets []redirectTarget) error {
			return v.checkProxyRedirects(ctx, f, targets)
		})
	})(ctx, r, f)
}

func (v *hostileKubelet) checkProxyRedirects(ctx context.Context, f *finding, targets []redirectTarget) error {
	for _, status := range redirects {
		for _, target := range targets {
			t, followed, err := v.tryRedirect(ctx, f, proxyRequest, status, target, v.run.soon, func() reply {
				return v.proxyTo(ctx, "/pods")
			})
			switch {
			case err != nil:
				return err
			case t.got.err != nil:
				return fmt.Errorf("nodes/proxy: %w", t.got.err)
			case !followed && t.got.status < 300:
				f.fail("the user did not get the redirect: %s; the user got %s", t.what, t.got)
			}
			if status == http.StatusFound && !followed {
				f.note("%s: not followed; the user gets %d, Location: %s", t.what, t.got.status, t.got.get("Location"))
			}
		}
	}
	f.note("nodes/proxy passes on what a kubelet serves, including redirects and HTML. Do not use it with a client " +
		"that follows redirects with its credential, or with a browser")
	const origin = "Access-Control-Allow-Origin"
	t, err := v.try(ctx, proxyRequest, hostile.Page(http.StatusOK), v.run.soon, func() reply {
		return v.proxyTo(ctx, "/logs/")
	})
	if err != nil || t.got.err != nil {
		return err
	}
	f.note("nodes/proxy of HTML, with a cookie: the user gets %d, Content-Type: %s, Set-Cookie: %s, %s: %s",
		t.got.status, t.got.get("Content-Type"), t.got.get("Set-Cookie"), origin, t.got.get(origin))
	if t.got.header.Get(origin) != "" {
		f.fail("a kubelet controls which sites may read kube-apiserver's responses: %s is passed on", origin)
	}
	return nil
}
