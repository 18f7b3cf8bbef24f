// Package explain says why a request to a kubelet ended where it did, and what to change: it draws the [Road] of a
// [authchain.Decision] past TLS, client certificate, token, anonymous, identity, attributes and reviews to the answer, and
// where the road ends early it has the [Cure].
//
// Nothing is decided here. A Decision says what happened; what this package adds is the order in words, the facts of each
// stop, everything that is wrong with a certificate rather than the first thing, and the knowledge of what cures what,
// which is in cures.go alone.
package explain

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"fauxlet/authchain"
)

// Road is the way that one request took, stop by stop.
type Road struct {
	Stops   []Stop  `json:"stops"`
	Verdict Verdict `json:"verdict"`
	// Status is the response's status code; 0 where there was no request.
	Status int `json:"status,omitempty"`
	// Why is the verdict's reason, a sentence without a full stop.
	Why string `json:"why"`
	// Cures are what to change, the likeliest first; none for a request that was let in.
	Cures []Cure `json:"cures,omitempty"`
}

// Verdict is how a road ends.
type Verdict string

const (
	// Allowed: the client is known and may. What the path's handler answers is another matter, which Status tells.
	Allowed Verdict = "allowed"
	// Refused: the client is not known, or may not, or does not accept the kubelet.
	Refused Verdict = "refused"
	// Broken: nobody could find out.
	Broken Verdict = "error"
	// Unguarded: nobody was asked who the client is.
	Unguarded Verdict = "unguarded"
	// Unserved: nothing is there, and so nobody was asked.
	Unserved Verdict = "not served"
	// Unspoken: the connection ended without a request.
	Unspoken Verdict = "no request"
)

// Outcome is how the request passed a stop.
type Outcome string

const (
	Passed Outcome = "passed"
	// NotMine: the stop has nothing to judge, and leaves it to the next.
	NotMine Outcome = "skipped"
	Stopped Outcome = "refused"
	Failed  Outcome = "error"
	// NotReached: the road had ended before, or somebody else had decided already.
	NotReached Outcome = "not reached"
)

// The IDs of the stops, in their order. There is one of each but for reviews, of which there may be two.
const (
	StopTLS         = "tls"
	StopCertificate = "certificate"
	StopToken       = "token"
	StopAnonymous   = "anonymous"
	StopIdentity    = "identity"
	StopAttributes  = "attributes"
	StopReview      = "review"
	StopAnswer      = "answer"
)

// Stop is one step of a Road.
type Stop struct {
	ID string `json:"id"`
	// Name is the ID in words.
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	// Says is what happened here, a sentence without a full stop.
	Says  string `json:"says"`
	Facts []Fact `json:"facts,omitempty"`
}

// Fact is one thing that is known at a stop.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (s *Stop) fact(name, value string) {
	if value != "" {
		s.Facts = append(s.Facts, Fact{name, value})
	}
}

// Stop gives the first stop of that ID, or nil.
func (r *Road) Stop(id string) *Stop {
	for i := range r.Stops {
		if r.Stops[i].ID == id {
			return &r.Stops[i]
		}
	}
	return nil
}

// Of is the Road of a Decision that is complete.
func Of(d *authchain.Decision, known Facts) Road {
	if d.TLS != nil {
		known.Presented = d.TLS.PeerCertificates
	}
	report := d.Report()
	return OfReport(&report, known)
}

// OfReport is the Road of a Decision of which there is a Report alone. Of the certificate that the client presented it says
// more where that is among the facts.
func OfReport(d *authchain.Report, known Facts) Road {
	w := &walker{d: d, known: known}
	stops := []Stop{w.tls(), w.certificate(), w.token(), w.anonymous(), w.identity(), w.attributes()}
	stops = append(append(stops, w.reviews()...), w.answer())
	road := Road{Stops: stops, Verdict: w.verdict(), Status: d.Status}
	road.Why = w.why(road.Verdict)
	if road.Verdict == Refused || road.Verdict == Broken {
		road.Cures = cures(d, known)
	}
	return road
}

// walker goes along one Decision.
type walker struct {
	d     *authchain.Report
	known Facts
}

// unspoken says whether there was no request.
func (w *walker) unspoken() bool { return w.d.Handshake != "" || w.d.NoRequest != "" }

// unasked says whether nobody had to judge the request.
func (w *walker) unasked() bool { return !w.unspoken() && len(w.d.Authentication) == 0 }

func (w *walker) verdict() Verdict {
	switch {
	case w.d.NoRequest != "":
		return Unspoken
	case !w.unasked():
		return Verdict(w.d.Outcome)
	case w.d.Status >= http.StatusMultipleChoices:
		return Unserved
	}
	return Unguarded
}

func (w *walker) why(verdict Verdict) string {
	switch verdict {
	case Unguarded:
		return "nobody is asked here who the client is"
	case Unserved:
		return "nothing is served here, and nobody is asked who the client is"
	case Unspoken:
		return w.d.NoRequest
	}
	return strings.TrimPrefix(w.d.Why, string(verdict)+": ")
}

// step is the Decision's step of one of the methods: that which had an opinion, or else the first.
func (w *walker) step(methods ...authchain.Method) *authchain.Step {
	var found *authchain.Step
	for _, method := range methods {
		for i := range w.d.Authentication {
			s := &w.d.Authentication[i]
			if s.Method == method && (found == nil || found.Outcome == authchain.OutcomeSkipped && s.Outcome != authchain.OutcomeSkipped) {
				found = s
			}
		}
	}
	return found
}

// failed says whether a credential was refused, or could not be judged.
func (w *walker) failed() bool {
	for i := range w.d.Authentication {
		switch w.d.Authentication[i].Outcome {
		case authchain.OutcomeRefused, authchain.OutcomeError:
			return true
		}
	}
	return false
}

func (w *walker) stop(id, name string) Stop { return Stop{ID: id, Name: name, Outcome: NotReached} }

// outcomeOf is that of a step of the chain.
func outcomeOf(s *authchain.Step) Outcome {
	switch s.Outcome {
	case authchain.OutcomeAuthenticated:
		return Passed
	case authchain.OutcomeSkipped:
		return NotMine
	case authchain.OutcomeRefused:
		return Stopped
	}
	return Failed
}

// unreached says why a stop was not reached.
func (w *walker) unreached() string {
	switch {
	case w.unspoken():
		return "there was no request"
	case w.unasked():
		return "nobody is asked here"
	case w.d.User != nil:
		return fmt.Sprintf("the client is known already, by its %s", inWords(w.d.By))
	}
	return "a credential was refused, and one that is bad is not passed over"
}

func inWords(m authchain.Method) string {
	switch m {
	case authchain.MethodX509:
		return "certificate"
	case authchain.MethodBearerToken, authchain.MethodWebSocketToken:
		return "token"
	}
	return string(m)
}

func took(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return d.Round(time.Microsecond).String()
}
