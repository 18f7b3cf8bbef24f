package check

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"fauxlet/conformance"
	"fauxlet/conformance/hostile"
	"fauxlet/conformance/stage"
)

// proxyTo requests a path of the kubelet through nodes/proxy. It returns an error if there was no response.
func (n *node) proxyTo(ctx context.Context, path string) (reply, error) {
	to := n.run.client.CoreV1().RESTClient().Get().Resource("nodes").Name(n.object.Name).SubResource("proxy").
		Suffix(path).
		URL()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return reply{}, err
	}
	l, err := n.run.dial(ctx, request)
	if err != nil {
		return reply{}, fmt.Errorf("no response from kube-apiserver: %w", err)
	}
	defer l.Close()
	text, ended := l.text(part, n.run.soon)
	return reply{l.status, l.header, text, !ended, nil}, nil
}

func checkProxyToLoopback(ctx context.Context, r *run) (conformance.Result, error) {
	var f finding
	for i, address := range []string{"127.0.0.1", "::1"} {
		// Nothing listens on this port, so a kube-apiserver that connects to it gets "connection refused".
		n, err := r.node(
			ctx,
			nodeOptions{
				name:      fmt.Sprintf("hostile-loopback-%d", i),
				addresses: stage.AddressesOfEveryType(address),
				port:      1,
			},
		)
		if err != nil {
			return conformance.Result{}, err
		}
		got, err := n.proxyTo(ctx, "/pods")
		if err != nil {
			return conformance.Result{}, err
		}
		if got.status != http.StatusBadRequest || !strings.Contains(got.text, "address not allowed") {
			f.problem("nodes/proxy connects to a Node with the address %s: the user gets %s", address, got.String())
		}
		f.note("a Node with the address %s: the user gets %s", address, got.String())
	}
	return f.result(updateRemedy), nil
}

func checkProxyRedirects(ctx context.Context, r *run) (conformance.Result, error) {
	if !r.nodeIP.IsGlobalUnicast() {
		return skip(
			fmt.Sprintf(
				"nodes/proxy does not connect to %v (address not allowed); give --node-ip an address that is "+
					"not loopback",
				r.nodeIP,
			),
		), nil
	}
	v, err := r.hostileKubelet(ctx, "proxy")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	redirectTargets, done, err := r.redirectTargets(ctx, v, "proxy")
	if err != nil {
		return conformance.Result{}, err
	}
	defer done()
	var f finding
	for _, status := range redirects {
		for _, target := range redirectTargets {
			before := target.visits()
			var got reply
			visits, _ := v.during(
				ctx,
				hostile.Redirect(status, target.url),
				r.soon,
				func() { got, err = v.proxyTo(ctx, "/pods") },
			)
			if err != nil || context.Cause(ctx) != nil {
				return conformance.Result{}, fmt.Errorf("nodes/proxy: %w", orCause(ctx, err))
			}
			what := fmt.Sprintf("nodes/proxy, and the kubelet redirects (%d) to %s", status, target.name)
			switch {
			case target.visits() > before:
				f.problem("kube-apiserver followed a redirect%s: %s", target.presentedThere(), what)
			case len(visits) != 1 || visits[0].More != nil:
				f.problem("kube-apiserver sent %d requests instead of one: %s", requestsOf(visits), what)
			case got.status < 300:
				f.problem("the user did not get the redirect: %s; the user got %s", what, got.String())
			}
			if status == http.StatusFound {
				f.note(
					"%s: not followed; the user gets %d, Location: %s",
					what,
					got.status,
					orNone(got.header.Get("Location")),
				)
			}
		}
	}
	f.note(
		"nodes/proxy passes on what a kubelet serves, including redirects and HTML. Do not use it with a client " +
			"that follows " +
			"redirects with its credential, or with a browser",
	)
	var got reply
	v.during(ctx, hostile.Page(http.StatusOK), r.soon, func() { got, err = v.proxyTo(ctx, "/logs/") })
	if err == nil {
		f.note(
			"nodes/proxy of HTML, with a cookie: the user gets %d, Content-Type: %s, Set-Cookie: %s, "+
				"Access-Control-Allow-Origin: %s",
			got.status,
			orNone(got.header.Get("Content-Type")),
			orNone(got.header.Get("Set-Cookie")),
			orNone(got.header.Get("Access-Control-Allow-Origin")),
		)
		if got.header.Get("Access-Control-Allow-Origin") != "" {
			f.problem(
				"a kubelet controls which sites may read kube-apiserver's responses: Access-Control-Allow-Origin " +
					"is passed on",
			)
		}
	}
	return f.result(updateRemedy), nil
}

// orCause returns the cause of ctx if ctx is done, otherwise err.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
