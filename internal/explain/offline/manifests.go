package offline

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/authchain"
	"fauxlet/internal/reviewapi"
)

// Manifests replaces the apiserver: TokenReviews and SubjectAccessReviews are answered from these files.
type Manifests struct {
	// RBAC are RBAC manifests, or folders of them. Required with authorization mode Webhook.
	RBAC []string
	// Identity is the user of the request's bearer token, and its groups: USER[,GROUP...]. A service account also
	// gets the groups that Kubernetes gives to every service account. Empty: the request keeps its own token.
	Identity string
	// Tokens, if not empty, is the path of a token file in the format of kube-apiserver's --token-auth-file.
	// Identity is then one of its users, with the groups in the file.
	Tokens string
}

// ErrNoRBAC means that authorization needs RBAC manifests and there are none.
var ErrNoRBAC = errors.New("authorization.mode is Webhook, so RBAC manifests must say what users may do " +
	"(kubectl get clusterroles,clusterrolebindings -o yaml > rbac.yaml), or an apiserver must answer the reviews")

// Apply configures the kubelet so that the manifests answer its reviews. If Identity is set, it also gives the
// request a new token for that user.
func (m Manifests) Apply(kubelet *Options, request *Request) error {
	if len(m.RBAC) == 0 && string(kubelet.Config.Kubelet.Authorization.Mode) == authchain.Webhook {
		return ErrNoRBAC
	}
	api, err := reviewapi.New(reviewapi.Options{RBAC: m.RBAC})
	if err != nil {
		return fmt.Errorf("RBAC manifests: %w", err)
	}
	if m.Identity != "" {
		identity, err := m.user()
		if err != nil {
			return err
		}
		request.Token = rand.Text()
		api.SetTokens(reviewapi.NewTokens(map[string]*user.DefaultInfo{request.Token: identity}))
	}
	kubelet.TokenReviews, kubelet.AccessReviews, err = api.Clients()
	return err
}

func (m Manifests) user() (*user.DefaultInfo, error) {
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
