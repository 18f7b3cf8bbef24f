// Package reviewapi serves the two APIs of a kube-apiserver that kubelets use to authenticate tokens and to authorize
// users. It serves no other API of a kube-apiserver.
//   - A TokenReview (authentication.k8s.io/v1) is answered from a token file, in the format of --token-auth-file.
//   - A SubjectAccessReview (authorization.k8s.io/v1) is answered from RBAC manifests: ClusterRoles with aggregation,
//     Roles, ClusterRoleBindings and RoleBindings. Members of system:masters are allowed everything. A rule is compared
//     by verb, API group, resource and subresource, resource name, or non-resource URL; see [Policy.Authorize]. The
//     ClusterRoles cluster-admin and system:kubelet-api-admin exist even if no manifest has them.
//
// The files are read again when they change. A stand-in kubelet without a cluster sends its reviews here over HTTPS. It
// uses the same client-go code that it uses to send reviews to a kube-apiserver.
//
// The answers, including their texts, are the same as from kube-apiserver v1.37 with --authorization-mode RBAC and
// --token-auth-file. Comments name the sources in k8s.io/kubernetes. The known differences are: an answer has no
// managedFields; a status in the request is ignored; an unknown path is always answered with a Status object; every
// authenticated caller may create reviews.
//
// Tests can read the received reviews with [Server.Reviews].
package reviewapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/testcerts"
)

// tokenAudiences are the audiences of every token: only kube-apiserver's default service account issuer.
var tokenAudiences = authenticator.Audiences{"https://kubernetes.default.svc"}

// callerName is the name of the user that calls the API.
const callerName = "fauxlet"

// Options configure a Server. With the zero Options, a Server accepts no tokens and allows only system:masters.
type Options struct {
	// RBAC lists manifest files (of YAML or JSON documents) and folders of manifest files. Tokens is a token file (see
	// [Tokens]). New reads all files. Serve reads them again when they change.
	RBAC   []string
	Tokens string
	// Authenticate, if set, answers TokenReviews in place of Tokens. Authorize, if set, answers SubjectAccessReviews in
	// place of RBAC. Both have the signature of the method Create of client-go's clients for reviews. The server sends
	// their errors to the client. The context is the context of the HTTP request. Calls may be concurrent.
	Authenticate func(context.Context, *authenticationv1.TokenReview, metav1.CreateOptions) (
		*authenticationv1.TokenReview, error)
	Authorize func(context.Context, *authorizationv1.SubjectAccessReview, metav1.CreateOptions) (
		*authorizationv1.SubjectAccessReview, error)

	// CallerToken is the bearer token in the generated kubeconfig. It authenticates the callers of this API. If it is
	// empty, New generates a random token. CallerToken must not be one of the Tokens, because callers send those in
	// TokenReviews.
	CallerToken string
	// CallerNode, if set, is the name of a node. The generated kubeconfig then also contains a client certificate of
	// the user system:node:NAME. A kubelet with rotateCertificates needs it, because it presents no token.
	CallerNode string
	// CA signs the serving certificate and the client certificate. If CA is nil, New creates a CA. Hosts are the DNS
	// names and IP addresses in the serving certificate. If Hosts is empty, they are localhost, 127.0.0.1 and ::1.
	CA    *testcerts.Authority
	Hosts []string

	// Records is the number of reviews to keep for [Server.Reviews]. 0 means 256.
	Records int
	// Logger logs failed handshakes, and each change of a file in RBAC or Tokens. If a file becomes invalid, its last
	// valid contents stay in use. If Logger is nil, nothing is logged.
	Logger *zap.Logger
}

// Server answers reviews. It is safe for concurrent use.
type Server struct {
	options      Options
	sources      []*source
	readInterval time.Duration
	policy       atomic.Pointer[Policy]
	tokens       atomic.Pointer[Tokens]
	reviewer     authenticator.Request // reviewer authenticates the token in a TokenReview
	callers      authenticator.Request
	serving      tls.Certificate
	records      records
}

// New reads the files and returns a Server. Any mistake in the files is an error, so that a Server never has an
// incomplete policy.
func New(options Options) (*Server, error) {
	options.Records = cmp.Or(options.Records, 256)
	options.CallerToken = cmp.Or(options.CallerToken, rand.Text())
	if options.Logger == nil {
		options.Logger = zap.NewNop()
	}
	if len(options.Hosts) == 0 {
		options.Hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	// An address such as ":6443" has an empty host.
	options.Hosts = slices.DeleteFunc(slices.Clone(options.Hosts), func(host string) bool { return host == "" })
	s := &Server{options: options, readInterval: readInterval, records: records{limit: options.Records}}
	s.sources = s.newSources()
	for _, from := range s.sources {
		if err := from.apply(from.load()); err != nil {
			return nil, err
		}
	}
	if s.options.CA == nil {
		var err error
		if s.options.CA, err = testcerts.NewAuthority("fauxlet-reviews-ca"); err != nil {
			return nil, err
		}
	}
	serving, err := s.options.CA.Server("fauxlet-reviews", options.Hosts)
	if err != nil {
		return nil, err
	}
	s.serving = serving.TLS()
	// Like a kube-apiserver, authenticate the token of a TokenReview as if it were the bearer token of a request. By
	// default this includes anonymous authentication.
	current := authenticator.TokenFunc(func(ctx context.Context, token string) (*authenticator.Response, bool, error) {
		return s.tokens.Load().AuthenticateToken(ctx, token)
	})
	s.reviewer = union.NewFailOnError(
		group.NewAuthenticatedGroupAdder(
			bearertoken.New(authenticator.WrapAudienceAgnosticToken(tokenAudiences, current))),
		anonymous.NewAuthenticator(nil))
	s.callers = union.New(x509.New(s.callerOptions(), x509.UserConversionFunc(s.callerOf)),
		bearertoken.New(tokenfile.New(map[string]*user.DefaultInfo{options.CallerToken: {Name: callerName}})))
	return s, nil
}

// SetPolicy replaces the policy. If Options.RBAC names files, the next change of a file replaces the policy again.
func (s *Server) SetPolicy(p *Policy) { s.policy.Store(p) }

// Policy returns the current policy.
func (s *Server) Policy() *Policy { return s.policy.Load() }

// SetTokens replaces the tokens. If Options.Tokens names a file, the next change of the file replaces the tokens again.
func (s *Server) SetTokens(t *Tokens) { s.tokens.Store(t) }
