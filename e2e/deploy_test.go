package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/testcerts"
)

var (
	overlays   = []string{"one-node", "fleet"}
	components = []string{"certs-by-bootstrap", "certs-by-secret", "deregister", "kubelet-api-admin", "static-pods"}
)

// kustomize renders an overlay of deploy/ with components.
func (c *controlPlane) kustomize(t testing.TB, overlay string, components ...string) string {
	t.Helper()
	deploy, err := filepath.Abs("../deploy")
	must(t, err)
	dir := t.TempDir()
	relative, err := filepath.Rel(dir, deploy)
	must(t, err)
	kustomization := map[string][]string{"resources": {filepath.Join(relative, overlay)}}
	for _, component := range components {
		kustomization["components"] = append(kustomization["components"], filepath.Join(relative, "components", component))
	}
	writeYAML(t, filepath.Join(dir, "kustomization.yaml"), kustomization)
	return c.prints(t, nil, "kustomize", dir)
}

// feed runs kubectl with a manifest on its standard input, and wants success without a warning, such as those of pod
// security.
func (c *controlPlane) feed(t testing.TB, manifest string, args ...string) {
	t.Helper()
	if got := c.fed(t, manifest, args...); got.status != 0 || got.stderr != "" {
		t.Fatalf("kubectl %s: status %d, %s", strings.Join(args, " "), got.status, got.stderr)
	}
}

func (c *controlPlane) fed(t testing.TB, manifest string, args ...string) said {
	t.Helper()
	cmd := c.kubectlCommand(t, context.Background(), append(args, "-f", "-")...)
	cmd.Stdin = strings.NewReader(manifest)
	return run(t, cmd)
}

// objects are those of a manifest that are of a kind.
func objects[T any](t testing.TB, manifest, kind string) (found []T) {
	t.Helper()
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifest)))
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return found
		}
		must(t, err)
		object, kindOf, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
		must(t, err)
		if kindOf.Kind == kind {
			found = append(found, object.(T))
		}
	}
}

// deployPlanes are control planes for deploy/, by their kubelet flags.
var (
	deployPlanes  = map[string]*controlPlane{}
	deployPlaneMu sync.Mutex
)

// deployPlane is a control plane that has the controllers and the admission by which a StatefulSet's pods are made, and that
// tells in its audit log what service accounts have asked. It is shared by the tests of deploy/; the controllers run for
// one test.
func deployPlane(t testing.TB, flags []string) *controlPlane {
	t.Helper()
	key := strings.Join(flags, " ")
	deployPlaneMu.Lock()
	defer deployPlaneMu.Unlock()
	plane := deployPlanes[key]
	if plane == nil {
		var err error
		plane, err = makeControlPlane(t, flags)
		must(t, err)
		plane.args = slices.DeleteFunc(plane.args, func(arg string) bool { return arg == "--disable-admission-plugins=ServiceAccount" })
		policy := filepath.Join(filepath.Dir(plane.kubeconfig), "audit.yaml")
		must(t, os.WriteFile(policy, []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- {level: Metadata, userGroups: ['system:serviceaccounts:fauxlet']}\n"), 0o644))
		plane.args = append(plane.args, "--audit-policy-file="+policy, "--audit-log-path="+plane.auditLog(),
			"--kubelet-preferred-address-types=InternalIP", "--enable-admission-plugins=NodeRestriction", "--enable-bootstrap-token-auth")
		must(t, plane.start())
		deployPlanes[key] = plane
	}
	plane.startControllerManager(t, certificateControllers+",serviceaccount-controller,root-ca-certificate-publisher-controller,"+
		"statefulset-controller,namespace-controller,garbage-collector-controller", time.Hour, "--root-ca-file="+plane.pki.caFile)
	return plane
}

func (c *controlPlane) auditLog() string {
	return filepath.Join(filepath.Dir(c.kubeconfig), "audit.log")
}

// applied applies a manifest for the length of the test.
func (c *controlPlane) applied(t testing.TB, manifest string) {
	t.Helper()
	c.feed(t, manifest, "apply", "--server-side")
	t.Cleanup(func() { c.feed(t, manifest, "delete", "--ignore-not-found", "--timeout=2m") })
}

// TestDeployIsAdmitted has the apiserver look at each overlay, by itself and with each component.
func TestDeployIsAdmitted(t *testing.T) {
	plane := deployPlane(t, certified)
	var namespace string
	for _, overlay := range overlays {
		for _, component := range append([]string{""}, components...) {
			t.Run(overlay+"/"+component, func(t *testing.T) {
				manifest := plane.kustomize(t, overlay, strings.Fields(component)...)
				if namespace == "" {
					namespace, _, _ = strings.Cut(manifest, "\n---\n")
					plane.feed(t, namespace, "apply", "--server-side")
				}
				plane.feed(t, manifest, "apply", "--server-side", "--dry-run=server")
			})
		}
	}
	t.Cleanup(func() { plane.feed(t, namespace, "delete", "--timeout=2m") })

	spoiled := strings.Replace(plane.kustomize(t, "one-node"), "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", 1)
	if got := plane.fed(t, spoiled, "apply", "--server-side", "--dry-run=server"); !strings.Contains(got.stderr, `Warning: would violate PodSecurity "restricted`) {
		t.Errorf("a container that may get privileges: %+v, want a warning", got)
	}
}

// access is a verb on a resource, in a namespace or in all.
type access struct{ verb, resource, namespace string }

// granted is what the manifest lets the service account do.
func granted(t testing.TB, manifest string) map[access]bool {
	t.Helper()
	all := map[access]bool{}
	add := func(rules []rbacv1.PolicyRule, namespace string) {
		for _, rule := range rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						all[access{verb, strings.TrimPrefix(group+"/"+resource, "/"), namespace}] = true
					}
				}
			}
		}
	}
	for _, role := range objects[*rbacv1.ClusterRole](t, manifest, "ClusterRole") {
		add(role.Rules, "")
	}
	for _, role := range objects[*rbacv1.Role](t, manifest, "Role") {
		add(role.Rules, role.Namespace)
	}
	return all
}

// used is what the service account has asked for since a place of the audit log; what was refused fails the test.
func (c *controlPlane) used(t testing.TB, from int) map[access]bool {
	t.Helper()
	all := map[access]bool{}
	for line := range strings.Lines(content(t, c.auditLog())[from:]) {
		var event struct {
			Verb, RequestURI string
			User             struct{ Username string }
			ObjectRef        struct{ Resource, Subresource, APIGroup, Namespace string }
			ResponseStatus   struct{ Code int }
		}
		must(t, json.Unmarshal([]byte(line), &event))
		if event.User.Username != "system:serviceaccount:fauxlet:fauxlet" {
			continue
		}
		if event.ResponseStatus.Code == 403 {
			t.Errorf("%s %s: 403", event.Verb, event.RequestURI)
		}
		ref := event.ObjectRef
		if ref.Resource == "" {
			continue // whoever is known may ask for /healthz and the like
		}
		resource := strings.TrimPrefix(ref.APIGroup+"/"+ref.Resource, "/")
		if ref.Subresource != "" {
			resource += "/" + ref.Subresource
		}
		if ref.Resource != "leases" {
			ref.Namespace = ""
		}
		all[access{event.Verb, resource, ref.Namespace}] = true
	}
	return all
}

// TestDeployRuns applies deploy/, runs the pods that a StatefulSet makes of it, and does with their nodes what a tester does.
// The service account may do what it does, and no more: all that it asks is allowed, and it asks for all that is.
func TestDeployRuns(t *testing.T) {
	t.Parallel() // it waits most of the time
	plane := deployPlane(t, certified)
	for _, test := range []struct {
		overlay, component string
		count              int        // of the nodes of each replica
		replicas           [][]string // some of the nodes of each
	}{
		{"one-node", "static-pods", 1, [][]string{{"fauxlet-0"}}},
		{"fleet", "deregister", 100, [][]string{{"fauxlet-0-0", "fauxlet-0-99"}, {"fauxlet-1-0", "fauxlet-1-99"}}},
	} {
		t.Run(test.overlay, func(t *testing.T) {
			from := 0
			if _, err := os.Stat(plane.auditLog()); err == nil {
				from = len(content(t, plane.auditLog()))
			}
			manifest := plane.kustomize(t, test.overlay, test.component, "kubelet-api-admin")
			plane.applied(t, manifest)
			for _, set := range objects[*appsv1.StatefulSet](t, manifest, "StatefulSet") {
				if got := int(*set.Spec.Replicas); got != len(test.replicas) {
					t.Errorf("there are %d replicas", got)
				}
			}
			plane.awaitAccess(t, userNamed("kubelet-client"), true)
			var replicas []*running
			for i := range test.replicas {
				replicas = append(replicas, plane.runPod(t, fmt.Sprintf("fauxlet-%d", i), fmt.Sprintf("127.10.250.%d", 10+i)))
			}
			t.Cleanup(func() { plane.prints(t, nil, "delete", "nodes", "--selector=fauxlet=true") })
			for i, nodes := range test.replicas {
				plane.tested(t, replicas[i], nodes)
			}
			plane.slices(t, replicas, test.count)
			if test.component == "static-pods" {
				plane.prints(t, nil, "wait", "--for=condition=Ready", "--timeout=1m", "--namespace=fauxlet", "pod/agent-fauxlet-0")
				// Nobody is there in the end to confirm that it has stopped.
				t.Cleanup(func() {
					plane.prints(t, nil, "delete", "pod", "agent-fauxlet-0", "--namespace=fauxlet", "--grace-period=0", "--force")
				})
			}

			// A client's token is reviewed.
			token, err := clientToken(plane)
			must(t, err)
			(&kubelet{secure: replicas[0].ip + ":10250"}).wants(t, "/pods", identity{token: token}, 403, "")

			// The next container of the pod finds its nodes there.
			for i, r := range replicas {
				must(t, r.stop())
				if test.component == "deregister" {
					plane.slices(t, replicas[i+1:], test.count)
					continue
				}
				r.start(t)
				plane.tested(t, r, test.replicas[i])
				must(t, r.stop())
				plane.awaitNode(t, test.replicas[i][0], "is not ready", readyIs(v1.ConditionFalse))
			}

			// What is there for another reason than that it is asked for here.
			spare := map[access]bool{}
			if test.component == "deregister" {
				spare[access{"get", "nodes", ""}] = true          // for a Node that is there already
				spare[access{"patch", "nodes/status", ""}] = true // for one that stays longer, or is
			}
			for _, resource := range []string{"nodes", "pods"} {
				spare[access{"list", resource, ""}] = true // for an older apiserver, whose watches do not begin with a list
			}
			granted, used := granted(t, manifest), plane.used(t, from)
			for what := range used {
				if !granted[what] {
					t.Errorf("%+v is not in the manifests, and was allowed", what)
				}
			}
			for what := range granted {
				if !used[what] && !spare[what] {
					t.Errorf("%+v is allowed, and nobody needs it: %v", what, slices.SortedFunc(maps.Keys(used), func(a, b access) int { return strings.Compare(a.resource+a.verb, b.resource+b.verb) }))
				}
			}
		})
	}
}

// slices waits until there are the nodes of these replicas and no others: each is Ready, and nowhere but at its replica, with
// a port of its own there.
func (c *controlPlane) slices(t testing.TB, replicas []*running, count int) {
	t.Helper()
	eventually(t, time.Minute, fmt.Sprintf("%d replicas have %d nodes each", len(replicas), count), func() string {
		list, err := c.client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{LabelSelector: "fauxlet=true"})
		must(t, err)
		at := map[string]string{} // which node is where
		for i := range list.Items {
			node := &list.Items[i]
			replica := slices.IndexFunc(replicas, func(r *running) bool {
				return slices.Contains(node.Status.Addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: r.ip})
			})
			if replica < 0 {
				return "there is " + node.Name
			}
			if pod := replicas[replica].pod.Name; node.Name != pod && !strings.HasPrefix(node.Name, pod+"-") {
				t.Fatalf("node %s is at pod %s", node.Name, pod)
			}
			if unready := readyIs(v1.ConditionTrue)(node); unready != "" {
				return node.Name + ": " + unready
			}
			place := fmt.Sprintf("%s:%d", replicas[replica].ip, node.Status.DaemonEndpoints.KubeletEndpoint.Port)
			if other := at[place]; other != "" {
				t.Fatalf("%s and %s are at %s", node.Name, other, place)
			}
			at[place] = node.Name
		}
		if len(at) != len(replicas)*count {
			return fmt.Sprintf("there are %d", len(at))
		}
		for _, r := range replicas {
			for i := range count {
				if place := fmt.Sprintf("%s:%d", r.ip, 10250+i); at[place] == "" {
					return "nobody is at " + place
				}
			}
		}
		return ""
	})
}

// clientToken is that of a service account which may nothing.
func clientToken(plane *controlPlane) (string, error) {
	request, err := plane.client.CoreV1().ServiceAccounts("fauxlet").CreateToken(context.Background(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return request.Status.Token, nil
}

// tested does with nodes what a tester does: a pod on each, its log, a command in it, and its end.
func (c *controlPlane) tested(t testing.TB, r *running, nodes []string) {
	t.Helper()
	for _, name := range nodes {
		node := c.awaitNode(t, name, "is Ready", readyIs(v1.ConditionTrue))
		if !slices.Contains(node.Status.Addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: r.ip}) || node.Labels["fauxlet"] != "true" {
			t.Errorf("node %s has addresses %v and labels %v", name, node.Status.Addresses, node.Labels)
		}
		if !slices.ContainsFunc(node.Spec.Taints, func(taint v1.Taint) bool { return taint.ToString() == "fauxlet=true:NoSchedule" }) {
			t.Errorf("node %s has taints %v", name, node.Spec.Taints)
		}
		c.create(t, boundTo(name, "on-"+name))
	}
	for _, name := range nodes {
		pod := "on-" + name
		c.awaitPod(t, pod, "runs", phaseIs(v1.PodRunning))
		c.prints(t, []string{"HTTP/1.1"}, "logs", pod, "--tail=1")
		c.prints(t, []string{pod}, "exec", pod, "--", "hostname")
		c.prints(t, nil, "delete", "pod", pod)
		eventually(t, time.Minute, "the Lease of "+name+" is renewed", func() string {
			lease, err := c.client.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(context.Background(), name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			if !lease.Spec.RenewTime.After(lease.CreationTimestamp.Add(5 * time.Second)) {
				return lease.Spec.RenewTime.String()
			}
			return ""
		})
	}
}

// TestDeployCertificates: certificates by Secret, and then by bootstrap. It has a control plane of its own, and one namespace there.
func TestDeployCertificates(t *testing.T) {
	t.Parallel() // it waits most of the time
	plane := deployPlane(t, verifying)
	t.Run("by-secret", func(t *testing.T) { certificatesBySecret(t, plane) })
	t.Run("by-bootstrap", func(t *testing.T) { certificatesByBootstrap(t, plane, "one-node", 1, "fauxlet-0") })
	t.Run("fleet-by-bootstrap", func(t *testing.T) { certificatesByBootstrap(t, plane, "fleet", 5, "fauxlet-0-0", "fauxlet-0-4") })
}

// certificatesBySecret: the pair of a Secret is served, and the CA of another tells who connects.
func certificatesBySecret(t *testing.T, plane *controlPlane) {
	const ip = "127.10.250.3"
	plane.applied(t, plane.kustomize(t, "one-node", "certs-by-secret", "kubelet-api-admin"))
	cert, key, err := plane.pki.pair("fauxlet-serving", func() (*testcerts.Pair, error) { return plane.pki.ca.Server("fauxlet", []string{ip}) })
	must(t, err)
	plane.prints(t, nil, "--namespace=fauxlet", "create", "secret", "tls", "fauxlet-serving", "--cert="+cert, "--key="+key)
	plane.prints(t, nil, "--namespace=fauxlet", "create", "secret", "generic", "fauxlet-client-ca", "--from-file="+plane.pki.caFile)
	plane.awaitAccess(t, userNamed("kubelet-client"), true)
	r := plane.runPod(t, "fauxlet-0", ip)
	t.Cleanup(func() { plane.prints(t, nil, "delete", "nodes", "--selector=fauxlet=true") })
	plane.tested(t, r, []string{"fauxlet-0"})
}

// certificatesByBootstrap: each of count nodes has its own identity and serving certificate, and the service account has
// asked for nothing.
func certificatesByBootstrap(t *testing.T, plane *controlPlane, overlay string, count int, nodes ...string) {
	from := 0
	if _, err := os.Stat(plane.auditLog()); err == nil {
		from = len(content(t, plane.auditLog()))
	}
	manifest := plane.kustomize(t, overlay, "certs-by-bootstrap", "kubelet-api-admin")
	if count > 1 {
		// The kube-controller-manager has its time with requests: 200 of them take it a minute and a half.
		fewer := strings.Replace(manifest, "- --nodes=100\n", fmt.Sprintf("- --nodes=%d\n", count), 1)
		if fewer == manifest {
			t.Fatalf("slices are not of 100 nodes:\n%s", manifest)
		}
		manifest = fewer
	}
	plane.applied(t, manifest)
	if granted := granted(t, manifest); len(granted) != 0 {
		t.Errorf("the service account may %v", granted)
	}
	const id, secret = "fauxle", "0123456789abcdef"
	plane.prints(t, nil, "--namespace=kube-system", "create", "secret", "generic", "bootstrap-token-"+id, "--type=bootstrap.kubernetes.io/token",
		"--from-literal=token-id="+id, "--from-literal=token-secret="+secret, "--from-literal=usage-bootstrap-authentication=true",
		"--from-literal=auth-extra-groups=system:bootstrappers:fauxlet")
	t.Cleanup(func() { plane.prints(t, nil, "--namespace=kube-system", "delete", "secret", "bootstrap-token-"+id) })
	config := clientcmdapi.NewConfig()
	config.Clusters["cluster"] = &clientcmdapi.Cluster{Server: "https://kubernetes.default.svc", CertificateAuthority: "/etc/fauxlet-client-ca/ca.crt"}
	config.AuthInfos["bootstrap"] = &clientcmdapi.AuthInfo{Token: id + "." + secret}
	config.Contexts["bootstrap"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "bootstrap"}
	config.CurrentContext = "bootstrap"
	file := filepath.Join(t.TempDir(), "bootstrap.conf")
	must(t, clientcmd.WriteToFile(*config, file))
	plane.prints(t, nil, "--namespace=fauxlet", "create", "secret", "generic", "fauxlet-bootstrap", "--from-file=kubeconfig="+file)
	plane.awaitAccess(t, userNamed("kubelet-client"), true)

	r := plane.runPod(t, "fauxlet-0", "127.10.250.4")
	t.Cleanup(func() {
		plane.prints(t, nil, "delete", "nodes", "--selector=fauxlet=true")
		plane.prints(t, nil, "delete", "certificatesigningrequests", "--all")
	})
	plane.approveServing(t, count)
	plane.tested(t, r, nodes)
	plane.slices(t, []*running{r}, count)
	if used := plane.used(t, from); len(used) != 0 {
		t.Errorf("the service account has asked for %v", used)
	}
	if _, err := plane.client.RbacV1().ClusterRoles().Get(context.Background(), "fauxlet", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("there is a role for it: %v", err)
	}
}

// approveServing approves what is asked for, as the component says, until so many nodes have a serving certificate of their own.
func (c *controlPlane) approveServing(t testing.TB, nodes int) {
	t.Helper()
	eventually(t, 2*time.Minute, fmt.Sprintf("%d nodes have serving certificates", nodes), func() string {
		list, err := c.client.CertificatesV1().CertificateSigningRequests().List(context.Background(), metav1.ListOptions{FieldSelector: "spec.signerName=" + servingSigner})
		must(t, err)
		issued := map[string]bool{}
		var pending []string
		for _, request := range list.Items {
			if len(request.Status.Conditions) == 0 {
				pending = append(pending, request.Name)
			}
			if user := requested(t, request).Subject.CommonName; request.Spec.Username != user {
				t.Fatalf("%s asks for a certificate of %s", request.Spec.Username, user)
			} else if len(request.Status.Certificate) != 0 {
				issued[user] = true
			}
		}
		if len(pending) != 0 {
			c.prints(t, nil, append([]string{"certificate", "approve"}, pending...)...)
		}
		if len(issued) != nodes {
			return fmt.Sprintf("%d have", len(issued))
		}
		return ""
	})
}
