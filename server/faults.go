package server

import (
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// What goes wrong on purpose is done where it happens: to connections in faults_listener.go, to handshakes in
// faults_certificate.go, to answers in faults_answer.go, to reviews in faults_reviews.go, and to the node itself here. None of
// it lets anybody in: what is done to an answer is done once the chain has let the request pass, and what is done to a
// review turns a yes into a no or leaves it as it is.

// target is what faults of the node itself strike; what they strike of it has more fields.
func (s *Server) target() faults.Target { return faults.Target{Node: s.config.NodeName} }

// beset tells the Decision of a request of the faults that it meets whatever it is: those of its connection and of the node.
func (s *Server) beset(w http.ResponseWriter, r *http.Request, d *authchain.Decision) {
	if c := connOf(r); c != nil {
		d.AddAffectedBy(c.faults...)
	}
	node := s.target()
	if clock := s.faults.Apply(&node, faults.ClockSkew); clock != nil {
		d.AddAffectedBy(clock.Name)
		w.Header().Set("Date", time.Now().Add(clock.Skew.Duration).UTC().Format(http.TimeFormat))
	}
	if flushed := s.faults.Apply(&node, faults.CachesFlushed); flushed != nil {
		d.AddAffectedBy(flushed.Name)
	}
}

// ahead is how far the node's clock is, and now what it says.
func (s *Server) ahead() time.Duration {
	if s.faults.Empty() {
		return 0
	}
	if clocks := s.faults.Version().OfNode(s.config.NodeName, faults.ClockSkew); len(clocks) > 0 {
		return clocks[0].Skew.Duration
	}
	return 0
}

func (s *Server) now() time.Time { return time.Now().Add(s.ahead()) }

// faultyCA has certificates verified by the node's clock, and each time anew where nothing may be remembered.
type faultyCA struct {
	authchain.CAProvider
	server *Server
}

func (c faultyCA) VerifyOptions() (x509.VerifyOptions, bool) {
	options, ok := c.CAProvider.VerifyOptions()
	s := c.server
	if !ok || s.faults.Empty() {
		return options, ok
	}
	if ahead := s.ahead(); ahead != 0 || len(s.faults.Version().OfNode(s.config.NodeName, faults.CachesFlushed)) > 0 {
		options.CurrentTime = time.Now().Add(ahead)
	}
	return options, ok
}

// trueClock refuses a client whom the chain has let in for a certificate that is good by the node's clock, and by the true one
// is not: nobody is let in by a fault.
func (s *Server) trueClock(r *http.Request) error {
	d := authchain.FromContext(r.Context())
	if s.ahead() == 0 || d.By() != authchain.MethodX509 {
		return nil
	}
	certificates := r.TLS.PeerCertificates
	options, _ := s.clientCA.VerifyOptions()
	options.Intermediates = x509.NewCertPool()
	for _, certificate := range certificates[1:] {
		options.Intermediates.AddCert(certificate)
	}
	_, err := certificates[0].Verify(options)
	if err == nil {
		return nil
	}
	d.User, d.Authorization = nil, nil
	d.Authentication[len(d.Authentication)-1].Outcome = authchain.OutcomeRefused
	d.Authentication[len(d.Authentication)-1].Reason = "the client certificate is good by the clock of the node, which a fault has put wrong, and not by the true one: " + strings.TrimPrefix(err.Error(), "x509: ")
	return &authchain.Refusal{Status: http.StatusUnauthorized, Body: "Unauthorized"}
}

// chain is the one that requests go through, for as long as the same faults are active.
type chain struct {
	*authchain.Chain
	version *faults.Version
	// lasting are the faults that have left, or will leave, something in the chain's caches that is not so without them.
	lasting []*faults.Active
}

// leaveTraces are the kinds of such faults, flushing first. Those of a reviewer that is down or slow leave none: an error is not remembered.
var leaveTraces = []string{faults.CachesFlushed, faults.ReviewerWrong, faults.ReviewerRevoking}

// chains make the chain of a Server, and make it again when what it remembers is to be forgotten.
type chains struct {
	mu     sync.Mutex
	config authchain.Config
}

// startChain makes the chain of a Server that is new.
func (s *Server) startChain(config authchain.Config) error {
	s.chains.config = config
	made, err := s.chains.make(false)
	if err != nil {
		return err
	}
	s.chain.Store(&chain{Chain: made})
	return nil
}

// currentChain is the chain by the faults of this moment. Faults that end take with them what is remembered of them; those
// that begin leave what is remembered, as a reviewer would that changes its mind, but for caches-flushed.
func (s *Server) currentChain() *authchain.Chain {
	now := s.chain.Load()
	if now.version == s.faults.Version() {
		return now.Chain
	}
	s.chains.mu.Lock()
	defer s.chains.mu.Unlock()
	now = s.chain.Load()
	version := s.faults.Version()
	if now.version == version {
		return now.Chain
	}
	next := &chain{Chain: now.Chain, version: version, lasting: version.OfNode(s.config.NodeName, leaveTraces...)}
	flushed := len(next.lasting) > 0 && next.lasting[0].Kind == faults.CachesFlushed
	isNew := func(a *faults.Active) bool { return !slices.Contains(now.lasting, a) }
	isGone := func(a *faults.Active) bool { return !slices.Contains(next.lasting, a) }
	if slices.ContainsFunc(now.lasting, isGone) || flushed && slices.ContainsFunc(next.lasting, isNew) {
		var err error
		if next.Chain, err = s.chains.make(flushed); err != nil {
			// It was made before, of the same. Who asks is refused rather than let in by what should be forgotten.
			panic(err)
		}
	}
	s.chain.Store(next)
	return next.Chain
}

// make makes the chain; forgetful, it remembers nothing.
func (c *chains) make(forgetful bool) (*authchain.Chain, error) {
	config := c.config
	if forgetful {
		config.TokenTTL, config.AuthorizedTTL, config.UnauthorizedTTL = 0, 0, 0
	}
	return authchain.New(config)
}

// measureHeavy measures the node with the containers that faults make heavy.
func (s *Server) measureHeavy(machine pods.Machine, r *http.Request) *pods.Measurement {
	struck := map[*faults.Active]faults.Target{}
	measured := s.pods.MeasureAs(machine, time.Now(), func(pod *v1.Pod, container string, usage scenario.Usage) scenario.Usage {
		target := s.target()
		target.Namespace, target.Pod, target.Container = pod.Namespace, pod.Name, container
		if heavy := s.faults.Version().Matching(&target, faults.MemoryHeavy); len(heavy) > 0 {
			usage.Memory = heavy[0].Memory
			struck[heavy[0]] = target
		}
		return usage
	})
	for heavy, target := range struck { // once each, however many containers there are
		heavy.Apply(&target)
		authchain.FromContext(r.Context()).AddAffectedBy(heavy.Name)
	}
	return measured
}
