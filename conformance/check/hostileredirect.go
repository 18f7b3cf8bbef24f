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

	"fauxlet/conformance"
	"fauxlet/conformance/hostile"
)

// redirects are the statuses by which a server sends a client elsewhere.
var redirects = []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}

// lure is where a kubelet redirects to.
type lure struct {
	name, url string
	// visits is how many have come; shown says, of a place with TLS, whom they claimed to be there.
	visits func() int
	shown  func() string
}

// lures has one of each kind listen: the kubelet itself, another node's, the apiserver, and an address on this machine as of
// a cloud's metadata.
func (r *run) lures(ctx context.Context, v *villain, name string) (all []lure, done func(), err error) {
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
	nobody := func() string { return "" }
	base, _, err := rest.DefaultServerUrlFor(r.config)
	if err != nil {
		other.Close()
		metadata.Close()
		return nil, nil, err
	}
	all = []lure{
		{"itself", fmt.Sprintf("https://%s/%s", v.address(), lured), none, nobody}, // its visits are the villain's
		{"another kubelet", fmt.Sprintf("https://%s/%s", other.address(), lured), func() int { return len(other.seen()) }, other.shown},
		{"kube-apiserver", base.JoinPath("/version").String(), none, nobody}, // which would be seen in the answer
		{"a metadata address", fmt.Sprintf("http://%s/latest/meta-data/%s", metadata.Addr(), lured), func() int { mu.Lock(); defer mu.Unlock(); return came }, nobody},
	}
	return all, func() { other.Close(); metadata.Close() }, nil
}

// shown says whose certificates clients have shown.
func (k *kubelet) shown() string {
	for _, s := range k.seen() {
		if s.TLS != nil && len(s.TLS.PeerCertificates) > 0 {
			return ", and has shown there that it is " + s.TLS.PeerCertificates[0].Subject.String()
		}
	}
	return ""
}

// lured is a part of the paths that nobody asks for unless redirected to.
const lured = "fauxlet-check-lured"

// reply is what a user got for a request, by whatever road.
type reply struct {
	// status is of HTTP; 0 where there was none.
	status int
	header http.Header
	text   string
	// hangs: there was neither an end of the answer nor as much of it as was wanted, in all the time there was.
	hangs bool
	err   error
}

// take takes a road and gives what comes of it soon, of text no more than a limit.
func (n *node) take(ctx context.Context, way road, limit int64) reply {
	return n.takeWithin(ctx, way, limit, n.run.soon)
}

func (n *node) takeWithin(ctx context.Context, way road, limit int64, within time.Duration) reply {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("no answer within %v", within))
	defer cancel()
	l, err := n.travel(ctx, way)
	if err != nil {
		return reply{err: err, hangs: ctx.Err() != nil}
	}
	defer l.Close()
	text, ended := l.text(limit, within)
	// An apiserver may answer just because its client begins to leave.
	return reply{l.status, l.header, text, ctx.Err() != nil || !ended && int64(len(text)) < limit, nil}
}

// isDone says that an answer was one of success: an upgrade or a 2xx. That a WebSocket, which the apiserver speaks itself,
// was opened is none: what went wrong is told in it.
func (a reply) isDone(way road) bool {
	if a.status == http.StatusSwitchingProtocols && way.opensFirst() {
		return strings.Contains(a.text, `"status":"Success"`)
	}
	return a.err == nil && a.status < http.StatusMultipleChoices
}

func checkRedirects(ctx context.Context, r *run) (conformance.Result, error) {
	v, err := r.villain(ctx, "redirect")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	lures, done, err := r.lures(ctx, v, "redirect")
	if err != nil {
		return conformance.Result{}, err
	}
	defer done()
	var f finding
	for n, way := range append([]road{logs}, roads...) {
		tried, before := 0, len(f.wrong)
		var last reply
		for i, status := range redirects {
			for j, lure := range lures {
				if way.verb != logs.verb && (i+n)%len(lures) != j {
					continue // each status once, and each place: there are two handshakes for each
				}
				if f.enough() {
					return f.result(upgrade), nil
				}
				visited := lure.visits()
				var got reply
				visits, _ := v.play(ctx, hostile.Redirect(status, lure.url), v.patience(way), func() { got = v.take(ctx, way, 64<<10) })
				if err := context.Cause(ctx); err != nil {
					return f.cut(upgrade, err)
				}
				tried++
				last = got
				what := fmt.Sprintf("%s, answered by a kubelet with %d to %s", way.name, status, lure.name)
				switch {
				case lure.visits() > visited:
					f.blames("kube-apiserver has followed%s: %s", lure.shown(), what)
				case len(visits) == 0:
					return f.cut(upgrade, fmt.Errorf("kube-apiserver did not come: %s: %w", what, got.err))
				case len(visits) > 1 || visits[0].More != nil:
					f.blames("kube-apiserver came %d times, and not once: %s", requestsOf(visits), what)
				case got.hangs:
					f.blames("the user's request does not end: %s", what)
					return f.result(upgrade), nil
				case got.isDone(way):
					f.blames("kube-apiserver told its user of no error: %s; the user got %s", what, got.says())
				case got.status >= 300 && got.status < 400:
					f.blames("kube-apiserver passed the redirect on, by which its user's client takes its credential elsewhere: %s", what)
				}
			}
		}
		if len(f.wrong) > before {
			continue
		}
		f.saw("%s: %d redirects, of which none was followed; the user gets %s", way.name, tried, last.says())
	}
	return f.result(upgrade), nil
}

func requestsOf(visits []hostile.Connection) int {
	n := 0
	for _, v := range visits {
		n += 1 + len(v.More)
	}
	return n
}

// says is the answer in a line.
func (a reply) says() string {
	if a.err != nil {
		return "an error: " + a.err.Error()
	}
	return fmt.Sprintf("%d %s", a.status, brief(a.text))
}

// brief is text as it is shown as evidence: of a Status its message, of frames what can be read, not too long.
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
