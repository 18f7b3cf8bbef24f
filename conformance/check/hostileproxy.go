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

// proxyTo is the way to a path of a kubelet by nodes/proxy. The error is that there was no answer: then nothing is known about it.
func (n *node) proxyTo(ctx context.Context, path string) (reply, error) {
	to := n.run.client.CoreV1().RESTClient().Get().Resource("nodes").Name(n.object.Name).SubResource("proxy").Suffix(path).URL()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return reply{}, err
	}
	l, err := n.run.dial(ctx, request)
	if err != nil {
		return reply{}, fmt.Errorf("no answer from the apiserver: %w", err)
	}
	defer l.Close()
	text, ended := l.text(part, n.run.soon)
	return reply{l.status, l.header, text, !ended, nil}, nil
}

func checkProxyToLoopback(ctx context.Context, r *run) (conformance.Result, error) {
	var f finding
	for i, address := range []string{"127.0.0.1", "::1"} {
		// Nobody listens on that port: an apiserver that goes there is refused.
		n, err := r.node(ctx, nodeOptions{name: fmt.Sprintf("hostile-loopback-%d", i), addresses: stage.AddressesOfEveryType(address), port: 1})
		if err != nil {
			return conformance.Result{}, err
		}
		got, err := n.proxyTo(ctx, "/pods")
		if err != nil {
			return conformance.Result{}, err
		}
		if got.status != http.StatusBadRequest || !strings.Contains(got.text, "address not allowed") {
			f.blames("nodes/proxy goes to a Node that says its address is %s: the user gets %s", address, got.says())
		}
		f.saw("a Node that says its address is %s: the user gets %s", address, got.says())
	}
	return f.result(upgrade), nil
}

func checkProxyRedirects(ctx context.Context, r *run) (conformance.Result, error) {
	if !r.nodeIP.IsGlobalUnicast() {
		return skip(fmt.Sprintf("nodes/proxy does not go to %v (address not allowed); give --node-ip an address that is not on loopback", r.nodeIP)), nil
	}
	v, err := r.villain(ctx, "proxy")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	lures, done, err := r.lures(ctx, v, "proxy")
	if err != nil {
		return conformance.Result{}, err
	}
	defer done()
	var f finding
	for _, status := range redirects {
		for _, lure := range lures {
			before := lure.visits()
			var got reply
			visits, _ := v.play(ctx, hostile.Redirect(status, lure.url), r.soon, func() { got, err = v.proxyTo(ctx, "/pods") })
			if err != nil || context.Cause(ctx) != nil {
				return conformance.Result{}, fmt.Errorf("nodes/proxy: %w", orCause(ctx, err))
			}
			what := fmt.Sprintf("nodes/proxy, answered by a kubelet with %d to %s", status, lure.name)
			switch {
			case lure.visits() > before:
				f.blames("kube-apiserver has followed%s: %s", lure.shown(), what)
			case len(visits) != 1 || visits[0].More != nil:
				f.blames("kube-apiserver came %d times, and not once: %s", requestsOf(visits), what)
			case got.status < 300:
				f.blames("kube-apiserver told its user of no redirect: %s; the user got %s", what, got.says())
			}
			if status == http.StatusFound {
				f.saw("%s: not followed; the user gets %d, Location: %s", what, got.status, orNone(got.header.Get("Location")))
			}
		}
	}
	f.saw("that the user's own client is told where else to go is as nodes/proxy is made: it shows what a kubelet serves, as it is. " +
		"A client that follows with its credential, or a browser that shows HTML of a kubelet in kube-apiserver's name, is what to keep from it")
	var got reply
	v.play(ctx, hostile.Page(http.StatusOK), r.soon, func() { got, err = v.proxyTo(ctx, "/logs/") })
	if err == nil {
		f.saw("nodes/proxy of HTML, with a cookie: the user gets %d, Content-Type: %s, Set-Cookie: %s, Access-Control-Allow-Origin: %s",
			got.status, orNone(got.header.Get("Content-Type")), orNone(got.header.Get("Set-Cookie")), orNone(got.header.Get("Access-Control-Allow-Origin")))
		if got.header.Get("Access-Control-Allow-Origin") != "" {
			f.blames("a kubelet says which sites may read what kube-apiserver answers: Access-Control-Allow-Origin is passed on")
		}
	}
	return f.result(upgrade), nil
}

// orCause is err, or why ctx is done.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
