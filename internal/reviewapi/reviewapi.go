// Package reviewapi serves the two APIs of a kube-apiserver that kubelets use to authenticate tokens and to
// authorize users. It has no other part of a kube-apiserver.
//   - A TokenReview (authentication.k8s.io/v1) is answered from a token file, in the format of --token-auth-file.
//   - A SubjectAccessReview (authorization.k8s.io/v1) is answered from RBAC manifests: ClusterRoles with aggregation, Roles,
//     ClusterRoleBindings and RoleBindings. Members of system:masters are allowed everything. A rule is compared by verb,
//     API group, resource and subresource, resource name, or non-resource URL; see [Policy.Authorize].
//
// Both files are read again when they change. A stand-in kubelet without a cluster sends its reviews here over HTTPS,
// with the same client-go as to a kube-apiserver.
//
// The answers, including their texts, are the same as from kube-apiserver v1.37 with --authorization-mode RBAC and
// --token-auth-file. Comments name the sources in k8s.io/kubernetes. The known differences are: an answer has no
// managedFields; a status in the request is ignored; an unknown path is always answered with a Status object; every
// authenticated caller may create reviews.
//
// Tests can make reviews fail with [Server.SetFaults], and read the received reviews with [Server.Reviews].
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

// DefaultAudience is the default of Options.Audiences. It is kube-apiserver's default issuer.
const DefaultAudience = "https://kubernetes.default.svc"

// Options configure a Server. With the zero value it has no tokens and denies all access.
type Options struct {
	// RBAC are manifest files and folders of them (see [LoadPolicy]). Tokens is a token file (see [LoadTokens]). New
	// reads them. Serve and Watch read them again when they change.
	RBAC   []string
	Tokens string
	// Authorize, if set, answers SubjectAccessReviews in place of RBAC. Its context is the context of the HTTP
	// request. Several goroutines may call it at once.
	Authorize func(context.Context, authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus
	// Audiences are the audiences of all tokens. If empty: DefaultAudience.
	Audiences []string

	// CallerName is the user of the generated kubeconfig; if empty: fauxlet. CallerToken is its bearer token; if
	// empty, a random one. It authenticates callers of this API and must not be in Tokens. Tokens has the tokens
	// that callers send for review.
	CallerName, CallerToken string
	// ClientCA, if set, also authenticates callers by client certificates that it verifies.
	ClientCA *x509.CertPool

	// Certificate is the serving certificate, and CA the PEM bundle with which callers verify it. If CA is empty,
	// callers verify with the last certificate of the chain. Without Certificate, New makes a self-signed one in
	// memory for the DNS names and IP addresses in Hosts, or for localhost, 127.0.0.1 and ::1.
	Certificate *tls.Certificate
	CA          []byte
	Hosts       []string

	// MaxBody is the largest body of a request, in bytes. 0: 3 MiB, kube-apiserver's limit.
	MaxBody int64
	// Records is the number of reviews to keep for [Server.Reviews]. 0: 256; negative: none.
	Records int
	// OnReload, if set, is called when a file in RBAC or Tokens has changed, one call at a time. With a nil err,
	// summary describes the new contents. Otherwise the file is invalid, and summary describes the previous
	// contents, which are still used.
	OnReload func(err error, summary string)
	// ErrorLog is http.Server.ErrorLog, for example for failed handshakes.
	ErrorLog *log.Logger
}

// Server answers reviews. It is safe for concurrent use.
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

// New reads the files and returns a Server. Any mistake in the files is an error, so that a Server never has an
// incomplete policy.
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
	// A kube-apiserver reviews tokens with the authenticators that it uses for its own clients. By default this
	// includes anonymous authentication.
	s.reviewer = union.NewFailOnError(
		group.NewAuthenticatedGroupAdder(
			bearertoken.New(authenticator.WrapAudienceAgnosticToken(options.Audiences, currentTokens{s.tokens}))),
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

// newCallers returns the authenticator of callers: by client certificate, then by the token of the kubeconfig.
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

// Handler returns the API's handler, for callers that do not use Serve. Files are then watched by Watch only, and
// client certificates are verified only if the TLS server requests them.
func (s *Server) Handler() http.Handler { return s.handler }

// Policy returns the current RBAC policy.
func (s *Server) Policy() *Policy { return s.policy.current() }

// Tokens returns the current tokens.
func (s *Server) Tokens() *Tokens { return s.tokens.current() }

// SetPolicy replaces the policy. If Options.RBAC names files, their next change replaces it again.
func (s *Server) SetPolicy(p *Policy) { s.policy.value.Store(&p) }

// SetTokens replaces the tokens. If Options.Tokens names a file, its next change replaces them again.
func (s *Server) SetTokens(t *Tokens) { s.tokens.value.Store(&t) }

// Summary returns the current numbers of roles, bindings and tokens, and the warnings about the files.
func (s *Server) Summary() string { return s.policy.summary() + "; " + s.tokens.summary() }
