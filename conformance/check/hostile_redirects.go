package check

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"fauxlet/conformance/hostile"
)

// redirects are the HTTP statuses of redirects.
var redirects = []int{
	http.StatusMovedPermanently,
	http.StatusFound,
	http.StatusSeeOther,
	http.StatusTemporaryRedirect,
	http.StatusPermanentRedirect,
}

// redirectTarget is a server that a redirect names.
type redirectTarget struct {
	name, url string
	// visits counts the connections to the target. presentedThere describes the client certificate that the target
	// received, if any.
	visits         func() int
	presentedThere func() string
}

// redirectTargets returns the targets: the redirecting kubelet itself, another kubelet, the kube-apiserver, and a
// plain HTTP server on this machine in place of a cloud's metadata service. The caller calls done to close them.
func (r *run) redirectTargets(
	ctx context.Context,
	v *hostileKubelet,
	name string,
) (all []redirectTarget, done func(), err error) {
	other, err := r.kubelet(ctx, kubeletOptions{node: nodeOptions{name: name + "-other"}, raw: func(*tls.Conn) {}})
	if err != nil {
		return nil, nil, err
	}
	metadata, err := net.Listen("tcp", netip.AddrPortFrom(r.nodeIP, 0).String())
	if err != nil {
		other.Close()
		return nil, nil, err
	}
	var mu sync.Mutex
	came := 0
	go func() {
		for {
			conn, err := metadata.Accept()
			if err != nil {
				return
			}
			conn.Close()
			mu.Lock()
			came++
			mu.Unlock()
		}
	}()
	none := func() int { return 0 }
	noCertificate := func() string { return "" }
	base, _, err := rest.DefaultServerUrlFor(r.config)
	if err != nil {
		other.Close()
		metadata.Close()
		return nil, nil, err
	}
	all = []redirectTarget{
		{
			"itself",
			fmt.Sprintf("https://%s/%s", v.address(), redirectMarker),
			none,
			noCertificate,
		}, // the hostile kubelet records its own connections
		{
			"another kubelet",
			fmt.Sprintf("https://%s/%s", other.address(), redirectMarker),
			func() int { return len(other.observed()) },
			other.presentedThere,
		},
		// Visits are not counted here, because the response would show that the redirect was followed.
		{"kube-apiserver", base.JoinPath("/version").String(), none, noCertificate},
		{
			"a metadata address",
			fmt.Sprintf("http://%s/latest/meta-data/%s", metadata.Addr(), redirectMarker),
			func() int { mu.Lock(); defer mu.Unlock(); return came },
			noCertificate,
		},
	}
	return all, func() { other.Close(); metadata.Close() }, nil
}

// presentedThere describes the first client certificate that the kubelet received.
func (k *kubelet) presentedThere() string {
	for _, s := range k.observed() {
		if s.TLS != nil && len(s.TLS.PeerCertificates) > 0 {
			return " and presented the certificate of " + s.TLS.PeerCertificates[0].Subject.String()
		}
	}
	return ""
}

// redirectMarker occurs in the paths of redirects and in no other path.
const redirectMarker = "fauxlet-check-redirected"

// reply is the response that a user gets to a userRequest.
type reply struct {
	// status is the HTTP status; 0 if there was no response.
	status int
	header http.Header
	text   string
	// hangs means that the response reached neither its end nor the limit in time.
	hangs bool
	err   error
}

// send sends a request and reads the response, up to a limit of text.
func (n *node) send(ctx context.Context, req userRequest, limit int64) reply {
	return n.sendWithin(ctx, req, limit, n.run.soon)
}

func (n *node) sendWithin(ctx context.Context, req userRequest, limit int64, within time.Duration) reply {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("no response within %v", within))
	defer cancel()
	l, err := n.open(ctx, req)
	if err != nil {
		return reply{err: err, hangs: ctx.Err() != nil}
	}
	defer l.Close()
	text, ended := l.text(limit, within)
	// If ctx is done, the response may only be a consequence of the cancellation.
	return reply{l.status, l.header, text, ctx.Err() != nil || !ended && int64(len(text)) < limit, nil}
}

// isSuccess reports whether the response is a success: an upgrade or a 2xx. If the kube-apiserver upgrades before
// the kubelet has responded, the Status in the stream decides.
func (a reply) isSuccess(req userRequest) bool {
	if a.status == http.StatusSwitchingProtocols && req.upgradesEarly() {
		return strings.Contains(a.text, `"status":"Success"`)
	}
	return a.err == nil && a.status < http.StatusMultipleChoices
}

func checkRedirects(ctx context.Context, v *hostileKubelet, f *finding) error {
	redirectTargets, done, err := v.run.redirectTargets(ctx, v, "redirect")
	if err != nil {
		return err
	}
	defer done()
	for n, req := range append([]userRequest{logRequest}, upgradeRequests...) {
		tried, before := 0, len(f.problems)
		var last reply
		for i, status := range redirects {
			for j, target := range redirectTargets {
				if req.verb != logRequest.verb && (i+n)%len(redirectTargets) != j {
					continue // not every combination of status and target, because each needs two handshakes
				}
				if f.enough() {
					return nil
				}
				visited := target.visits()
				var got reply
				visits, _ := v.during(
					ctx,
					hostile.Redirect(status, target.url),
					v.closeTimeout(req),
					func() { got = v.send(ctx, req, 64<<10) },
				)
				if err := context.Cause(ctx); err != nil {
					return err
				}
				tried++
				last = got
				what := fmt.Sprintf("%s, and the kubelet redirects (%d) to %s", req.name, status, target.name)
				switch {
				case target.visits() > visited:
					f.problem("kube-apiserver followed a redirect%s: %s", target.presentedThere(), what)
				case len(visits) == 0:
					return fmt.Errorf("kube-apiserver did not connect: %s: %w", what, got.err)
				case len(visits) > 1 || visits[0].More != nil:
					f.problem("kube-apiserver sent %d requests instead of one: %s", requestsOf(visits), what)
				case got.hangs:
					f.problem("the user's request does not end: %s", what)
					return nil
				case got.isSuccess(req):
					f.problem("the user got no error: %s; the user got %s", what, got.String())
				case got.status >= 300 && got.status < 400:
					f.problem(
						"kube-apiserver passed on the redirect, and the user's client may follow it with its "+
							"credential: %s",
						what,
					)
				}
			}
		}
		if len(f.problems) > before {
			continue
		}
		f.note("%s: followed none of %d redirects; the user gets %s", req.name, tried, last.String())
	}
	return nil
}

func requestsOf(visits []hostile.Connection) int {
	n := 0
	for _, v := range visits {
		n += 1 + len(v.More)
	}
	return n
}

// String returns the response in one line.
func (a reply) String() string {
	if a.err != nil {
		return "an error: " + a.err.Error()
	}
	return fmt.Sprintf("%d %s", a.status, brief(a.text))
}

// brief shortens text for evidence: the message of a Status, or the printable characters.
func brief(text string) string {
	if _, after, ok := strings.Cut(text, `"message":"`); ok {
		if i := strings.Index(after, `","`); i >= 0 {
			text = after[:i]
		}
	}
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text))
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return text
}
