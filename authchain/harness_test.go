package authchain_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	authenticationv1api "k8s.io/api/authentication/v1"
	authorizationv1api "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fauxlet/authchain"
	"fauxlet/testcerts"
)

// clusterCA is the client CA of the chain. unknownCA is a CA that the chain does not trust. serverCA signs the serving
// certificate.
type pki struct {
	clusterCA, unknownCA, serverCA *testcerts.Authority
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	return &pki{authority(t, "cluster-ca"), authority(t, "unknown-ca"), authority(t, "server-ca")}
}

func authority(t testing.TB, name string) *testcerts.Authority {
	t.Helper()
	a, err := testcerts.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func client(t testing.TB, a *testcerts.Authority, user string, groups []string,
	mutate ...func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	pair, err := a.Client(user, groups, mutate...)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pair.TLS()
	return &certificate
}

// fixedCA is a CAProvider that never changes.
type fixedCA struct{ *testcerts.Authority }

func (f fixedCA) VerifyOptions() (x509.VerifyOptions, bool) {
	return x509.VerifyOptions{Roots: f.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true
}

// apiserver answers reviews over HTTP, and records them. The map "users" has the user of each token, and the map
// "allowed" has the subresources that each user may access. Tests can set "intercept" to answer requests themselves.
type apiserver struct {
	*httptest.Server
	clients *kubernetes.Clientset

	mu           sync.Mutex
	users        map[string]authenticationv1api.UserInfo
	allowed      map[string][]string
	tokenReviews []string
	accesses     []authorizationv1api.SubjectAccessReviewSpec
	// The function "intercept" may answer a request itself. In that case it returns true, and the apiserver does not
	// answer the request.
	intercept func(w http.ResponseWriter, r *http.Request) bool
	// tokenError is the status.error of the TokenReview of an unknown token.
	tokenError string
}

func newAPIServer(t testing.TB) *apiserver {
	t.Helper()
	a := &apiserver{users: map[string]authenticationv1api.UserInfo{}, allowed: map[string][]string{},
		tokenError: "invalid bearer token"}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	clients, err := kubernetes.NewForConfig(&rest.Config{Host: a.URL, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	a.clients = clients
	return a
}

func (a *apiserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/apis/authentication.k8s.io/v1/tokenreviews":
		review := authenticationv1api.TokenReview{}
		json.Unmarshal(body, &review)
		a.tokenReviews = append(a.tokenReviews, review.Spec.Token)
		if a.intercept != nil && a.intercept(w, r) {
			return
		}
		user, known := a.users[review.Spec.Token]
		review.TypeMeta = metav1.TypeMeta{Kind: "TokenReview", APIVersion: "authentication.k8s.io/v1"}
		review.Status = authenticationv1api.TokenReviewStatus{Authenticated: known, User: user}
		if !known {
			review.Status.Error = a.tokenError
		}
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(review)
	case "/apis/authorization.k8s.io/v1/subjectaccessreviews":
		review := authorizationv1api.SubjectAccessReview{}
		json.Unmarshal(body, &review)
		a.accesses = append(a.accesses, review.Spec)
		if a.intercept != nil && a.intercept(w, r) {
			return
		}
		review.TypeMeta = metav1.TypeMeta{Kind: "SubjectAccessReview", APIVersion: "authorization.k8s.io/v1"}
		for _, subresource := range a.allowed[review.Spec.User] {
			if subresource == review.Spec.ResourceAttributes.Subresource {
				review.Status.Allowed = true
				review.Status.Reason = "RBAC: allowed by a binding"
			}
		}
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(review)
	default:
		http.NotFound(w, r)
	}
}

func (a *apiserver) counts() (tokenReviews, accessReviews int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.tokenReviews), len(a.accesses)
}

// The method "allow" replaces the allowed subresources of all users.
func (a *apiserver) allow(allowed map[string][]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.allowed = allowed
}

// asked returns the verb and the subresource of each SubjectAccessReview received so far.
func (a *apiserver) asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var asked []string
	for _, spec := range a.accesses {
		asked = append(asked, spec.ResourceAttributes.Verb+" "+spec.ResourceAttributes.Subresource)
	}
	return asked
}

// standin is a TLS server that passes each request to an [authchain.Chain], and answers 200 if the Chain allows the
// request.
type standin struct {
	*httptest.Server
	mu        sync.Mutex
	decisions []*authchain.Decision
}

func newStandin(t testing.TB, chain *authchain.Chain, requestCertificates bool) *standin {
	t.Helper()
	s := &standin{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		decision, err := chain.Decide(r)
		defer func() {
			s.mu.Lock()
			s.decisions = append(s.decisions, decision)
			s.mu.Unlock()
		}()
		if err != nil {
			refusal := err.(*authchain.Refusal)
			decision.Status = refusal.Status
			w.WriteHeader(refusal.Status)
			io.WriteString(w, refusal.Body)
			return
		}
		decision.Status = http.StatusOK
	}))
	s.TLS = &tls.Config{}
	if requestCertificates {
		s.TLS.ClientAuth = tls.RequestClientCert
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *standin) last() *authchain.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.decisions[len(s.decisions)-1]
}

// credential is what a request authenticates with: a client certificate, a token, or neither.
type credential struct {
	certificate   *tls.Certificate
	authorization string
	header        http.Header
}

func bearer(token string) credential { return credential{authorization: "Bearer " + token} }

func with(certificate *tls.Certificate, token string) credential {
	c := credential{certificate: certificate}
	if token != "" {
		c.authorization = "Bearer " + token
	}
	return c
}

// send sends one request on a new connection, and returns its status, body and Decision.
func (s *standin) send(t testing.TB, method, path string, c credential) (int, string, *authchain.Decision) {
	t.Helper()
	transport := s.Client().Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	if c.certificate != nil {
		// Send the certificate even if its CA is not in the server's list of acceptable CAs, as a kube-apiserver
		// does.
		transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return c.certificate, nil
		}
	}
	request, err := http.NewRequest(method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range c.header {
		request.Header[name] = values
	}
	if c.authorization != "" {
		request.Header.Set("Authorization", c.authorization)
	}
	response, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body), s.last()
}

// webhookConfig returns the Config for a default KubeletConfiguration, but with all caches off.
func webhookConfig(p *pki, a *apiserver) authchain.Config {
	return authchain.Config{
		NodeName:      "node-1",
		ClientCA:      fixedCA{p.clusterCA},
		TokenWebhook:  true,
		TokenReviews:  a.clients.AuthenticationV1(),
		Mode:          authchain.Webhook,
		AccessReviews: a.clients.AuthorizationV1(),
		FineGrained:   true,
	}
}

func newChain(t testing.TB, config authchain.Config) *authchain.Chain {
	t.Helper()
	chain, err := authchain.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}
