package kubelettest

import (
	"crypto/rand"
	"errors"
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

// User is a user that the kubelet can authenticate, with a credential and rights.
type User struct {
	// Name is the user name, for example kubelet-client or system:serviceaccount:monitoring:prometheus. It is required,
	// and each user must have a different name.
	Name string
	// Groups are the groups of the user. If Name is the user name of a service account, the user is also in the groups
	// that Kubernetes defines for service accounts.
	Groups []string
	// Token selects the credential of the user: a bearer token if Token is true, and a client certificate otherwise.
	Token bool
	// Allow lists the user's rights. Each right has one or more verbs (get, create, update, patch, delete, *), a space,
	// and one or more resources. Commas separate several verbs or resources: "get nodes/metrics", "get,create
	// nodes/proxy", "* *".
	Allow []string
}

// kubeletClient is the default user. It stands for a kube-apiserver that sends requests to kubelets, and has the rights
// of the ClusterRole system:kubelet-api-admin.
var kubeletClient = User{Name: "kubelet-client", Allow: []string{
	"* nodes/configz,nodes/healthz,nodes/log,nodes/metrics,nodes/pods,nodes/proxy,nodes/stats",
}}

// The type "users" has the users of a kubelet with their credentials and rights, and the transports of their clients.
type users struct {
	ca        *testcerts.Authority
	manifests []runtime.Object

	mu         sync.Mutex
	order      []string // the names of the users, in the order of the options
	all        map[string]*credential
	transports []*http.Transport
}

// credential is a user with the user's RBAC rules, and either a certificate or a token.
type credential struct {
	User
	rules       []rbacv1.PolicyRule // the rights in User.Allow
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

func (u *users) add(user User) error {
	if user.Name == "" {
		return errors.New("User.Name is empty; for a client without a credential use Client(NoCredential)")
	}
	if u.all[user.Name] != nil {
		return fmt.Errorf("two users have the name %q; put all rights and groups into one User", user.Name)
	}
	rules, err := rules(user.Allow)
	if err != nil {
		return fmt.Errorf("user %q: %w", user.Name, err)
	}
	if namespace, _, err := serviceaccount.SplitUsername(user.Name); err == nil {
		user.Groups = append(serviceaccount.MakeGroupNames(namespace), user.Groups...)
	}
	c := &credential{User: user, rules: rules}
	if user.Token {
		c.token = rand.Text()
	} else if c.certificate, err = u.ca.Client(user.Name, user.Groups); err != nil {
		return err
	}
	u.all[user.Name] = c
	u.order = append(u.order, user.Name)
	return nil
}

// The function "rules" converts rights, in the form of User.Allow, to RBAC rules.
func rules(rights []string) ([]rbacv1.PolicyRule, error) {
	verbs := strings.Fields("get create update patch delete *")
	var rules []rbacv1.PolicyRule
	for _, right := range rights {
		fields := strings.Fields(right)
		if len(fields) != 2 {
			return nil, fmt.Errorf(`right %q: want a verb and a resource, as in "get nodes/metrics"`, right)
		}
		rule := rbacv1.PolicyRule{APIGroups: []string{""}, Verbs: strings.Split(fields[0], ","),
			Resources: strings.Split(fields[1], ",")}
		for _, verb := range rule.Verbs {
			if !slices.Contains(verbs, verb) {
				return nil, fmt.Errorf("right %q: a kubelet does not check the verb %q; it checks %s", right, verb,
					strings.Join(verbs, ", "))
			}
		}
		for _, resource := range rule.Resources {
			subresource, ok := strings.CutPrefix(resource, "nodes/")
			if resource != "*" && (!ok || subresource == "") {
				return nil, fmt.Errorf("right %q: a kubelet does not check %q, only subresources of nodes, as in "+
					"nodes/proxy", right, resource)
			}
			if ok && subresource == "*" {
				return nil, fmt.Errorf("right %q: RBAC has no nodes/*; list the subresources, or use *", right)
			}
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// The method "policy" returns a policy with the rights of all users and the manifests of WithRBAC.
func (u *users) policy() (*reviewapi.Policy, error) {
	objects := slices.Clone(u.manifests)
	for _, name := range u.order {
		rules := u.all[name].rules
		if len(rules) == 0 {
			continue
		}
		meta := metav1.ObjectMeta{Name: "kubelettest:" + strings.NewReplacer("/", "-", "%", "-").Replace(name)}
		objects = append(objects, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: meta.Name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: name}},
		})
	}
	return reviewapi.NewPolicy(objects...)
}

func (u *users) tokens() *reviewapi.Tokens {
	tokens := map[string]*authuser.DefaultInfo{}
	for _, c := range u.all {
		if c.Token {
			tokens[c.token] = &authuser.DefaultInfo{Name: c.Name, Groups: c.Groups}
		}
	}
	return reviewapi.NewTokens(tokens)
}

func (u *users) update(server *reviewapi.Server) error {
	policy, err := u.policy()
	if err != nil {
		return err
	}
	server.SetPolicy(policy)
	server.SetTokens(u.tokens())
	return nil
}

// SetAllowed replaces the rights that [User.Allow] gives to a user. It does not change rights that the manifests of
// [WithRBAC] give to the user. The new rights apply from the next review on. If [WithConfig] has enabled a cache, the
// kubelet uses a cached answer until it expires. SetAllowed fails the test if the user is unknown or a right is
// invalid.
func (k *Kubelet) SetAllowed(user string, rights ...string) {
	k.test.Helper()
	u := k.users
	u.mu.Lock()
	defer u.mu.Unlock()
	c := k.credential(user)
	rules, err := rules(rights)
	if err == nil {
		c.rules = rules
		err = u.update(k.Reviewer)
	}
	if err != nil {
		k.test.Fatalf("kubelettest: SetAllowed: user %q: %v", user, err)
	}
}

// Token returns the current bearer token of a user. It fails the test if the user is unknown or has a client
// certificate; see [User.Token].
func (k *Kubelet) Token(user string) string {
	k.test.Helper()
	k.users.mu.Lock()
	defer k.users.mu.Unlock()
	return k.withToken("Token", user).token
}

// RotateToken revokes the bearer token of a user and returns a new token. Clients that [Kubelet.Client] returned
// earlier still send the old token, and are refused. RotateToken fails the test if the user is unknown or has a client
// certificate.
func (k *Kubelet) RotateToken(user string) string {
	k.test.Helper()
	k.users.mu.Lock()
	defer k.users.mu.Unlock()
	c := k.withToken("RotateToken", user)
	c.token = rand.Text()
	k.Reviewer.SetTokens(k.users.tokens())
	return c.token
}

func (k *Kubelet) withToken(method, user string) *credential {
	k.test.Helper()
	c := k.credential(user)
	if !c.Token {
		k.test.Fatalf("kubelettest: %s: user %q has a client certificate, which cannot be revoked; set User.Token",
			method, user)
	}
	return c
}

// The method "credential" fails the test if the user is unknown. The caller holds k.users.mu.
func (k *Kubelet) credential(user string) *credential {
	k.test.Helper()
	c := k.users.all[user]
	if c == nil {
		k.test.Fatalf("kubelettest: unknown user %q; the users are %q; add a user with WithUser", user, k.users.order)
	}
	return c
}
