package check

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"fauxlet/conformance/hostile"
)

const (
	// plenty is the limit of a response that the kube-apiserver must cut off earlier. It exceeds the sum of all
	// buffers between the kubelet and the user.
	plenty = 32 << 20
	// spare is the limit of a response that kube-apiserver v1.37 might read completely. It is small enough to do no
	// harm.
	spare = 12 << 20
	// part is the maximum length of an error message for the user. A kube-apiserver reads only 50,000 bytes of a
	// kubelet's error.
	part = 256 << 10
)

func checkEndlessHeaders(ctx context.Context, v *hostileKubelet, f *finding) error {
	for _, behavior := range []hostile.Behavior{hostile.EndlessHeaders(plenty), hostile.EndlessHeader(plenty),
		hostile.Informational(plenty)} {
		var got reply
		// The time limit is long because kube-apiserver v1.37 reads 10 MiB, perhaps over a slow network.
		visits, ended := v.during(
			ctx,
			behavior,
			v.run.soon,
			func() { got = v.sendWithin(ctx, logRequest, part, 3*v.run.soon) },
		)
		what := "logs, and the kubelet " + behavior.Action
		switch {
		case len(visits) == 0 || context.Cause(ctx) != nil:
			return fmt.Errorf("%s: %s", what, got.String())
		case !ended || visits[0].Answered || got.hangs:
			f.problem("kube-apiserver does not stop reading: %s; it read %s", what, size(visits[0].Sent))
			return nil
		case got.err == nil && got.status < http.StatusBadRequest:
			f.problem("the user got no error: %s; the user got %s", what, got.String())
		default:
			f.note("%s: cut off after %s; the user gets %s", what, size(visits[0].Sent), got.String())
		}
	}
	// kube-apiserver v1.37 does not limit the headers of a response to an upgrade. Operators cannot change that, so
	// it is reported as evidence, not as a problem.
	req := upgradeRequests[0]
	visits, _ := v.during(ctx, hostile.EndlessHeaders(spare), smuggleTimeout, func() { v.sendAndLeave(ctx, req) })
	if len(visits) == 1 && visits[0].Answered {
		f.note(
			"%s: kube-apiserver read all %s of headers and waited for more: a kubelet can fill its memory "+
				"without a limit",
			req.name,
			size(visits[0].Sent),
		)
	}
	if took, err := v.run.otherRequest(ctx); err != nil {
		f.problem("kube-apiserver does not serve other requests: %v", err)
	} else {
		f.note("it served another request in %v", took.Round(time.Millisecond))
	}
	return nil
}

func checkBrokenAnswers(ctx context.Context, v *hostileKubelet, f *finding) error {
	var short []string
	for _, behavior := range hostile.BrokenResponses() {
		if f.enough() {
			break
		}
		var got reply
		visits, ended := v.during(ctx, behavior, v.run.soon, func() { got = v.send(ctx, logRequest, part) })
		what := "logs, and the kubelet " + behavior.Action
		switch {
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case len(visits) == 0:
			f.problem("kube-apiserver did not connect: %s; the user got %s", what, got.String())
		case got.hangs && len(visits) > 0:
			f.problem("the user's request does not end: %s", what)
			return nil
		case !ended:
			f.problem("the connection to the kubelet stays open: %s", what)
		case got.status == http.StatusOK:
			short = append(short, behavior.Name)
		default:
			f.note("%s: the user gets %s", what, got.String())
		}
	}
	if len(short) > 0 {
		f.note(
			"if a log breaks off after its beginning, the user gets 200, the beginning, and no error: %s",
			strings.Join(short, ", "),
		)
	}
	// Responses that are not HTTP from the first byte on are also sent in response to upgrades.
	for _, req := range upgradeRequests {
		for _, behavior := range hostile.BrokenResponses() {
			if !behavior.NotHTTP || f.enough() {
				continue
			}
			var got reply
			_, ended := v.during(ctx, behavior, v.run.soon, func() { got = v.send(ctx, req, part) })
			what := fmt.Sprintf("%s, and the kubelet %s", req.name, behavior.Action)
			switch {
			case context.Cause(ctx) != nil:
				return context.Cause(ctx)
			case got.hangs:
				f.problem("the user's request does not end: %s", what)
				return nil
			case !ended:
				f.problem("the connection to the kubelet stays open: %s", what)
			case got.isSuccess(req):
				f.problem("the user got no error: %s; the user got %s", what, got.String())
			}
		}
	}
	return nil
}

func checkEndlessErrors(ctx context.Context, v *hostileKubelet, f *finding) error {
	for _, status := range []int{http.StatusNotFound, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		var got reply
		visits, ended := v.during(
			ctx,
			hostile.EndlessBody(status, plenty),
			v.run.soon,
			func() { got = v.send(ctx, logRequest, part) },
		)
		what := fmt.Sprintf("logs, and the kubelet answers %d with an endless message", status)
		switch {
		case len(visits) == 0 || context.Cause(ctx) != nil:
			return fmt.Errorf("%s: %s", what, got.String())
		case len(got.text) == part || got.hangs:
			f.problem("the user gets at least %s of the message: %s", size(int64(len(got.text))), what)
			return nil
		case !ended || visits[0].Answered:
			f.problem("kube-apiserver does not stop reading: %s; it read %s", what, size(visits[0].Sent))
		default:
			f.note(
				"%s: the user gets %d with %s, and the connection is closed",
				what,
				got.status,
				size(int64(len(got.text))),
			)
		}
	}
	// kube-apiserver v1.37 does not limit the error body of a refused upgrade. It keeps all data until the kubelet
	// ends the response or, if it does not translate the protocol, for ten seconds. Operators cannot change that, so
	// it is reported as evidence, not as a problem.
	for _, req := range upgradeRequests {
		var got reply
		visits, ended := v.during(
			ctx,
			hostile.EndlessBody(http.StatusInternalServerError, spare),
			smuggleTimeout,
			func() { got = v.sendAndLeave(ctx, req) },
		)
		what := req.name + ", and the kubelet answers 500 with an endless message"
		switch {
		case len(visits) == 0 || context.Cause(ctx) != nil:
			return fmt.Errorf("%s: %s", what, got.String())
		case got.isSuccess(req) && !req.upgradesEarly():
			f.problem("the user got no error: %s; the user got %s", what, got.String())
		case ended && !visits[0].Answered:
			f.note("%s: the connection is closed when the user leaves, after %s", what, size(visits[0].Sent))
		default:
			f.note(
				"%s: kube-apiserver read %s without passing them on: a kubelet can fill its memory without a limit",
				what,
				size(visits[0].Sent),
			)
		}
	}
	return nil
}

func checkEndlessLog(ctx context.Context, v *hostileKubelet, f *finding) error {
	var err error
	for _, req := range []userRequest{logRequest, followRequest} {
		var sent int64
		var stalled bool
		var others time.Duration
		var left time.Time
		visits, ended := v.during(ctx, hostile.EndlessBody(http.StatusOK, plenty), v.run.soon, func() {
			leave := v.holdOpen(ctx, req)
			defer leave()
			sent, stalled = v.awaitStall(ctx)
			others, err = v.run.otherRequest(ctx)
			left = time.Now()
		})
		switch {
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case len(visits) == 0:
			return fmt.Errorf("kube-apiserver did not connect: %s", req.name)
		case err != nil:
			f.problem("kube-apiserver does not serve other requests while it sends an endless log: %v", err)
		case !stalled:
			f.problem("kube-apiserver keeps reading a log although its user does not read it: it read %s", size(sent))
		case !ended:
			f.problem("the connection to the kubelet is still open %v after the user left: %s", v.run.soon, req.name)
		default:
			f.note(
				"%s, endless: kube-apiserver read %s while its user read nothing, served another request in %v, "+
					"and closed the connection %v after the user left",
				req.name,
				size(sent),
				others.Round(time.Millisecond),
				visits[0].Ended.Sub(left).Round(time.Millisecond),
			)
		}
	}
	return nil
}

// holdOpen sends a request and reads nothing. It returns when the kubelet has received the request. The caller calls
// leave to end the request.
func (v *hostileKubelet) holdOpen(ctx context.Context, req userRequest) (leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if l, err := v.open(ctx, req); err == nil {
			<-ctx.Done()
			l.Close()
		}
	}()
	v.awaitRequest(ctx)
	return func() { cancel(); <-gone }
}

// sendAndLeave sends a request and cancels it shortly after the kubelet has received it, unless the response ends
// earlier.
func (v *hostileKubelet) sendAndLeave(ctx context.Context, req userRequest) reply {
	leaving, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan reply, 1)
	go func() { done <- v.send(leaving, req, part) }()
	v.awaitRequest(ctx)
	select {
	case got := <-done:
		return got
	case <-time.After(2 * smuggleTimeout):
		cancel()
		return <-done
	}
}

// awaitStall waits until the kube-apiserver has stopped reading the kubelet's response for a while, or has read all
// of it.
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
		var got reply
		v.during(ctx, hostile.Page(http.StatusOK), v.run.soon, func() { got = v.send(ctx, req, part) })
		if got.err != nil || context.Cause(ctx) != nil {
			return fmt.Errorf("%s: %w", req.name, got.err)
		}
		kind := got.header.Get("Content-Type")
		if plain, _, _ := strings.Cut(kind, ";"); plain != "text/plain" {
			f.problem(
				"a log has the content type %q: a browser that shows it runs scripts of the container in "+
					"kube-apiserver's origin",
				kind,
			)
		}
		for _, name := range hostile.PageHeaders() {
			if value := got.header.Get(name); value != "" {
				f.problem("a kubelet's header is passed on: %s: %s", name, value)
			}
		}
		f.note(
			"%s with HTML and a cookie: the user gets %d, Content-Type: %s, X-Content-Type-Options: %s, and none "+
				"of the kubelet's headers",
			req.name,
			got.status,
			kind,
			orNone(got.header.Get("X-Content-Type-Options")),
		)
	}
	var got reply
	v.during(
		ctx,
		hostile.Page(http.StatusInternalServerError),
		v.run.soon,
		func() { got = v.send(ctx, logRequest, part) },
	)
	if kind := got.header.Get("Content-Type"); strings.Contains(kind, "html") || got.header.Get("Set-Cookie") != "" {
		f.problem(
			"an error for a log is passed on as the kubelet's page: Content-Type: %s, Set-Cookie: %s",
			kind,
			orNone(got.header.Get("Set-Cookie")),
		)
	}
	req := upgradeRequests[0]
	v.during(ctx, hostile.Page(http.StatusForbidden), v.run.soon, func() { got = v.send(ctx, req, part) })
	f.note(
		"%s, refused with HTML and a cookie: the user gets %d, Content-Type: %s, Set-Cookie: %s; browsers do not "+
			"request this upgrade",
		req.name,
		got.status,
		orNone(got.header.Get("Content-Type")),
		orNone(got.header.Get("Set-Cookie")),
	)
	return nil
}

func checkSlow(ctx context.Context, v *hostileKubelet, f *finding) error {
	var err error
	for _, behavior := range []hostile.Behavior{hostile.Silence(), hostile.Drip(20 * time.Millisecond)} {
		for _, req := range []userRequest{logRequest, followRequest, upgradeRequests[0], upgradeRequests[1]} {
			var others time.Duration
			var left time.Time
			within := v.run.soon
			if req.verb != logRequest.verb {
				within = smuggleTimeout // kube-apiserver keeps it open until the kubelet responds
			}
			visits, ended := v.during(ctx, behavior, within, func() {
				leave := v.holdOpen(ctx, req)
				defer leave()
				others, err = v.run.otherRequest(ctx)
				left = time.Now()
			})
			what := fmt.Sprintf("%s, and the kubelet %s", req.name, behavior.Action)
			switch {
			case context.Cause(ctx) != nil:
				return context.Cause(ctx)
			case len(visits) == 0:
				return fmt.Errorf("kube-apiserver did not connect: %s", what)
			case err != nil:
				f.problem("kube-apiserver does not serve other requests: %s: %v", what, err)
				return nil
			case ended:
				f.note(
					"%s: it served another request in %v, and closed the connection %v after the user left",
					what,
					others.Round(time.Millisecond),
					visits[0].Ended.Sub(left).Round(time.Millisecond),
				)
			case req.verb == logRequest.verb:
				f.problem("the connection to the kubelet stays open after the user left: %s", what)
			default:
				f.note(
					"%s: it served another request in %v; the connection stays open after the user left, until "+
						"the kubelet responds: kube-apiserver does not notice earlier",
					what,
					others.Round(time.Millisecond),
				)
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

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
