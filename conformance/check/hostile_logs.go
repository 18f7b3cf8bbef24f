package check

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"fauxlet/conformance/hostile"
)

const (
	// plenty is the length of a response that the kube-apiserver must not read to the end. It is larger than all
	// buffers between the kubelet and the user together.
	plenty = 32 << 20
	// spare is the length of a response that kube-apiserver v1.37 may read to the end. It is short enough to do no harm
	// there.
	spare = 12 << 20
	// The constant "part" is the maximum number of bytes that a check reads of a response. A kube-apiserver should read
	// only 50,000 bytes of a kubelet's error, so the error message for the user must be shorter than this.
	part = 256 << 10
)

func checkEndlessHeaders(ctx context.Context, v *hostileKubelet, f *finding) error {
	for _, behavior := range []hostile.Behavior{hostile.EndlessHeaders(plenty), hostile.EndlessHeader(plenty),
		hostile.Informational(plenty)} {
		t, err := v.try(ctx, logRequest, behavior, v.run.soon, func() reply {
			// The time limit is long, because kube-apiserver v1.37 reads 10 MiB of headers before it stops, and the
			// network may be slow.
			return v.sendWithin(ctx, logRequest, 3*v.run.soon)
		})
		switch {
		case err != nil:
			return err
		case !t.ended || t.visits[0].Answered || t.got.hangs:
			return f.fail("kube-apiserver does not stop reading: %s; it read %s", t.what, size(t.visits[0].Sent))
		case t.got.isSuccess(logRequest):
			f.fail("the user got no error: %s; the user got %s", t.what, t.got)
		default:
			f.note("%s: cut off after %s; the user gets %s", t.what, size(t.visits[0].Sent), t.got)
		}
	}
	// kube-apiserver v1.37 does not limit the headers of a response to an upgrade. The check reports this only as
	// evidence, and not as a problem, because operators cannot change it.
	t, err := v.tryLeaving(ctx, upgradeRequests[0], hostile.EndlessHeaders(spare))
	switch {
	case err != nil:
		return err
	case t.visits[0].Answered:
		f.note("%s: kube-apiserver read all %s of headers and waited for more: a kubelet can fill its memory without "+
			"a limit", upgradeRequests[0].name, size(t.visits[0].Sent))
	}
	if took, err := v.run.otherRequest(ctx); err != nil {
		f.fail("kube-apiserver does not serve other requests: %v", err)
	} else {
		f.note("it served another request in %v", took)
	}
	return nil
}

func checkBrokenAnswers(ctx context.Context, v *hostileKubelet, f *finding) error {
	var short []string
	for _, req := range append([]userRequest{logRequest}, upgradeRequests...) {
		for _, behavior := range hostile.BrokenResponses() {
			if f.enough() || !req.isLog() && !behavior.NotHTTP {
				continue // this behavior breaks only the body of a log
			}
			t, err := v.trySending(ctx, req, behavior)
			switch {
			case errors.Is(err, errNotConnected):
				f.fail("%v", err)
			case err != nil:
				return err
			case t.got.hangs:
				return f.fail("the user's request does not end: %s", t.what)
			case !t.ended:
				f.fail("the connection to the kubelet stays open: %s", t.what)
			case !req.isLog() && t.got.isSuccess(req):
				f.fail("the user got no error: %s; the user got %s", t.what, t.got)
			case !req.isLog():
			case t.got.status == http.StatusOK:
				short = append(short, behavior.Name)
			default:
				f.note("%s: the user gets %s", t.what, t.got)
			}
		}
	}
	if short != nil {
		f.note("if a log breaks off after its beginning, the user gets 200, the beginning, and no error: %s",
			strings.Join(short, ", "))
	}
	return nil
}

func checkEndlessErrors(ctx context.Context, v *hostileKubelet, f *finding) error {
	for _, status := range []int{http.StatusNotFound, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		t, err := v.trySending(ctx, logRequest, hostile.EndlessBody(status, plenty))
		length := size(int64(len(t.got.text)))
		switch {
		case err != nil:
			return err
		case len(t.got.text) == part || t.got.hangs:
			return f.fail("the user gets at least %s of the message: %s", length, t.what)
		case !t.ended || t.visits[0].Answered:
			f.fail("kube-apiserver does not stop reading: %s; it read %s", t.what, size(t.visits[0].Sent))
		default:
			f.note("%s: the user gets %d with %s, and the connection is closed", t.what, t.got.status, length)
		}
	}
	// kube-apiserver v1.37 does not limit the error body of a refused upgrade. If it translates the protocol, it keeps
	// all data until the kubelet ends the response. Otherwise, it does so for at most ten seconds. The check reports
	// this only as evidence, and not as a problem, because operators cannot change it.
	for _, req := range upgradeRequests {
		t, err := v.tryLeaving(ctx, req, hostile.EndlessBody(http.StatusInternalServerError, spare))
		switch {
		case err != nil:
			return err
		case t.got.isSuccess(req) && !req.upgradesEarly():
			f.fail("the user got no error: %s; the user got %s", t.what, t.got)
		case t.ended && !t.visits[0].Answered:
			f.note("%s: the connection is closed when the user leaves, after %s", t.what, size(t.visits[0].Sent))
		default:
			f.note("%s: kube-apiserver read %s without passing them on: a kubelet can fill its memory without a limit",
				t.what, size(t.visits[0].Sent))
		}
	}
	return nil
}

// tryLeaving calls the method "try". The user sends the request, and cancels it shortly after the kubelet has received
// it.
func (v *hostileKubelet) tryLeaving(ctx context.Context, req userRequest, behavior hostile.Behavior) (trial, error) {
	return v.try(ctx, req, behavior, smuggleTimeout, func() reply {
		leaving, leave := context.WithCancel(ctx)
		defer leave()
		done := make(chan reply, 1)
		go func() { done <- v.send(leaving, req) }()
		v.awaitRequest(ctx)
		time.AfterFunc(2*smuggleTimeout, leave)
		return <-done
	})
}

// absence is the result of tryAbsent: a trial in which the user sends a request, does not read the response, and closes
// the connection ("leaves").
type absence struct {
	trial
	others time.Duration // response time of another request, which was sent before the user left
	err    error         // error of that other request
	left   time.Time
}

// The method "closed" returns the time from the moment when the user left to the end of the connection to the kubelet.
func (a absence) closed() time.Duration { return a.visits[0].Ended.Sub(a.left).Round(time.Millisecond) }

// tryAbsent calls the method "try". The user sends the request req and does not read the response. When the kubelet has
// received req, tryAbsent calls the given function "meanwhile". Then it sends a request that does not involve the
// kubelet (see otherRequest). After that, the user closes the connection.
func (v *hostileKubelet) tryAbsent(
	ctx context.Context, req userRequest, behavior hostile.Behavior, within time.Duration, meanwhile func(),
) (a absence, err error) {
	a.trial, err = v.try(ctx, req, behavior, within, func() reply {
		staying, leave := context.WithCancel(ctx)
		var gone sync.WaitGroup
		gone.Go(func() {
			if l, err := v.open(staying, req); err == nil {
				<-staying.Done()
				l.Close()
			}
		})
		v.awaitRequest(ctx)
		meanwhile()
		a.others, a.err = v.run.otherRequest(ctx)
		a.left = time.Now()
		leave()
		gone.Wait()
		return reply{}
	})
	return a, err
}

func checkEndlessLog(ctx context.Context, v *hostileKubelet, f *finding) error {
	for _, req := range []userRequest{logRequest, followRequest} {
		var sent int64
		var stalled bool
		behavior := hostile.EndlessBody(http.StatusOK, plenty)
		a, err := v.tryAbsent(ctx, req, behavior, v.run.soon, func() { sent, stalled = v.awaitStall(ctx) })
		switch {
		case err != nil:
			return err
		case a.err != nil:
			f.fail("kube-apiserver does not serve other requests while it sends an endless log: %v", a.err)
		case !stalled:
			f.fail("kube-apiserver keeps reading a log although its user does not read it: it read %s", size(sent))
		case !a.ended:
			f.fail("the connection to the kubelet is still open %v after the user left: %s", v.run.soon, req.name)
		default:
			f.note("%s, endless: kube-apiserver read %s while its user read nothing, served another request in %v, "+
				"and closed the connection %v after the user left", req.name, size(sent), a.others, a.closed())
		}
	}
	return nil
}

// awaitStall waits until the kube-apiserver has read nothing of the kubelet's response for a fifth of run.soon. Then
// the result "stalled" is true. If the kube-apiserver reads the whole response, or ctx is done, "stalled" is false. The
// result "sent" is the number of bytes that the kubelet has sent.
func (v *hostileKubelet) awaitStall(ctx context.Context) (sent int64, stalled bool) {
	ticker := time.NewTicker(v.run.soon / 5)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return sent, false
		}
		visits := v.recorder.Connections()[v.before:]
		if len(visits) == 0 {
			return 0, false
		}
		switch now := visits[0]; {
		case now.Answered:
			return now.Sent, false
		case now.Sent == sent && sent > 0:
			return sent, true
		default:
			sent = now.Sent
		}
	}
}

func checkPage(ctx context.Context, v *hostileKubelet, f *finding) error {
	for _, req := range []userRequest{logRequest, followRequest} {
		t, err := v.trySending(ctx, req, hostile.Page(http.StatusOK))
		if err == nil {
			err = t.got.err
		}
		if err != nil {
			return fmt.Errorf("%s: %w", req.name, err)
		}
		kind := t.got.header.Get("Content-Type")
		if plain, _, _ := strings.Cut(kind, ";"); plain != "text/plain" {
			f.fail("a log has the content type %q: a browser that shows it runs scripts of the container in "+
				"kube-apiserver's origin", kind)
		}
		for _, name := range hostile.PageHeaders() {
			if value := t.got.header.Get(name); value != "" {
				f.fail("a kubelet's header is passed on: %s: %s", name, value)
			}
		}
		f.note("%s with HTML and a cookie: the user gets %d, Content-Type: %s, X-Content-Type-Options: %s, and none "+
			"of the kubelet's headers", req.name, t.got.status, kind, t.got.get("X-Content-Type-Options"))
	}
	t, err := v.trySending(ctx, logRequest, hostile.Page(http.StatusInternalServerError))
	if err != nil {
		return err
	}
	kind := t.got.header.Get("Content-Type")
	if strings.Contains(kind, "html") || t.got.header.Get("Set-Cookie") != "" {
		f.fail("an error for a log is passed on as the kubelet's page: Content-Type: %s, Set-Cookie: %s", kind,
			t.got.get("Set-Cookie"))
	}
	if t, err = v.trySending(ctx, upgradeRequests[0], hostile.Page(http.StatusForbidden)); err != nil {
		return err
	}
	f.note("%s, refused with HTML and a cookie: the user gets %d, Content-Type: %s, Set-Cookie: %s; browsers do not "+
		"request this upgrade", upgradeRequests[0].name, t.got.status, t.got.get("Content-Type"),
		t.got.get("Set-Cookie"))
	return nil
}

func checkSlow(ctx context.Context, v *hostileKubelet, f *finding) error {
	for _, behavior := range []hostile.Behavior{hostile.Silence(), hostile.Drip(20 * time.Millisecond)} {
		for _, req := range sampleRequests {
			within := v.run.soon
			if !req.isLog() {
				// After an upgrade request, kube-apiserver keeps the connection open until the kubelet responds.
				within = smuggleTimeout
			}
			a, err := v.tryAbsent(ctx, req, behavior, within, func() {})
			switch {
			case err != nil:
				return err
			case a.err != nil:
				return f.fail("kube-apiserver does not serve other requests: %s: %v", a.what, a.err)
			case a.ended:
				f.note("%s: it served another request in %v, and closed the connection %v after the user left", a.what,
					a.others, a.closed())
			case req.isLog():
				f.fail("the connection to the kubelet stays open after the user left: %s", a.what)
			default:
				f.note("%s: it served another request in %v; the connection stays open after the user left, until the "+
					"kubelet responds: kube-apiserver does not notice earlier", a.what, a.others)
			}
		}
	}
	return nil
}

// size formats a number of bytes for the report.
func size(bytes int64) string {
	switch {
	case bytes >= 10<<20:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 10<<10:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d bytes", bytes)
}
