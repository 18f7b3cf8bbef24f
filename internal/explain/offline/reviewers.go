package offline

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"fauxlet/authchain"
	"fauxlet/internal/bootstrap"
	"fauxlet/internal/reviewapi"
)

// Reviewers describes what answers the TokenReviews and SubjectAccessReviews of a kubelet. If the kubelet's
// configuration has a kubeconfig, the apiserver of this kubeconfig answers them. Otherwise Apiserver or files answer
// them.
type Reviewers struct {
	// RBAC are the paths of RBAC manifests, or of folders with RBAC manifests. At least one is required if
	// authorization.mode is Webhook.
	RBAC []string
	// Identity is the user of the request's bearer token, with the user's groups: USER[,GROUP...]. A service account
	// also gets the groups that Kubernetes gives to every service account. If Identity is empty, the request keeps its
	// own token.
	Identity string
	// Tokens, if not empty, is the path of a token file in the format of kube-apiserver's --token-auth-file. Identity
	// is then the name of a user in the file, and the groups come from the file too.
	Tokens string
	// Apiserver is the client configuration of an apiserver that answers the reviews, if the kubelet's configuration
	// has no kubeconfig. May be nil.
	Apiserver *rest.Config
	// UserAgent is the user agent of the requests to the apiserver of the kubelet's kubeconfig.
	UserAgent string
}

// ErrNoRBAC means that authorization needs RBAC manifests, but Reviewers.RBAC is empty.
var ErrNoRBAC = errors.New("authorization.mode is Webhook, so RBAC manifests must say what users may do " +
	"(kubectl get clusterroles,clusterrolebindings -o yaml > rbac.yaml), or an apiserver must answer the reviews")

// Apply sets the clients to which the kubelet sends its reviews. Without an apiserver, and if Identity is set, Apply
// also gives the request a new token. A TokenReview of this token authenticates the request as the user in Identity.
// The result "note" is a sentence about skipped objects in the RBAC manifests, or empty.
func (m Reviewers) Apply(kubelet *Options, request *Request) (note string, err error) {
	switch {
	case kubelet.Config.Kubeconfig != "":
		// The kubelet presents this credential when it starts.
		_, client, err := bootstrap.AtStart(bootstrap.Options{NodeName: kubelet.Config.NodeName,
			Kubeconfig: kubelet.Config.Kubeconfig, CertDir: kubelet.Config.CertDir,
			Rotate:    kubelet.Config.Kubelet.RotateCertificates,
			Configure: func(c *rest.Config) { c.UserAgent, c.WarningHandler = m.UserAgent, rest.NoWarnings{} }})
		if err != nil {
			return "", err
		}
		return "", useApiserver(kubelet, client)
	case m.Apiserver != nil:
		return "", useApiserver(kubelet, m.Apiserver)
	}
	if len(m.RBAC) == 0 && string(kubelet.Config.Kubelet.Authorization.Mode) == authchain.Webhook {
		return "", ErrNoRBAC
	}
	api, err := reviewapi.New(reviewapi.Options{RBAC: m.RBAC})
	if err != nil {
		return "", fmt.Errorf("RBAC manifests: %w", err)
	}
	if m.Identity != "" {
		identity, err := m.user()
		if err != nil {
			return "", err
		}
		request.Token = rand.Text()
		api.SetTokens(reviewapi.NewTokens(map[string]*user.DefaultInfo{request.Token: identity}))
	}
	kubelet.Policy = api.Policy()
	kubelet.TokenReviews, kubelet.AccessReviews, err = api.Clients()
	return api.Note(), err
}

// useApiserver sends the reviews to an apiserver.
func useApiserver(kubelet *Options, apiserver *rest.Config) (err error) {
	if kubelet.TokenReviews, err = authenticationv1.NewForConfig(apiserver); err != nil {
		return err
	}
	kubelet.AccessReviews, err = authorizationv1.NewForConfig(apiserver)
	return err
}

func (m Reviewers) user() (*user.DefaultInfo, error) {
	if m.Tokens != "" {
		tokens, err := reviewapi.LoadTokens(m.Tokens)
		if err != nil {
			return nil, fmt.Errorf("token file: %w", err)
		}
		if found := tokens.User(m.Identity); found != nil {
			return found, nil
		}
		return nil, fmt.Errorf("token file: %s has no token of the user %q", m.Tokens, m.Identity)
	}
	words := strings.Split(m.Identity, ",")
	identity := &user.DefaultInfo{Name: words[0], Groups: words[1:]}
	if namespace, _, err := serviceaccount.SplitUsername(words[0]); err == nil {
		identity.Groups = append(serviceaccount.MakeGroupNames(namespace), words[1:]...)
	}
	return identity, nil
}
