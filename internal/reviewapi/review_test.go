package reviewapi

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"fauxlet/testcerts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tokensFile = "alice-secret,alice,u1,\"dev,ops\"\n" +
	"prom-secret,system:serviceaccount:observe:prometheus,u2," +
	"\"system:serviceaccounts,system:serviceaccounts:observe\"\n" +
	"anon-secret,system:anonymous,u3\n"

// encodings has client configurations for the content types that client-go supports.
var encodings = map[string]rest.ContentConfig{
	"JSON": {ContentType: runtime.ContentTypeJSON},
	"protobuf": {ContentType: runtime.ContentTypeProtobuf,
		AcceptContentTypes: runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON},
	"protobuf one-way":    {ContentType: runtime.ContentTypeProtobuf, AcceptContentTypes: runtime.ContentTypeJSON},
	"YAML":                {ContentType: runtime.ContentTypeYAML, AcceptContentTypes: runtime.ContentTypeJSON},
	"what client-go does": {},
}

func TestTokenReview(t *testing.T) {
	server, address := start(t, Options{})
	issuer := []string(tokenAudiences)
	user := func(name, uid string, groups ...string) authenticationv1.UserInfo {
		return authenticationv1.UserInfo{Username: name, UID: uid, Groups: groups}
	}
	const invalid = "invalid bearer token"
	for encoding, content := range encodings {
		config := server.RESTConfig(address)
		config.ContentConfig = content
		c := client(t, config)
		for name, test := range map[string]struct {
			token     string
			audiences []string
			want      authenticationv1.TokenReviewStatus
		}{
			"known": {"alice-secret", nil, authenticationv1.TokenReviewStatus{
				Authenticated: true, Audiences: issuer,
				User: user("alice", "u1", "dev", "ops", "system:authenticated")}},
			"service account": {"prom-secret", nil,
				authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: issuer,
					User: user("system:serviceaccount:observe:prometheus", "u2", "system:serviceaccounts",
						"system:serviceaccounts:observe", "system:authenticated")}},
			"system:anonymous is not authenticated": {"anon-secret", nil, authenticationv1.TokenReviewStatus{
				Authenticated: true, User: user("system:anonymous", "u3"), Audiences: issuer}},
			"unknown":      {"nope", nil, authenticationv1.TokenReviewStatus{Error: invalid}},
			"space within": {"alice secret", nil, authenticationv1.TokenReviewStatus{Error: invalid}},
			"space before is none": {" alice-secret", []string{"three"},
				authenticationv1.TokenReviewStatus{Authenticated: true,
					User: user("system:anonymous", "", "system:unauthenticated"), Audiences: []string{"three"}}},
			"one audience of two": {"alice-secret", []string{issuer[0], "three"},
				authenticationv1.TokenReviewStatus{Authenticated: true,
					User: user("alice", "u1", "dev", "ops", "system:authenticated"), Audiences: issuer}},
			"none of the audiences": {"alice-secret", []string{"three"},
				authenticationv1.TokenReviewStatus{Error: invalid}},
			"the caller's own": {server.options.CallerToken, nil, authenticationv1.TokenReviewStatus{Error: invalid}},
		} {
			t.Run(encoding+"/"+name, func(t *testing.T) {
				review, err := askToken(t, c, test.token, test.audiences...)
				if err != nil {
					t.Fatal(err)
				}
				got := review.Status
				if got.Authenticated != test.want.Authenticated || got.Error != test.want.Error ||
					!slices.Equal(got.Audiences, test.want.Audiences) ||
					got.User.Username != test.want.User.Username || got.User.UID != test.want.User.UID ||
					!slices.Equal(got.User.Groups, test.want.User.Groups) {
					t.Errorf("status %+v\nwant   %+v", got, test.want)
				}
			})
		}
		t.Run(encoding+"/empty", func(t *testing.T) {
			_, err := askToken(t, c, "")
			if !apierrors.IsBadRequest(err) || err.Error() != "token is required for TokenReview in authentication" {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestSubjectAccessReview(t *testing.T) {
	server, address := start(t, Options{})
	for encoding, content := range encodings {
		config := server.RESTConfig(address)
		config.ContentConfig = content
		c := client(t, config)
		for name, test := range answers() {
			review, err := askAccess(t, c, test.question)
			if err != nil {
				t.Fatalf("%s/%s: %v", encoding, name, err)
			}
			if review.Status.Allowed != test.allowed || review.Status.Denied || review.Status.Reason != test.reason {
				t.Errorf("%s/%s: status %+v, want %v %q", encoding, name, review.Status, test.allowed, test.reason)
			}
		}
	}
}

func TestSubjectAccessReviewInvalid(t *testing.T) {
	server, address := start(t, Options{})
	c := client(t, server.RESTConfig(address))
	path := &authorizationv1.NonResourceAttributes{Verb: "get", Path: "/x"}
	resource := func(change func(*authorizationv1.ResourceAttributes)) authorizationv1.SubjectAccessReviewSpec {
		asked := &authorizationv1.ResourceAttributes{Verb: "get", Resource: "pods"}
		change(asked)
		return authorizationv1.SubjectAccessReviewSpec{User: "u", ResourceAttributes: asked}
	}
	for name, test := range map[string]struct {
		meta metav1.ObjectMeta
		spec authorizationv1.SubjectAccessReviewSpec
		want string
	}{
		"no attributes": {spec: authorizationv1.SubjectAccessReviewSpec{User: "u"},
			want: ".authorization.k8s.io \"\" is invalid: spec: Invalid value: null: " + exactlyOneAttributes},
		"both attributes": {spec: authorizationv1.SubjectAccessReviewSpec{User: "u", NonResourceAttributes: path,
			ResourceAttributes: &authorizationv1.ResourceAttributes{}},
			want: `spec: Invalid value: {"Path":"/x","Verb":"get"}: ` + exactlyOneAttributes},
		"no user": {spec: authorizationv1.SubjectAccessReviewSpec{NonResourceAttributes: path},
			want: `spec.user: Invalid value: "": at least one of user or group must be specified`},
		"a name": {meta: metav1.ObjectMeta{Name: "n"},
			spec: authorizationv1.SubjectAccessReviewSpec{User: "u", NonResourceAttributes: path},
			want: "metadata: Invalid value: "},
		"empty selector": {spec: resource(func(a *authorizationv1.ResourceAttributes) {
			a.FieldSelector = &authorizationv1.FieldSelectorAttributes{}
		}),
			want: "spec.resourceAttributes.fieldSelector.requirements: Required value: when " +
				"spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required"},
		"selector twice": {spec: resource(func(a *authorizationv1.ResourceAttributes) {
			a.LabelSelector = &authorizationv1.LabelSelectorAttributes{RawSelector: "a=b",
				Requirements: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Exists"}}}
		}), want: `spec.resourceAttributes.labelSelector.rawSelector: Invalid value: "a=b": may not ` +
			`specified at the same time as requirements`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.AuthorizationV1().SubjectAccessReviews().Create(t.Context(),
				&authorizationv1.SubjectAccessReview{ObjectMeta: test.meta, Spec: test.spec}, metav1.CreateOptions{})
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v\nwant an error with %s", err, test.want)
			}
		})
	}
	t.Run("the namespace is dropped, and a bad selector is reported", func(t *testing.T) {
		spec := resource(func(a *authorizationv1.ResourceAttributes) {
			a.LabelSelector = &authorizationv1.LabelSelectorAttributes{RawSelector: ",,"}
		})
		review, err := c.AuthorizationV1().SubjectAccessReviews().Create(t.Context(),
			&authorizationv1.SubjectAccessReview{ObjectMeta: metav1.ObjectMeta{Namespace: "n"}, Spec: spec},
			metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if review.Namespace != "" ||
			review.Status.EvaluationError != "spec.resourceAttributes.labelSelector ignored due to parse error" {
			t.Errorf("review %+v", review)
		}
	})
}

func TestOnlyAuthenticatedCallersMayCreateReviews(t *testing.T) {
	server, address := start(t, Options{})
	for name, test := range map[string]struct {
		change  func(*rest.Config)
		allowed bool
	}{
		"our token":           {func(*rest.Config) {}, true},
		"no credential":       {func(c *rest.Config) { c.BearerToken = "" }, false},
		"wrong token":         {func(c *rest.Config) { c.BearerToken += "x" }, false},
		"a token of the file": {func(c *rest.Config) { c.BearerToken = "alice-secret" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			config := server.RESTConfig(address)
			test.change(config)
			_, err := askToken(t, client(t, config), "alice-secret")
			if test.allowed && err != nil || !test.allowed && (!apierrors.IsUnauthorized(err) ||
				err.Error() != "Unauthorized") {
				t.Errorf("error %v", err)
			}
		})
	}
	if reviews := server.Reviews(); len(reviews) != 1 {
		t.Errorf("%d reviews, want only the review with our token", len(reviews))
	}
}

func TestKubeconfig(t *testing.T) {
	server, address := start(t, Options{})
	path := filepath.Join(t.TempDir(), "kubeconfig")
	write(t, path, "the old one")
	write(t, path+".tmp", "a file of another program")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := server.WriteKubeconfig(path, address); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 2 {
		t.Errorf("the folder contains %v, want the two files from before", entries)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, config)
	if _, err := askToken(t, c, "alice-secret"); err != nil {
		t.Error(err)
	}
	version, err := c.Discovery().ServerVersion()
	if err != nil || version.Minor != "37" {
		t.Errorf("version %v, error %v", version, err)
	}
	if err := server.WriteKubeconfig(filepath.Join(t.TempDir(), "no", "such", "folder"), address); err == nil ||
		strings.Contains(err.Error(), server.options.CallerToken) {
		t.Errorf("error %v", err)
	}
}

// TestKubeconfigOfNode checks that the client certificate in the kubeconfig of a node is accepted without the token,
// and that no other certificate of the CA is.
func TestKubeconfigOfNode(t *testing.T) {
	ca, err := testcerts.NewAuthority("shared-ca")
	if err != nil {
		t.Fatal(err)
	}
	server, address := start(t, Options{CA: ca, CallerNode: "node-1"})
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := server.WriteKubeconfig(path, address); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	config.BearerToken = ""
	if _, err := askToken(t, client(t, config), "alice-secret"); err != nil {
		t.Error(err)
	}
	for _, user := range []string{"system:node:node-2", "viewer"} {
		pair, err := ca.Client(user, nil)
		if err != nil {
			t.Fatal(err)
		}
		config.CertData, config.KeyData = pair.CertPEM, pair.KeyPEM
		if _, err := askToken(t, client(t, config), "alice-secret"); !apierrors.IsUnauthorized(err) {
			t.Errorf("%s: error %v, want Unauthorized", user, err)
		}
	}
	server, address = start(t, Options{CA: ca})
	other := server.RESTConfig(address)
	other.BearerToken = ""
	pair, err := ca.Client("system:node:", nil)
	if err != nil {
		t.Fatal(err)
	}
	other.CertData, other.KeyData = pair.CertPEM, pair.KeyPEM
	if _, err := askToken(t, client(t, other), "alice-secret"); !apierrors.IsUnauthorized(err) {
		t.Errorf("without CallerNode: error %v, want Unauthorized", err)
	}
}

func TestServerURL(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:6443": "https://127.0.0.1:6443",
		"[::]:6443":      "https://127.0.0.1:6443",
		"0.0.0.0:6443":   "https://127.0.0.1:6443",
		":6443":          "https://127.0.0.1:6443",
		"[::1]:6443":     "https://[::1]:6443",
		"reviews:6443":   "https://reviews:6443",
	} {
		if got := serverURL(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestReviewsKeepsTheNewestRecords(t *testing.T) {
	server, address := start(t, Options{Records: 3})
	c := client(t, server.RESTConfig(address))
	for range 3 {
		if _, err := askToken(t, c, "nope"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := askToken(t, c, "alice-secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := askAccess(t, c,
		question{user: "kubelet-client", verb: "get", what: "nodes/proxy", name: "a"}); err != nil {
		t.Fatal(err)
	}
	reviews := server.Reviews()
	if len(reviews) != 3 || reviews[0].Number != 3 || reviews[2].Number != 5 {
		t.Fatalf("reviews %+v", reviews)
	}
	token, access := reviews[1], reviews[2]
	if token.Token != fingerprint("alice-secret") || token.Code != 201 || token.TokenStatus.User.Username != "alice" {
		t.Errorf("record %+v", token)
	}
	if access.Access.ResourceAttributes.Name != "a" || !access.AccessStatus.Allowed {
		t.Errorf("record %+v", access)
	}
}

func TestNewReportsInvalidFiles(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	write(t, broken, "kind: [")
	for name, options := range map[string]Options{
		"RBAC":       {RBAC: []string{broken}},
		"token file": {Tokens: broken},
		"gone":       {Tokens: broken + "2"},
	} {
		if _, err := New(options); err == nil || !strings.Contains(err.Error(), broken) {
			t.Errorf("%s: error %v, want one that names %s", name, err, broken)
		}
	}
}

func TestServeReturnsTheErrorOfItsListener(t *testing.T) {
	server, err := New(Options{Hosts: []string{"", "reviews", "10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	if err := server.Serve(t.Context(), listener); err == nil {
		t.Error("no error")
	}
}
