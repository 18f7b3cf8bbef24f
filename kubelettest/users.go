package kubelettest

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	authuser "k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/internal/reviewapi"
	"fauxlet/testcerts"
)

// User is somebody whom the kubelet knows.
type User struct {
	// Name is the user's, as in kubelet-client or system:serviceaccount:monitoring:prometheus. Required.
	Name string
	// Groups are the user's. Those of a service account are known.
	Groups []string
	// Token: the user has a bearer token. If not, a client certificate.
	Token bool
	// May are the user's rights by RBAC, each a verb of a kubelet (get, create, update, patch, delete, *; several with commas
	// between) and what it may be done to (the same): "get nodes/metrics", "get,create nodes/proxy", "* *".
	May []string
}

// kubeletClient is the user that a kube-apiserver is to its kubelets, with what ClusterRole system:kubelet-api-admin allows.
var kubeletClient = User{Name: "kubelet-client", May: []string{
	"* nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats",
}}

// users are those that there are, with their credentials and rights.
type users struct {
	ca        *testcerts.Authority
	manifests []runtime.Object

	mu         sync.Mutex
	order      []string // of their names, as they were given
	all        map[string]*credential
	transports []*http.Transport
}

// credential is what a user presents: either of the two.
type credential struct {
	User
	certificate *testcerts.Pair
	token       string
}

func newUsers(ca *testcerts.Authority, o *options) (*users, error) {
	u := &users{ca: ca, all: map[string]*credential{}}
	given := o.users
	if !slices.ContainsFunc(given, func(u User) bool { return u.Name == kubeletClient.Name }) {
		given = append([]User{kubeletClient}, given...)
	}
	for _, user := range given {
		if err := u.add(user); err != nil {
			return nil, fmt.Errorf("WithUser: %w", err)
		}
	}
	for _, text := range o.manifests {
		objects, err := reviewapi.ParseManifests("WithRBAC", []byte(text))
		if err != nil {
			return nil, err
		}
		u.manifests = append(u.manifests, objects...)
	}
	return u, nil
}

func (u *users) add(user User) (err error) {
	if user.Name == "" {
		return fmt.Errorf("a User without a Name; for a client without a credential take Client(%q)", Nobody)
	}
	if u.all[user.Name] != nil {
		return fmt.Errorf("there are two of the name %q; give all that one has in one User", user.Name)
	}
	if _, err := rules(user.May); err != nil {
		return fmt.Errorf("user %q: %w", user.Name, err)
	}
	if namespace, _, err := serviceaccount.SplitUsername(user.Name); err == nil {
		user.Groups = append(serviceaccount.MakeGroupNames(namespace), user.Groups...)
	}
	c := &credential{User: user}
	if user.Token {
		c.token = rand.Text()
	} else if c.certificate, err = u.ca.Client(user.Name, user.Groups); err != nil {
		return err
	}
	u.all[user.Name] = c
	u.order = append(u.order, user.Name)
	return nil
}

// rules are those of rights.
func rules(may []string) ([]rbacv1.PolicyRule, error) {
	verbs := []string{"get", "create", "update", "patch", "delete", "*"}
	var rules []rbacv1.PolicyRule
	for _, right := range may {
		fields := strings.Fields(right)
		if len(fields) != 2 {
			return nil, fmt.Errorf(`may %q: want a verb and a resource, as in "get nodes/metrics"`, right)
		}
		rule := rbacv1.PolicyRule{APIGroups: []string{""}, Verbs: strings.Split(fields[0], ","), Resources: strings.Split(fields[1], ",")}
		for _, verb := range rule.Verbs {
			if !slices.Contains(verbs, verb) {
				return nil, fmt.Errorf("may %q: %q is no verb that a kubelet asks about; those are %s", right, verb, strings.Join(verbs, ", "))
			}
		}
		for _, resource := range rule.Resources {
			subresource, ok := strings.CutPrefix(resource, "nodes/")
			if resource != "*" && (!ok || subresource == "") {
				return nil, fmt.Errorf("may %q: %q is nothing that a kubelet asks about; that begins with nodes/, as in nodes/proxy", right, resource)
			}
			if subresource == "*" {
				return nil, fmt.Errorf("may %q: RBAC has no nodes/*; name all that is meant, or *", right)
			}
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// policy is what all users may.
func (u *users) policy() (*reviewapi.Policy, error) {
	objects := slices.Clone(u.manifests)
	for _, name := range u.order {
		rules, err := rules(u.all[name].May)
		if err != nil {
			return nil, err
		}
		if len(rules) == 0 {
			continue
		}
		meta := metav1.ObjectMeta{Name: "kubelettest:" + strings.NewReplacer("/", "-", "%", "-").Replace(name)}
		objects = append(objects,
			&rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules},
			&rbacv1.ClusterRoleBinding{
				ObjectMeta: meta,
				RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", Name: meta.Name},
				Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: name}},
			})
	}
	return reviewapi.NewPolicy(objects...)
}

// tokens are those of all users who have one.
func (u *users) tokens() *reviewapi.Tokens {
	tokens := map[string]*authuser.DefaultInfo{}
	for _, c := range u.all {
		if c.Token {
			tokens[c.token] = &authuser.DefaultInfo{Name: c.Name, Groups: c.Groups}
		}
	}
	return reviewapi.NewTokens(tokens)
}

// tell has the reviewer know them.
func (u *users) tell(server *reviewapi.Server) error {
	policy, err := u.policy()
	if err != nil {
		return err
	}
	server.SetPolicy(policy)
	server.SetTokens(u.tokens())
	return nil
}

// SetMay gives a user other rights, in the place of those of User.May; with none, the user may nothing that manifests do not
// allow.
func (k *Kubelet) SetMay(user string, may ...string) {
	k.t.Helper()
	u := k.users
	u.mu.Lock()
	defer u.mu.Unlock()
	c := k.known(user)
	if _, err := rules(may); err != nil {
		k.t.Fatalf("kubelettest: SetMay: user %q: %v", user, err)
	}
	c.May = may
	if err := u.tell(k.Reviewer); err != nil {
		k.t.Fatalf("kubelettest: SetMay: %v", err)
	}
}

// Token is the bearer token of a user who has one.
func (k *Kubelet) Token(user string) string {
	k.t.Helper()
	k.users.mu.Lock()
	defer k.users.mu.Unlock()
	return k.withToken("Token", user).token
}

// RotateToken revokes a user's token, and gives the one that takes its place. Clients made before keep the old one, and are
// refused from now on.
func (k *Kubelet) RotateToken(user string) string {
	k.t.Helper()
	k.users.mu.Lock()
	defer k.users.mu.Unlock()
	c := k.withToken("RotateToken", user)
	c.token = rand.Text()
	k.Reviewer.SetTokens(k.users.tokens())
	return c.token
}

func (k *Kubelet) withToken(method, user string) *credential {
	k.t.Helper()
	c := k.known(user)
	if !c.Token {
		k.t.Fatalf("kubelettest: %s: user %q has a client certificate, and a kubelet revokes none; set User.Token", method, user)
	}
	return c
}

// known finds a user, with mu held.
func (k *Kubelet) known(user string) *credential {
	k.t.Helper()
	c := k.users.all[user]
	if c == nil {
		k.t.Fatalf("kubelettest: there is no user %q; there are %q, and more by WithUser", user, k.users.order)
	}
	return c
}
