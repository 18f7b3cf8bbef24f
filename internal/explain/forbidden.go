package explain

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/authchain"
	"fauxlet/internal/shellword"
)

// authorizationRemedies returns the remedies for a request that got status 403. The role that allows only this request
// comes before system:kubelet-api-admin. No role is bound to the identity of a node, because every process that can
// read the files of one node would then have access to all nodes. The names of new objects are derived from the user
// and the request, and are not names of Facts.Policy, so the commands do not fail because an object exists.
func authorizationRemedies(d *authchain.Report, facts Facts) []Remedy {
	check, name := &d.Authorization[0], d.User.Name
	switch {
	case check.Verb == "":
		return fill(table().Other["no verb"], "{method}", d.Method)
	case isNode(d.User):
		return fill(table().Other["node identity"], "{user}", strconv.Quote(name))
	}
	all := append(narrow(check, roleBindings(d, facts)), table().Other["bind to the whole API"]...)
	switch {
	case name == user.Anonymous:
		all = slices.Concat(credentialRemedies(d, facts), table().Other["anonymous denied"])
	case check.Subresource == "statusz" || check.Subresource == "checkpoint": // not part of system:kubelet-api-admin
		all = narrow(check, roleBindings(d, facts))
	}
	ttl := "30s by default"
	if facts.Config != nil {
		ttl = facts.Config.Kubelet.Authorization.Webhook.CacheUnauthorizedTTL.Duration.String()
	}
	subject := "--user=" + name
	if namespace, account, err := serviceaccount.SplitUsername(name); err == nil {
		subject = "--serviceaccount=" + namespace + ":" + account
	}
	object := objectName(name)
	only := facts.freeName(fmt.Sprintf("%s:%s-%s", object, check.Verb, strings.ReplaceAll(resource(check), "/", "-")))
	all = fill(all, "{user}", strconv.Quote(name), "{only}", shellword.Quote(only),
		"{admin}", shellword.Quote(facts.freeName(object+":kubelet-api-admin")), "{subject}", shellword.Quote(subject),
		"{verb}", check.Verb, "{resource}", resource(check), "{ttl}", ttl, "{can-i}", canI(d),
		"{role-bindings}", strings.Join(roleBindings(d, facts), ", "))
	return append(all, table().Other["authorization off"]...)
}

// narrow returns the remedy that allows only what the check denied. If there are RoleBindings that were meant to allow
// it, the summary names them.
func narrow(check *authchain.Check, roleBindings []string) []Remedy {
	all := slices.Clone(table().Other["bind to this only"])
	if check.Subresource == "proxy" {
		all = slices.Clone(table().Other["bind to nodes/proxy only"])
	}
	if len(roleBindings) > 0 {
		all[0].Summary = table().Other["role binding"][0].Summary
	}
	return all
}

// roleBindings returns the RoleBindings, as namespace/name, that would allow the request if they were
// ClusterRoleBindings.
func roleBindings(d *authchain.Report, facts Facts) []string {
	if facts.Policy == nil {
		return nil
	}
	var all []string
	for i := range d.Authorization { // any of the checks would allow the request
		c := &d.Authorization[i]
		all = append(all, facts.Policy.IneffectiveRoleBindings(authorizationv1.SubjectAccessReviewSpec{
			User: d.User.Name, Groups: d.User.Groups, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: c.Verb, Version: "v1", Resource: c.Resource, Subresource: c.Subresource, Name: c.Name}})...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// isNode reports whether a user is a node, or a machine that uses a bootstrap token to become a node.
func isNode(u *authchain.UserInfo) bool {
	return strings.HasPrefix(u.Name, "system:node:") || strings.HasPrefix(u.Name, "system:bootstrap:") ||
		slices.Contains(u.Groups, user.NodesGroup) || slices.Contains(u.Groups, "system:bootstrappers")
}

// canI returns a kubectl auth can-i command that repeats the first authorization check of a Decision.
func canI(d *authchain.Report) string {
	c := &d.Authorization[0]
	words := []string{"kubectl", "auth", "can-i", c.Verb, c.Resource + "/" + c.Name, "--subresource=" + c.Subresource,
		"--as=" + d.User.Name}
	for _, group := range d.User.Groups {
		words = append(words, "--as-group="+group)
	}
	return shellword.Join(words)
}

// maxObjectName limits the part of an object's name that comes from a user name, in bytes.
const maxObjectName = 100

// objectName returns the beginning of the names of a user's ClusterRole and ClusterRoleBinding: NAMESPACE:NAME for a
// service account, and the user name for other users. Two users have two names: if the user name contains characters
// that the name of an object should not contain, or is very long, a digest of the user name is added.
func objectName(userName string) string {
	if namespace, account, err := serviceaccount.SplitUsername(userName); err == nil {
		return namespace + ":" + account
	}
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@", r) {
			return r
		}
		return '-'
	}, strings.TrimPrefix(userName, "system:"))
	name = strings.TrimLeft(name, "-.")
	if name != userName || len(name) > maxObjectName {
		sum := sha256.Sum256([]byte(userName))
		name = strings.TrimLeft(name[:min(len(name), maxObjectName)]+"-"+hex.EncodeToString(sum[:4]), "-")
	}
	return name
}

// freeName returns the given name of a ClusterRole or ClusterRoleBinding, followed by a number if the Policy has an
// object of this name.
func (f Facts) freeName(base string) string {
	name := base
	for n := 2; f.Policy != nil && f.Policy.Taken(name); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	return name
}
