package same

import (
	"fmt"
	"math/rand/v2"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"fauxlet/e2e/internal/controlplane"
)

// rbacGenerator generates roles, bindings and reviews. It chooses all names, verbs and resources from short lists, so
// that reviews and roles often match or almost match.
type rbacGenerator struct {
	random   *rand.Rand
	made     int
	rules    map[string][]rbacv1.PolicyRule // rules maps a role's kind, namespace and name to its rules
	bindings []rbacBinding
}

// rbacBinding is a ClusterRoleBinding if its namespace is empty, and otherwise a RoleBinding.
type rbacBinding struct {
	namespace string
	ref       rbacv1.RoleRef
	subjects  []rbacv1.Subject
}

var (
	rbacNamespaces = []string{"default", "team-a", "team-b"}
	rbacVerbs      = []string{"get", "list", "create", "update", "delete", "proxy", "*", "ge", ""}
	rbacGroups     = []string{"", "", "apps", "metrics.k8s.io", "*"}
	rbacResources  = []string{"nodes", "nodes/proxy", "nodes/log", "nodes/stats", "nodes/metrics", "nodes/*", "pods",
		"pods/log", "deployments", "*", "*/log", "*/*", "*/", "nodes/", "/log", "nodes/proxy/log", "Nodes", "node"}
	rbacNames = []string{"node-1", "node-2", "node", "*", "", "node-1/x"}
	rbacPaths = []string{"/healthz", "/healthz/*", "/metrics*", "/metrics/", "*", "/*", "/logs/**", "/a*b", "/", "",
		"healthz", "/healthz/ping", "/metrics/cadvisor", "/a*b*"}
	rbacUsers = []string{"alice", "bob", "carol", "Alice", "system:anonymous", "system:serviceaccount:default:sa-1",
		"system:serviceaccount:team-a:sa-1", "system:serviceaccount:team-a:sa-2", "system:serviceaccount:team-a:sa-1:x",
		"system:serviceaccount::sa-1"}
	rbacUserGroups = []string{"devs", "ops", "alice", "system:serviceaccounts", "system:serviceaccounts:team-a",
		"system:authenticated", "system:unauthenticated"}
	rbacAccounts = []string{"sa-1", "sa-2", "alice"}
)

func (g *rbacGenerator) chance(percent int) bool { return g.random.IntN(100) < percent }

func (g *rbacGenerator) one(of []string) string { return of[g.random.IntN(len(of))] }

// The method "some" chooses one to three random elements of a list, possibly with repetitions.
func (g *rbacGenerator) some(of []string) []string {
	all := []string{g.one(of)}
	for len(all) < 3 && g.chance(40) {
		all = append(all, g.one(of))
	}
	return all
}

func (g *rbacGenerator) name(kind string) string {
	g.made++
	return fmt.Sprintf("%s-%03d", kind, g.made)
}

func (g *rbacGenerator) rule(namespaced bool) rbacv1.PolicyRule {
	if !namespaced && g.chance(25) {
		return rbacv1.PolicyRule{Verbs: g.some(rbacVerbs), NonResourceURLs: g.some(rbacPaths)}
	}
	rule := rbacv1.PolicyRule{Verbs: g.some(rbacVerbs), APIGroups: g.some(rbacGroups), Resources: g.some(rbacResources)}
	if g.chance(30) {
		rule.ResourceNames = g.some(rbacNames)
	}
	return rule
}

func (g *rbacGenerator) rulesOf(namespaced bool) (rules []rbacv1.PolicyRule) {
	for range g.random.IntN(4) {
		rules = append(rules, g.rule(namespaced))
	}
	return rules
}

func (g *rbacGenerator) subject(namespaced bool) rbacv1.Subject {
	switch g.random.IntN(3) {
	case 0:
		return controlplane.User(g.one(rbacUsers))
	case 1:
		return controlplane.Group(g.one(rbacUserGroups))
	}
	subject := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: g.one(rbacNamespaces),
		Name: g.one(rbacAccounts)}
	if namespaced && g.chance(40) {
		subject.Namespace = ""
	}
	return subject
}

func (g *rbacGenerator) subjects(namespaced bool) (subjects []rbacv1.Subject) {
	for range 1 + g.random.IntN(3) {
		subjects = append(subjects, g.subject(namespaced))
	}
	return subjects
}

func (g *rbacGenerator) labels() map[string]string {
	return map[string]string{"tier": g.one([]string{"a", "b", "c", "d"})}
}

func (g *rbacGenerator) aggregation() *rbacv1.AggregationRule {
	rule := &rbacv1.AggregationRule{}
	for range 1 + g.random.IntN(2) {
		selector := metav1.LabelSelector{MatchLabels: g.labels()}
		if g.chance(30) {
			operator := []metav1.LabelSelectorOperator{"In", "NotIn"}[g.random.IntN(2)]
			selector = metav1.LabelSelector{
				MatchLabels: map[string]string{"made": "here"},
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: operator,
					Values: g.some([]string{"a", "b", "c", "d"})}},
			}
		}
		rule.ClusterRoleSelectors = append(rule.ClusterRoleSelectors, selector)
	}
	return rule
}

// objects returns roles and bindings. Some roles are aggregated, and some bindings refer to missing roles.
func (g *rbacGenerator) objects() (all []runtime.Object) {
	g.rules = map[string][]rbacv1.PolicyRule{}
	var clusterRoles []string
	for i := range 28 {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: g.name("role"), Labels: g.labels()},
			Rules: g.rulesOf(false)}
		role.Labels["made"] = "here"
		switch {
		case i >= 26: // an aggregated role without labels: its own rules are overwritten, and no role selects it
			role.AggregationRule, role.Labels = g.aggregation(), nil
		case i >= 22: // no rules, because otherwise the rules of two roles that select each other would grow forever
			role.AggregationRule, role.Rules = g.aggregation(), nil
		case i == 0: // the label aggregates the role into a default role of every kube-apiserver
			role.Labels["rbac.authorization.k8s.io/aggregate-to-view"] = "true"
		}
		g.rules["ClusterRole//"+role.Name] = role.Rules
		clusterRoles, all = append(clusterRoles, role.Name), append(all, role)
	}
	clusterRoles = append(clusterRoles, "view", "edit", "gone-1", "gone-2")
	for i := range 30 {
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: g.name("binding")},
			Subjects: g.subjects(false),
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: g.one(clusterRoles)}}
		if i == 0 {
			binding.Subjects = nil
		}
		g.bindings, all = append(g.bindings, rbacBinding{"", binding.RoleRef, binding.Subjects}), append(all, binding)
	}
	for _, namespace := range rbacNamespaces {
		// A Role may have the same name as a ClusterRole.
		roles := []string{clusterRoles[g.random.IntN(10)], g.name("role"), g.name("role"), g.name("role")}
		for _, name := range roles {
			role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
				Rules: g.rulesOf(true)}
			g.rules["Role/"+namespace+"/"+name], all = role.Rules, append(all, role)
		}
		roles = append(roles, "gone-3")
		for range 14 {
			binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: g.name("binding")},
				Subjects: g.subjects(true),
				RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: g.one(roles)}}
			if g.chance(50) {
				binding.RoleRef.Kind, binding.RoleRef.Name = "ClusterRole", g.one(clusterRoles)
			}
			g.bindings, all = append(g.bindings, rbacBinding{namespace, binding.RoleRef, binding.Subjects}),
				append(all, binding)
		}
	}
	return all
}

// review returns a random review. Often a generated rule allows the review. Often a rule does not allow the review only
// because one value, for example the verb or the name, is different.
func (g *rbacGenerator) review() authorizationv1.SubjectAccessReviewSpec {
	spec := g.anyQuestion()
	if g.chance(75) {
		spec = g.aimed()
		if g.chance(50) {
			g.miss(&spec)
		}
	}
	if a := spec.ResourceAttributes; a != nil && g.chance(6) {
		g.selectors(a)
	}
	if g.chance(2) {
		switch g.random.IntN(4) {
		case 0:
			spec.User, spec.Groups = "", nil
		case 1:
			spec.ResourceAttributes, spec.NonResourceAttributes = nil, nil
		case 2:
			spec.ResourceAttributes, spec.NonResourceAttributes = &authorizationv1.ResourceAttributes{},
				&authorizationv1.NonResourceAttributes{}
		default:
			spec.Groups = append(spec.Groups, "system:masters")
		}
	}
	return spec
}

func (g *rbacGenerator) anyQuestion() authorizationv1.SubjectAccessReviewSpec {
	spec := authorizationv1.SubjectAccessReviewSpec{User: g.one(rbacUsers)}
	if g.chance(40) {
		spec.Groups = g.some(rbacUserGroups)
	}
	if g.chance(25) {
		spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Verb: g.one(rbacVerbs),
			Path: g.one(rbacPaths)}
		return spec
	}
	resource, subresource, _ := strings.Cut(g.one(rbacResources), "/")
	spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Verb: g.one(rbacVerbs), Group: g.one(rbacGroups), Version: "v1", Resource: resource, Subresource: subresource,
		Name: g.one(rbacNames), Namespace: g.one(append([]string{""}, rbacNamespaces...)),
	}
	return spec
}

// The method "aimed" returns a review that matches a rule of one of the generated bindings.
func (g *rbacGenerator) aimed() authorizationv1.SubjectAccessReviewSpec {
	spec := g.anyQuestion()
	spec.Groups = nil
	b := g.bindings[g.random.IntN(len(g.bindings))]
	if len(b.subjects) == 0 {
		return spec
	}
	switch subject := b.subjects[g.random.IntN(len(b.subjects))]; subject.Kind {
	case rbacv1.UserKind:
		spec.User = subject.Name
	case rbacv1.GroupKind:
		spec.Groups = []string{"others", subject.Name}
	default:
		if subject.Namespace == "" {
			subject.Namespace = b.namespace
		}
		spec.User = "system:serviceaccount:" + subject.Namespace + ":" + subject.Name
	}
	at := ""
	if b.ref.Kind == "Role" {
		at = b.namespace
	}
	rules := g.rules[b.ref.Kind+"/"+at+"/"+b.ref.Name]
	if len(rules) == 0 {
		return spec
	}
	rule := rules[g.random.IntN(len(rules))]
	star := func(value string, other ...string) string {
		if value == "*" {
			return g.one(other)
		}
		return value
	}
	verb := star(g.one(rule.Verbs), "get", "watch", "")
	if len(rule.NonResourceURLs) > 0 {
		path := g.one(rule.NonResourceURLs)
		if trimmed := strings.TrimRight(path, "*"); trimmed != path {
			path = trimmed + g.one([]string{"", "x", "/x/y", "*"})
		}
		spec.ResourceAttributes, spec.NonResourceAttributes = nil,
			&authorizationv1.NonResourceAttributes{Verb: verb, Path: path}
		return spec
	}
	resource, subresource, _ := strings.Cut(g.one(rule.Resources), "/")
	a := &authorizationv1.ResourceAttributes{
		Verb: verb, Group: star(g.one(rule.APIGroups), "", "batch"), Version: "v1",
		Resource: star(resource, "nodes", "jobs"), Subresource: subresource, Name: g.one(rbacNames),
		Namespace: b.namespace,
	}
	if len(rule.ResourceNames) > 0 {
		a.Name = g.one(rule.ResourceNames)
	}
	if b.namespace == "" {
		a.Namespace = g.one(append([]string{""}, rbacNamespaces...))
	}
	spec.ResourceAttributes, spec.NonResourceAttributes = a, nil
	return spec
}

// miss changes one value of a review at random, for example its verb. After most changes, the rule that allowed the
// review no longer matches it.
func (g *rbacGenerator) miss(spec *authorizationv1.SubjectAccessReviewSpec) {
	near := func(word string) string {
		switch g.random.IntN(5) {
		case 0:
			return word + "x"
		case 1:
			return strings.ToUpper(word)
		case 2:
			return strings.TrimSuffix(word, "s")
		case 3:
			return word + "/"
		}
		return ""
	}
	if len(spec.Groups) > 0 && g.chance(20) {
		spec.Groups[len(spec.Groups)-1] = near(spec.Groups[len(spec.Groups)-1])
		return
	}
	if g.chance(15) {
		spec.User = near(spec.User)
		return
	}
	if a := spec.NonResourceAttributes; a != nil {
		if g.chance(70) {
			a.Path = near(a.Path)
		} else {
			a.Verb = near(a.Verb)
		}
		return
	}
	a := spec.ResourceAttributes
	switch g.random.IntN(6) {
	case 0:
		a.Verb = near(a.Verb)
	case 1:
		a.Group = g.one(rbacGroups)
	case 2:
		a.Resource = near(a.Resource)
	case 3:
		a.Subresource = g.one([]string{"", "log", "proxy", "x", near(a.Subresource)})
	case 4:
		a.Name = near(a.Name)
	default:
		a.Namespace = g.one(append([]string{"", "nowhere"}, rbacNamespaces...))
	}
}

// selectors adds a valid or invalid field selector or label selector to a review.
func (g *rbacGenerator) selectors(a *authorizationv1.ResourceAttributes) {
	raw := g.one([]string{"", "a=b", "a", "a in (b,c)", "a=b,", "=", "!a", "a=b,c!=d"})
	if g.chance(50) {
		a.FieldSelector = &authorizationv1.FieldSelectorAttributes{RawSelector: raw}
		if g.chance(50) {
			a.FieldSelector.Requirements = []metav1.FieldSelectorRequirement{
				{Key: "a", Operator: metav1.FieldSelectorOperator(g.one([]string{"In", "NotIn", "Exists", "Odd"})),
					Values: g.some([]string{"b", ""})}, {Key: "k", Operator: "In", Values: []string{"v"}}}
		}
		return
	}
	a.LabelSelector = &authorizationv1.LabelSelectorAttributes{RawSelector: raw}
	if g.chance(50) {
		a.LabelSelector.Requirements = []metav1.LabelSelectorRequirement{
			{Key: g.one([]string{"a", "a b", ""}), Operator: metav1.LabelSelectorOperator(g.one([]string{"In", "NotIn",
				"Exists", "Odd"})), Values: g.some([]string{"b", "b c"})}, {Key: "k", Operator: "Exists"}}
	}
}
