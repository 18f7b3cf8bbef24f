package check

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"fauxlet/conformance"
	"fauxlet/conformance/hostile"
)

const (
	// plenty is how much a kubelet sends at most for what is to have an end long before: more than any buffer on the way has.
	plenty = 32 << 20
	// spare is how much it sends where an apiserver is known to take all: no more than does no harm.
	spare = 12 << 20
	// part is how much of the text of an error a user may get. An apiserver reads 50,000 bytes of it.
	part = 256 << 10
)

func checkEndlessHeaders(ctx context.Context, r *run) (conformance.Result, error) {
	v, err := r.villain(ctx, "headers")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	var f finding
	for _, behavior := range []hostile.Behavior{hostile.EndlessHeaders(plenty), hostile.EndlessHeader(plenty), hostile.Informational(plenty)} {
		var got reply
		// Until it has enough this apiserver has to be sent ten mebibytes, by a line that may be a slow one.
		visits, ended := v.play(ctx, behavior, r.soon, func() { got = v.takeWithin(ctx, logs, part, 3*r.soon) })
		what := "logs, and the kubelet " + behavior.Action
		switch {
		case len(visits) == 0 || context.Cause(ctx) != nil:
			return f.cut(upgrade, fmt.Errorf("%s: %s", what, got.says()))
		case !ended || visits[0].Answered || got.hangs:
			f.blames("kube-apiserver does not stop reading: %s; it has taken %s", what, size(visits[0].Sent))
			return f.result(upgrade), nil
		case got.err == nil && got.status < http.StatusBadRequest:
			f.blames("the user was told of no error: %s; the user got %s", what, got.says())
		default:
			f.saw("%s: enough after %s; the user gets %s", what, size(visits[0].Sent), got.says())
		}
	}
	// An upgrade has no such limit in kube-apiserver v1.37, whose operator can do nothing about it: that is told, for no
	// more than a log may send too.
	way := roads[0]
	visits, _ := v.play(ctx, hostile.EndlessHeaders(spare), pushing, func() { v.leave(ctx, way) })
	if len(visits) == 1 && visits[0].Answered {
		f.saw("%s: all of %s of headers were taken, and more was waited for: there is no limit to what a kubelet can have kube-apiserver keep in memory", way.name, size(visits[0].Sent))
	}
	if took, err := r.meanwhile(ctx); err != nil {
		f.blames("kube-apiserver does not answer others: %v", err)
	} else {
		f.saw("others were answered in %v", took.Round(time.Millisecond))
	}
	return f.result(upgrade), nil
}

func checkBrokenAnswers(ctx context.Context, r *run) (conformance.Result, error) {
	v, err := r.villain(ctx, "broken")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	var f finding
	var short []string
	for _, behavior := range hostile.BrokenResponses() {
		if f.enough() {
			break
		}
		var got reply
		visits, ended := v.play(ctx, behavior, r.soon, func() { got = v.take(ctx, logs, part) })
		what := "logs, and the kubelet " + behavior.Action
		switch {
		case context.Cause(ctx) != nil:
			return f.cut(upgrade, context.Cause(ctx))
		case len(visits) == 0:
			f.blames("kube-apiserver did not come: %s; the user got %s", what, got.says())
		case got.hangs && len(visits) > 0:
			f.blames("the user's request does not end: %s", what)
			return f.result(upgrade), nil
		case !ended:
			f.blames("the connection to the kubelet stays open: %s", what)
		case got.status == http.StatusOK:
			short = append(short, behavior.Name)
		default:
			f.saw("%s: the user gets %s", what, got.says())
		}
	}
	if len(short) > 0 {
		f.saw("where a log breaks off after its beginning the user gets 200, the beginning, and no word of an error: %s", strings.Join(short, ", "))
	}
	// Of those that are no HTTP from the first byte on, the ways of upgrades have to make something too.
	for _, way := range roads {
		for _, behavior := range hostile.BrokenResponses() {
			if !behavior.NotHTTP || f.enough() {
				continue
			}
			var got reply
			_, ended := v.play(ctx, behavior, r.soon, func() { got = v.take(ctx, way, part) })
			what := fmt.Sprintf("%s, and the kubelet %s", way.name, behavior.Action)
			switch {
			case context.Cause(ctx) != nil:
				return f.cut(upgrade, context.Cause(ctx))
			case got.hangs:
				f.blames("the user's request does not end: %s", what)
				return f.result(upgrade), nil
			case !ended:
				f.blames("the connection to the kubelet stays open: %s", what)
			case got.isDone(way):
				f.blames("the user was told of no error: %s; the user got %s", what, got.says())
			}
		}
	}
	return f.result(upgrade), nil
}

func checkEndlessErrors(ctx context.Context, r *run) (conformance.Result, error) {
	v, err := r.villain(ctx, "errors")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	var f finding
	for _, status := range []int{http.StatusNotFound, http.StatusInternalServerError, http.StatusServiceUnavailable} {
		var got reply
		visits, ended := v.play(ctx, hostile.EndlessBody(status, plenty), r.soon, func() { got = v.take(ctx, logs, part) })
		what := fmt.Sprintf("logs, and the kubelet answers %d with words that have no end", status)
		switch {
		case len(visits) == 0 || context.Cause(ctx) != nil:
			return f.cut(upgrade, fmt.Errorf("%s: %s", what, got.says()))
		case len(got.text) == part || got.hangs:
			f.blames("the user gets %s of it, and perhaps more: %s", size(int64(len(got.text))), what)
			return f.result(upgrade), nil
		case !ended || visits[0].Answered:
			f.blames("kube-apiserver does not stop reading: %s; it has taken %s", what, size(visits[0].Sent))
		default:
			f.saw("%s: the user gets %d with %s, and the connection is closed", what, got.status, size(int64(len(got.text))))
		}
	}
	// For an upgrade kube-apiserver v1.37 has no limit, and what it has read it keeps. It reads on until the kubelet ends,
	// or, where it does not speak the protocol itself, for ten seconds. Its operator can do nothing about it, so that is
	// told, for no more than does no harm.
	for _, way := range roads {
		var got reply
		visits, ended := v.play(ctx, hostile.EndlessBody(http.StatusInternalServerError, spare), pushing, func() { got = v.leave(ctx, way) })
		what := way.name + ", and the kubelet answers 500 with words that have no end"
		switch {
		case len(visits) == 0 || context.Cause(ctx) != nil:
			return f.cut(upgrade, fmt.Errorf("%s: %s", what, got.says()))
		case got.isDone(way) && !way.opensFirst():
			f.blames("the user was told of no error: %s; the user got %s", what, got.says())
		case ended && !visits[0].Answered:
			f.saw("%s: the connection is closed when the user goes, after %s", what, size(visits[0].Sent))
		default:
			f.saw("%s: %s were read though the user was not told of them, or has gone: there is no limit to what a kubelet can have kube-apiserver keep in memory", what, size(visits[0].Sent))
		}
	}
	return f.result(upgrade), nil
}

func checkEndlessLog(ctx context.Context, r *run) (conformance.Result, error) {
	v, err := r.villain(ctx, "endless")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	var f finding
	for _, way := range []road{logs, following} {
		var sent int64
		var stalled bool
		var others time.Duration
		var left time.Time
		visits, ended := v.play(ctx, hostile.EndlessBody(http.StatusOK, plenty), r.soon, func() {
			leave := v.stay(ctx, way)
			defer leave()
			sent, stalled = v.stalls(ctx)
			others, err = r.meanwhile(ctx)
			left = time.Now()
		})
		switch {
		case context.Cause(ctx) != nil:
			return f.cut(upgrade, context.Cause(ctx))
		case len(visits) == 0:
			return conformance.Result{}, fmt.Errorf("kube-apiserver did not come: %s", way.name)
		case err != nil:
			f.blames("kube-apiserver does not answer others while it sends a log without an end: %v", err)
		case !stalled:
			f.blames("kube-apiserver goes on reading a log that its user does not read: it has taken %s", size(sent))
		case !ended:
			f.blames("the connection to the kubelet is still open %v after the user has gone: %s", r.soon, way.name)
		default:
			f.saw("%s, without an end: kube-apiserver took %s while its user read nothing, answered another in %v, and closed the connection %v after the user had gone",
				way.name, size(sent), others.Round(time.Millisecond), visits[0].Ended.Sub(left).Round(time.Millisecond))
		}
	}
	return f.result(upgrade), nil
}

// stay takes a road, reads nothing, and stays until it is told to leave. It returns once the kubelet has been asked.
func (v *villain) stay(ctx context.Context, way road) (leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if l, err := v.travel(ctx, way); err == nil {
			<-ctx.Done()
			l.Close()
		}
	}()
	v.comes(ctx)
	return func() { cancel(); <-gone }
}

// leave takes a road and leaves a moment after the kubelet has been asked, unless all has ended before.
func (v *villain) leave(ctx context.Context, way road) reply {
	leaving, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan reply, 1)
	go func() { done <- v.take(leaving, way, part) }()
	v.comes(ctx)
	select {
	case got := <-done:
		return got
	case <-time.After(2 * pushing):
		cancel()
		return <-done
	}
}

// stalls waits until no more is taken of what the kubelet sends for a while, or all has been.
func (v *villain) stalls(ctx context.Context) (sent int64, stalled bool) {
	ticker := time.NewTicker(v.run.soon / 5)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return sent, false
		}
		visits := v.saw.Connections()[v.before:]
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

func checkPage(ctx context.Context, r *run) (conformance.Result, error) {
	v, err := r.villain(ctx, "page")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	var f finding
	for _, way := range []road{logs, following} {
		var got reply
		v.play(ctx, hostile.Page(http.StatusOK), r.soon, func() { got = v.take(ctx, way, part) })
		if got.err != nil || context.Cause(ctx) != nil {
			return conformance.Result{}, fmt.Errorf("%s: %w", way.name, got.err)
		}
		kind := got.header.Get("Content-Type")
		if plain, _, _ := strings.Cut(kind, ";"); plain != "text/plain" {
			f.blames("a log is passed on as %q, and a browser that shows it runs what a container has written, in kube-apiserver's name", kind)
		}
		for _, name := range hostile.PageHeaders() {
			if value := got.header.Get(name); value != "" {
				f.blames("a kubelet's header is passed on: %s: %s", name, value)
			}
		}
		f.saw("%s of HTML, with a cookie: the user gets %d, Content-Type: %s, X-Content-Type-Options: %s, and none of the kubelet's headers",
			way.name, got.status, kind, orNone(got.header.Get("X-Content-Type-Options")))
	}
	var got reply
	v.play(ctx, hostile.Page(http.StatusInternalServerError), r.soon, func() { got = v.take(ctx, logs, part) })
	if kind := got.header.Get("Content-Type"); strings.Contains(kind, "html") || got.header.Get("Set-Cookie") != "" {
		f.blames("an error of a log is passed on as the kubelet's page: Content-Type: %s, Set-Cookie: %s", kind, orNone(got.header.Get("Set-Cookie")))
	}
	way := roads[0]
	v.play(ctx, hostile.Page(http.StatusForbidden), r.soon, func() { got = v.take(ctx, way, part) })
	f.saw("%s that is refused with HTML, with a cookie: the user gets %d, Content-Type: %s, Set-Cookie: %s; no browser asks for this upgrade",
		way.name, got.status, orNone(got.header.Get("Content-Type")), orNone(got.header.Get("Set-Cookie")))
	return f.result(upgrade), nil
}

func checkSlow(ctx context.Context, r *run) (conformance.Result, error) {
	v, err := r.villain(ctx, "slow")
	if err != nil {
		return conformance.Result{}, err
	}
	defer v.Close()
	var f finding
	for _, behavior := range []hostile.Behavior{hostile.Silence(), hostile.Drip(20 * time.Millisecond)} {
		for _, way := range []road{logs, following, roads[0], roads[1]} {
			var others time.Duration
			var left time.Time
			within := r.soon
			if way.verb != logs.verb {
				within = pushing // it does not end: see below
			}
			visits, ended := v.play(ctx, behavior, within, func() {
				leave := v.stay(ctx, way)
				defer leave()
				others, err = r.meanwhile(ctx)
				left = time.Now()
			})
			what := fmt.Sprintf("%s, and the kubelet %s", way.name, behavior.Action)
			switch {
			case context.Cause(ctx) != nil:
				return f.cut(upgrade, context.Cause(ctx))
			case len(visits) == 0:
				return conformance.Result{}, fmt.Errorf("kube-apiserver did not come: %s", what)
			case err != nil:
				f.blames("kube-apiserver does not answer others: %s: %v", what, err)
				return f.result(upgrade), nil
			case ended:
				f.saw("%s: others were answered in %v, and the connection was closed %v after the user had gone", what, others.Round(time.Millisecond), visits[0].Ended.Sub(left).Round(time.Millisecond))
			case way.verb == logs.verb:
				f.blames("the connection to the kubelet stays open after the user has gone: %s", what)
			default:
				f.saw("%s: others were answered in %v; the connection stays open after the user has gone, for as long as the kubelet likes: until an upgrade is answered kube-apiserver does not look", what, others.Round(time.Millisecond))
			}
		}
	}
	return f.result(upgrade), nil
}

// size is a number of bytes in words.
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
