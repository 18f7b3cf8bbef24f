// Package reviewapi is the review API of a kube-apiserver, and nothing else of it: TokenReview (authentication.k8s.io/v1)
// and SubjectAccessReview (authorization.k8s.io/v1), answered from a token file and from RBAC manifests and served over
// HTTPS. A stand-in kubelet that has no cluster asks here, through the same client-go that asks a real kube-apiserver.
//
// What is answered, and in which words, is what kube-apiserver v1.37 started with `--authorization-mode RBAC
// --token-auth-file` answers; the sources in k8s.io/kubernetes are named where they are followed. Known differences: an
// answer carries no managedFields, a status that a caller sends along is ignored, an unknown path is always answered
// with a Status object, and whoever is authenticated as a caller may create reviews.
//
// Reviews can be made to fail on purpose ([Faults]), and those received can be looked at ([Server.Reviews]).
package reviewapi

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log"
	"net/http"
	"sync/atomic"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	x509request "k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/apiserver/pkg/authentication/user"
)

// DefaultAudience is the audience of the tokens where none is given: kube-apiserver's own default issuer.
const DefaultAudience = "https://kubernetes.default.svc"

// Options say what a Server answers from and whom it answers. The zero value knows no token and allows nobody anything.
type Options struct {
	// RBAC are manifest files, and folders of them (see [LoadPolicy]). Tokens is a token file (see [LoadTokens]). They
	// are read by New, and again when they change.
	RBAC   []string
	Tokens string
	// Authorize, if set, answers SubjectAccessReviews in the place of RBAC, from the caller's context, as a kube-apiserver
	// does whose `--authorization-mode` is another. It is called from many goroutines at once.
	Authorize func(context.Context, authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus
	// Audiences are those that the tokens are good for; none: DefaultAudience.
	Audiences []string

	// CallerName is the user that the generated kubeconfig stands for; empty: fauxlet. CallerToken is its bearer token;
	// empty: a random one. Do not reuse one from Tokens: those are what reviews are about.
	CallerName, CallerToken string
	// ClientCA, if set, lets in callers with a client certificate that it verifies, too.
	ClientCA *x509.CertPool

	// Certificate is the serving certificate, and CA the PEM bundle that callers verify it with; a nil CA stands for the
	// last certificate of the chain. A nil Certificate: one is made, self-signed and kept in memory, for the DNS names
	// and IP addresses in Hosts (none: localhost, 127.0.0.1 and ::1).
	Certificate *tls.Certificate
	CA          []byte
	Hosts       []string

	// MaxBody limits a request's body, in bytes. 0: 3 MiB, as a kube-apiserver does.
	MaxBody int64
	// Records is how many reviews are remembered. 0: 256; negative: none.
	Records int
	// OnReload, if set, is told of every change of the files in RBAC and Tokens: err is nil and summary says what holds
	// now, or err says what is wrong and summary what holds on. It is not called for what New reads. Calls come one at a
	// time.
	OnReload func(err error, summary string)
	// ErrorLog takes the words of net/http, of failed handshakes for example. Nil: the log package's standard logger.
	ErrorLog *log.Logger
}

// Server answers reviews. It is made by New and is safe for concurrent use.
type Server struct {
	options     Options
	policy      *source[*Policy]
	tokens      *source[*Tokens]
	reviewer    authenticator.Request // authenticates the token in a TokenReview
	callers     authenticator.Request
	token       string
	certificate tls.Certificate
	ca          []byte
	faults      faults
	records     *records
	handler     http.Handler
	watching    atomic.Bool
}

// New reads the files and makes a server of them. Any mistake in them is an error: nothing is answered from half a
// policy.
func New(options Options) (*Server, error) {
	if len(options.Audiences) == 0 {
		options.Audiences = []string{DefaultAudience}
	}
	if options.CallerName == "" {
		options.CallerName = "fauxlet"
	}
	if options.MaxBody <= 0 {
		options.MaxBody = 3 << 20
	}
	if options.Records == 0 {
		options.Records = 256
	}
	s := &Server{options: options, records: newRecords(max(options.Records, 0))}
	s.policy = newPolicySource(options.RBAC)
	s.tokens = newTokensSource(options.Tokens)
	if _, err := s.policy.refresh(); err != nil {
		return nil, err
	}
	if _, err := s.tokens.refresh(); err != nil {
		return nil, err
	}
	if err := s.setIdentity(); err != nil {
		return nil, err
	}
	// The apiserver reviews with the chain that it has for its own clients, and --anonymous-auth is on.
	s.reviewer = union.NewFailOnError(
		group.NewAuthenticatedGroupAdder(bearertoken.New(authenticator.WrapAudienceAgnosticToken(options.Audiences, currentTokens{s.tokens}))),
		anonymous.NewAuthenticator(nil))
	s.callers = s.newCallers()
	s.handler = s.routes()
	return s, nil
}

// setIdentity chooses the serving certificate and the caller's token.
func (s *Server) setIdentity() error {
	if s.token = s.options.CallerToken; s.token == "" {
		random := make([]byte, 24)
		if _, err := rand.Read(random); err != nil {
			return fmt.Errorf("caller token: %w", err)
		}
		s.token = base64.RawURLEncoding.EncodeToString(random)
	}
	if s.options.Certificate == nil {
		made, err := newServingCertificate(s.options.Hosts)
		if err != nil {
			return err
		}
		s.certificate = made
	} else {
		s.certificate = *s.options.Certificate
	}
	if s.ca = s.options.CA; len(s.ca) == 0 {
		if len(s.certificate.Certificate) == 0 {
			return fmt.Errorf("serving certificate: it holds no certificate")
		}
		s.ca = certificatePEM(s.certificate.Certificate[len(s.certificate.Certificate)-1])
	}
	return nil
}

// newCallers authenticates those who ask for reviews: by client certificate, then by the one token there is.
func (s *Server) newCallers() authenticator.Request {
	ours := map[string]*user.DefaultInfo{s.token: {Name: s.options.CallerName}}
	steps := []authenticator.Request{bearertoken.New(tokenfile.New(ours))}
	if s.options.ClientCA != nil {
		verify := x509request.DefaultVerifyOptions()
		verify.Roots = s.options.ClientCA
		steps = append([]authenticator.Request{x509request.New(verify, x509request.CommonNameUserConversion)}, steps...)
	}
	return group.NewAuthenticatedGroupAdder(union.New(steps...))
}

// Handler answers the API, for a caller who serves it by other means than Serve. Files are watched by Serve or Watch
// alone, and a client certificate is seen only where the TLS server asks for one.
func (s *Server) Handler() http.Handler { return s.handler }

// Policy is the RBAC policy that holds now.
func (s *Server) Policy() *Policy { return s.policy.current() }

// Tokens are the tokens that hold now.
func (s *Server) Tokens() *Tokens { return s.tokens.current() }

// SetPolicy has another policy hold, for a Server that reads none from files: those that there are take its place when
// they change.
func (s *Server) SetPolicy(p *Policy) { s.policy.value.Store(&p) }

// SetTokens has other tokens hold, for a Server that reads none from a file.
func (s *Server) SetTokens(t *Tokens) { s.tokens.value.Store(&t) }

// Summary says what is answered from now: how many roles, bindings and tokens, and the files' warnings.
func (s *Server) Summary() string { return s.policy.summary() + "; " + s.tokens.summary() }
