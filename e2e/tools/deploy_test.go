package tools

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

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/sample"
	"fauxlet/testcerts"
)

var (
	overlays   = []string{"one-node", "fleet"}
	components = []string{"certs-by-bootstrap", "certs-by-secret", "deregister", "kubelet-api-admin", "pod-volumes",
		"static-pods"}
)

// kustomize returns the manifest that kubectl kustomize renders for an overlay of deploy/ and the given components.
func kustomize(t testing.TB, c *controlplane.Plane, overlay string, components ...string) string {
	t.Helper()
	deploy, err := filepath.Abs("../../deploy")
	expect.NoError(t, err)
	dir := t.TempDir()
	relative, err := filepath.Rel(dir, deploy)
	expect.NoError(t, err)
	kustomization := map[string][]string{"resources": {filepath.Join(relative, overlay)}}
	for _, component := range components {
		kustomization["components"] = append(kustomization["components"],
			filepath.Join(relative, "components", component))
	}
	sample.WriteYAML(t, filepath.Join(dir, "kustomization.yaml"), kustomization)
	return c.KubectlPrints(t, nil, "kustomize", dir)
}

// feed runs kubectl with a manifest on its standard input. kubectl must succeed without a warning. A violation of a pod
// security standard, for example, causes a warning.
func feed(t testing.TB, c *controlplane.Plane, manifest string, args ...string) {
	t.Helper()
	if got := fed(t, c, manifest, args...); got.Status != 0 || got.Stderr != "" {
		t.Fatalf("kubectl %s: status %d, %s", strings.Join(args, " "), got.Status, got.Stderr)
	}
}

func fed(t testing.TB, c *controlplane.Plane, manifest string, args ...string) programs.Result {
	t.Helper()
	cmd := c.KubectlCommand(t, context.Background(), append(args, "-f", "-")...)
	cmd.Stdin = strings.NewReader(manifest)
	return programs.Run(t, cmd)
}

// objects returns the objects of one kind in a manifest.
func objects[T any](t testing.TB, manifest, kind string) (found []T) {
	t.Helper()
	documents := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifest)))
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return found
		}
		expect.NoError(t, err)
		object, kindOf, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
		expect.NoError(t, err)
		if kindOf.Kind == kind {
			found = append(found, object.(T))
		}
	}
}

// deployPlane returns a control plane with the controllers and the admission plugins that a StatefulSet needs. Its
// audit log records the requests of the service accounts in the namespace fauxlet. The controllers run until the
// test ends.
func deployPlane(t testing.TB, flags []string) *controlplane.Plane {
	t.Helper()
	plane := controlplane.SharedBy(t, "deploy "+strings.Join(flags, " "), func() (*controlplane.Plane, error) {
		plane, err := controlplane.Prepare(t, flags)
		if err != nil {
			return nil, err
		}
		plane.Args = slices.DeleteFunc(plane.Args,
			func(arg string) bool { return arg == "--disable-admission-plugins=ServiceAccount" })
		policy := filepath.Join(filepath.Dir(plane.Kubeconfig), "audit.yaml")
		if err := os.WriteFile(policy, []byte(auditPolicy), 0o644); err != nil {
			return nil, err
		}
		plane.Args = append(plane.Args, "--audit-policy-file="+policy, "--audit-log-path="+auditLog(plane),
			"--kubelet-preferred-address-types=InternalIP", "--enable-admission-plugins=NodeRestriction",
			"--enable-bootstrap-token-auth")
		return plane, plane.Start()
	})
	plane.StartControllerManager(t, controlplane.CertificateControllers+
		",serviceaccount-controller,root-ca-certificate-publisher-controller,"+
		"statefulset-controller,namespace-controller,garbage-collector-controller", time.Hour,
		"--root-ca-file="+plane.PKI.CAFile)
	return plane
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: ['system:serviceaccounts:fauxlet']}
`

func auditLog(c *controlplane.Plane) string {
	return filepath.Join(filepath.Dir(c.Kubeconfig), "audit.log")
}

// auditLength returns the present length of the audit log in bytes.
func auditLength(t testing.TB, c *controlplane.Plane) int {
	t.Helper()
	info, err := os.Stat(auditLog(c))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	expect.NoError(t, err)
	return int(info.Size())
}

// The function "applied" applies a manifest. Its objects are deleted when the test ends.
func applied(t testing.TB, c *controlplane.Plane, manifest string) {
	t.Helper()
	feed(t, c, manifest, "apply", "--server-side")
	t.Cleanup(func() { feed(t, c, manifest, "delete", "--ignore-not-found", "--timeout=2m") })
}

// TestDeployManifestsAreAdmitted sends each overlay to kube-apiserver, both without components and with each component.
// kube-apiserver must accept the objects without warnings.
func TestDeployManifestsAreAdmitted(t *testing.T) {
	t.Parallel()
	plane := deployPlane(t, controlplane.WithClientCertificate)
	var namespace string
	for _, overlay := range overlays {
		for _, component := range append([]string{""}, components...) {
			t.Run(overlay+"/"+component, func(t *testing.T) {
				manifest := kustomize(t, plane, overlay, strings.Fields(component)...)
				if namespace == "" {
					namespace, _, _ = strings.Cut(manifest, "\n---\n")
					feed(t, plane, namespace, "apply", "--server-side")
				}
				feed(t, plane, manifest, "apply", "--server-side", "--dry-run=server")
			})
		}
	}
	t.Cleanup(func() { feed(t, plane, namespace, "delete", "--timeout=2m") })

	spoiled := strings.Replace(kustomize(t, plane, "one-node"), "allowPrivilegeEscalation: false",
		"allowPrivilegeEscalation: true", 1)
	if got := fed(t, plane, spoiled, "apply", "--server-side", "--dry-run=server"); !strings.Contains(got.Stderr,
		`Warning: would violate PodSecurity "restricted`) {
		t.Errorf("a container that may get privileges: %+v, want a warning", got)
	}
}

// access is a right: a verb on a resource, in one namespace or (if the namespace is empty) in all namespaces.
type access struct{ verb, resource, namespace string }

// The function "granted" returns the rights that a manifest grants to the service account.
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

// The function "used" reads the part of the audit log after the given byte offset. It returns the rights that the
// service account needed for the requests in this part. The test fails if kube-apiserver refused one of these requests.
func used(t testing.TB, c *controlplane.Plane, from int) map[access]bool {
	t.Helper()
	all := map[access]bool{}
	for line := range strings.Lines(expect.File(t, auditLog(c))[from:]) {
		var event struct {
			Verb, RequestURI string
			User             struct{ Username string }
			ObjectRef        struct{ Resource, Subresource, APIGroup, Namespace string }
			ResponseStatus   struct{ Code int }
		}
		expect.NoError(t, json.Unmarshal([]byte(line), &event))
		if event.User.Username != "system:serviceaccount:fauxlet:fauxlet" {
			continue
		}
		ref := event.ObjectRef
		if event.ResponseStatus.Code == 403 {
			if !slices.Contains([]string{"configmaps", "secrets", "serviceaccounts", "services"}, ref.Resource) {
				t.Errorf("%s %s: 403", event.Verb, event.RequestURI)
			}
			continue // the component pod-volumes allows these requests
		}
		if ref.Resource == "" {
			continue // every authenticated user may read /healthz and similar paths
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

// TestDeployedPodsServeNodes applies deploy/, runs the pods of its StatefulSet, and uses their nodes as a tester
// does. The service account must use every right that it has, and kube-apiserver must not refuse any of its
// requests.
func TestDeployedPodsServeNodes(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := deployPlane(t, controlplane.WithClientCertificate)
	for _, test := range []struct {
		overlay, component string
		count              int        // number of nodes that each replica runs
		replicas           [][]string // for each replica, the names of some of its nodes
	}{
		{"one-node", "static-pods", 1, [][]string{{"fauxlet-0"}}},
		{"fleet", "deregister", 100, [][]string{{"fauxlet-0-0", "fauxlet-0-99"}, {"fauxlet-1-0", "fauxlet-1-99"}}},
	} {
		t.Run(test.overlay, func(t *testing.T) {
			from := auditLength(t, plane)
			manifest := kustomize(t, plane, test.overlay, test.component, "kubelet-api-admin")
			applied(t, plane, manifest)
			for _, set := range objects[*appsv1.StatefulSet](t, manifest, "StatefulSet") {
				if got := int(*set.Spec.Replicas); got != len(test.replicas) {
					t.Errorf("there are %d replicas", got)
				}
			}
			plane.AwaitAccess(t, controlplane.User("kubelet-client"), true)
			var replicas []*running
			for i := range test.replicas {
				replicas = append(replicas,
					runPod(t, plane, fmt.Sprintf("fauxlet-%d", i), fmt.Sprintf("127.10.250.%d", 10+i)))
			}
			t.Cleanup(func() { plane.KubectlPrints(t, nil, "delete", "nodes", "--selector=fauxlet=true") })
			for i, nodes := range test.replicas {
				tested(t, plane, replicas[i], nodes)
			}
			nodesSplit(t, plane, replicas, test.count)
			if test.component == "static-pods" {
				plane.KubectlPrints(t, nil, "wait", "--for=condition=Ready", "--timeout=1m", "--namespace=fauxlet",
					"pod/agent-fauxlet-0")
				// Delete the pod by force, because no kubelet confirms that it has stopped.
				t.Cleanup(func() {
					plane.KubectlPrints(t, nil, "delete", "pod", "agent-fauxlet-0", "--namespace=fauxlet",
						"--grace-period=0",
						"--force")
				})
			}

			tokenIsReviewed(t, plane, replicas[0])

			// After its container has restarted, a pod must continue with the same nodes.
			for i, r := range replicas {
				expect.NoError(t, r.Stop())
				if test.component == "deregister" {
					nodesSplit(t, plane, replicas[i+1:], test.count)
					continue
				}
				r.start(t)
				tested(t, plane, r, test.replicas[i])
				expect.NoError(t, r.Stop())
				plane.AwaitNode(t, test.replicas[i][0], "is not ready", controlplane.ReadyIs(v1.ConditionFalse))
			}

			// The service account needs these rights only in situations that this test does not create.
			spare := map[access]bool{}
			if test.component == "deregister" {
				spare[access{"get", "nodes", ""}] = true          // used if the Node already exists
				spare[access{"patch", "nodes/status", ""}] = true // used if the node runs longer
			}
			rightsAreUsed(t, plane, from, manifest, spare)
		})
	}
}

// rightsAreUsed checks that the service account used each right that the manifest grants, and no other. It reads the
// part of the audit log after the given byte offset. The test does not create the situations that need the rights in
// spare.
func rightsAreUsed(t testing.TB, c *controlplane.Plane, from int, manifest string, spare map[access]bool) {
	t.Helper()
	granted, used := granted(t, manifest), used(t, c, from)
	for what := range used {
		if !granted[what] {
			t.Errorf("kube-apiserver allowed %+v, which the manifests do not grant", what)
		}
	}
	for what := range granted {
		// The watches of an older kube-apiserver do not begin with a list, so the node also needs the permission to
		// list.
		list := what.verb == "list" && (what.resource == "nodes" || what.resource == "pods")
		if !used[what] && !spare[what] && !list {
			t.Errorf("the manifests grant %+v, which is not needed: %v", what,
				slices.SortedFunc(maps.Keys(used), func(a, b access) int {
					return strings.Compare(a.resource+a.verb, b.resource+b.verb)
				}))
		}
	}
}

// nodesSplit waits until exactly the nodes of the given replicas exist. Each node must be Ready, and only its
// replica must serve it, on a port that no other node has.
func nodesSplit(t testing.TB, c *controlplane.Plane, replicas []*running, count int) {
	t.Helper()
	expect.Eventually(t, time.Minute, fmt.Sprintf("%d replicas have %d nodes each", len(replicas), count),
		func() string {
			list, err := c.Client.CoreV1().Nodes().List(context.Background(),
				metav1.ListOptions{LabelSelector: "fauxlet=true"})
			expect.NoError(t, err)
			at := map[string]string{} // maps the address of a Node to its name
			for i := range list.Items {
				node := &list.Items[i]
				replica := slices.IndexFunc(replicas, func(r *running) bool {
					return slices.Contains(node.Status.Addresses,
						v1.NodeAddress{Type: v1.NodeInternalIP, Address: r.ip})
				})
				if replica < 0 {
					return "there is " + node.Name
				}
				if pod := replicas[replica].pod.Name; node.Name != pod && !strings.HasPrefix(node.Name, pod+"-") {
					t.Fatalf("node %s has the address of pod %s", node.Name, pod)
				}
				if unready := controlplane.ReadyIs(v1.ConditionTrue)(node); unready != "" {
					return node.Name + ": " + unready
				}
				place := fmt.Sprintf("%s:%d", replicas[replica].ip, node.Status.DaemonEndpoints.KubeletEndpoint.Port)
				if other := at[place]; other != "" {
					t.Fatalf("nodes %s and %s have the same address %s", node.Name, other, place)
				}
				at[place] = node.Name
			}
			if len(at) != len(replicas)*count {
				return fmt.Sprintf("there are %d", len(at))
			}
			for _, r := range replicas {
				for i := range count {
					if place := fmt.Sprintf("%s:%d", r.ip, 10250+i); at[place] == "" {
						return "no node is at " + place
					}
				}
			}
			return ""
		})
}

// tokenIsReviewed sends a request with the token of a service account without rights. The stand-in kubelet
// authenticates the token with a TokenReview, and refuses the request.
func tokenIsReviewed(t testing.TB, c *controlplane.Plane, r *running) {
	t.Helper()
	request, err := c.Client.CoreV1().ServiceAccounts("fauxlet").CreateToken(context.Background(), "default",
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	expect.NoError(t, err)
	(&kubelet.Kubelet{Secure: r.ip + ":10250"}).Expect(t, "/pods",
		kubelet.Credential{Token: request.Status.Token}, 403, "")
}

// The function "tested" uses nodes as a tester does: on each node it creates a pod, reads the log of the pod, runs a
// command in it, and deletes the pod.
func tested(t testing.TB, c *controlplane.Plane, r *running, nodes []string) {
	t.Helper()
	for _, name := range nodes {
		node := c.AwaitNode(t, name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
		if !slices.Contains(node.Status.Addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: r.ip}) ||
			node.Labels["fauxlet"] != "true" {
			t.Errorf("node %s has addresses %v and labels %v", name, node.Status.Addresses, node.Labels)
		}
		if !slices.ContainsFunc(node.Spec.Taints,
			func(taint v1.Taint) bool { return taint.ToString() == "fauxlet=true:NoSchedule" }) {
			t.Errorf("node %s has taints %v", name, node.Spec.Taints)
		}
		c.CreatePod(t, controlplane.BoundTo(name, "on-"+name))
	}
	for _, name := range nodes {
		pod := "on-" + name
		c.AwaitPod(t, pod, "runs", controlplane.PhaseIs(v1.PodRunning))
		c.KubectlPrints(t, []string{"HTTP/1.1"}, "logs", pod, "--tail=1")
		c.KubectlPrints(t, []string{pod}, "exec", pod, "--", "hostname")
		c.KubectlPrints(t, nil, "delete", "pod", pod)
		expect.Eventually(t, time.Minute, "the Lease of "+name+" is renewed", func() string {
			lease, err := c.Client.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(context.Background(), name,
				metav1.GetOptions{})
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

// TestDeployedPodsGetCertificates runs deploy/ with certificates from a Secret, and then with certificates from the
// cluster.
func TestDeployedPodsGetCertificates(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := deployPlane(t, controlplane.VerifyingServingCertificates)
	t.Run("by-secret", func(t *testing.T) { certificatesBySecret(t, plane) })
	t.Run("by-bootstrap", func(t *testing.T) { certificatesByBootstrap(t, plane, "one-node", 1, "fauxlet-0") })
	t.Run("fleet-by-bootstrap", func(t *testing.T) {
		certificatesByBootstrap(t, plane, "fleet", 5, "fauxlet-0-0",
			"fauxlet-0-4")
	})
}

// certificatesBySecret checks that the nodes serve with the certificate in one Secret, and verify client
// certificates with the CA in another Secret.
func certificatesBySecret(t *testing.T, plane *controlplane.Plane) {
	const ip = "127.10.250.3"
	applied(t, plane, kustomize(t, plane, "one-node", "certs-by-secret", "kubelet-api-admin"))
	cert, key, err := plane.PKI.Pair("fauxlet-serving",
		func() (*testcerts.Pair, error) { return plane.PKI.CA.Server("fauxlet", []string{ip}) })
	expect.NoError(t, err)
	plane.KubectlPrints(t, nil, "--namespace=fauxlet", "create", "secret", "tls", "fauxlet-serving", "--cert="+cert,
		"--key="+key)
	plane.KubectlPrints(t, nil, "--namespace=fauxlet", "create", "secret", "generic", "fauxlet-client-ca",
		"--from-file="+plane.PKI.CAFile)
	plane.AwaitAccess(t, controlplane.User("kubelet-client"), true)
	r := runPod(t, plane, "fauxlet-0", ip)
	t.Cleanup(func() { plane.KubectlPrints(t, nil, "delete", "nodes", "--selector=fauxlet=true") })
	tested(t, plane, r, []string{"fauxlet-0"})
}

// certificatesByBootstrap checks that each of the nodes obtains its own client and serving certificate, and that the
// service account sends no requests.
func certificatesByBootstrap(t *testing.T, plane *controlplane.Plane, overlay string, count int, nodes ...string) {
	from := auditLength(t, plane)
	manifest := kustomize(t, plane, overlay, "certs-by-bootstrap", "kubelet-api-admin")
	if count > 1 {
		// Use fewer nodes than the manifest. kube-controller-manager would need a minute and a half to issue the
		// certificates of 100 nodes, because these are 200 requests.
		fewer := strings.Replace(manifest, "- --nodes=100\n", fmt.Sprintf("- --nodes=%d\n", count), 1)
		if fewer == manifest {
			t.Fatalf("the manifest does not divide the nodes into slices of 100:\n%s", manifest)
		}
		manifest = fewer
	}
	applied(t, plane, manifest)
	if granted := granted(t, manifest); len(granted) != 0 {
		t.Errorf("the service account has the rights %v, want none", granted)
	}
	const id, secret = "fauxle", "0123456789abcdef"
	plane.KubectlPrints(t, nil, "--namespace=kube-system", "create", "secret", "generic", "bootstrap-token-"+id,
		"--type=bootstrap.kubernetes.io/token",
		"--from-literal=token-id="+id, "--from-literal=token-secret="+secret,
		"--from-literal=usage-bootstrap-authentication=true",
		"--from-literal=auth-extra-groups=system:bootstrappers:fauxlet")
	t.Cleanup(func() {
		plane.KubectlPrints(t, nil, "--namespace=kube-system", "delete", "secret", "bootstrap-token-"+id)
	})
	config := clientcmdapi.NewConfig()
	config.Clusters["cluster"] = &clientcmdapi.Cluster{Server: "https://kubernetes.default.svc",
		CertificateAuthority: "/etc/fauxlet-client-ca/ca.crt"}
	config.AuthInfos["bootstrap"] = &clientcmdapi.AuthInfo{Token: id + "." + secret}
	config.Contexts["bootstrap"] = &clientcmdapi.Context{Cluster: "cluster", AuthInfo: "bootstrap"}
	config.CurrentContext = "bootstrap"
	file := filepath.Join(t.TempDir(), "bootstrap.conf")
	expect.NoError(t, clientcmd.WriteToFile(*config, file))
	plane.KubectlPrints(t, nil, "--namespace=fauxlet", "create", "secret", "generic", "fauxlet-bootstrap",
		"--from-file=kubeconfig="+file)
	plane.AwaitAccess(t, controlplane.User("kubelet-client"), true)

	r := runPod(t, plane, "fauxlet-0", "127.10.250.4")
	t.Cleanup(func() {
		plane.KubectlPrints(t, nil, "delete", "nodes", "--selector=fauxlet=true")
		plane.KubectlPrints(t, nil, "delete", "certificatesigningrequests", "--all")
	})
	approveServing(t, plane, count)
	tested(t, plane, r, nodes)
	nodesSplit(t, plane, []*running{r}, count)
	if used := used(t, plane, from); len(used) != 0 {
		t.Errorf("the service account used the rights %v, want no requests", used)
	}
	if _, err := plane.Client.RbacV1().ClusterRoles().Get(context.Background(), "fauxlet",
		metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a role exists: %v", err)
	}
}

// approveServing approves requests for serving certificates with "kubectl certificate approve" until the given number
// of nodes have a serving certificate.
func approveServing(t testing.TB, c *controlplane.Plane, nodes int) {
	t.Helper()
	expect.Eventually(t, 2*time.Minute, fmt.Sprintf("%d nodes have serving certificates", nodes), func() string {
		list, err := c.Client.CertificatesV1().CertificateSigningRequests().List(context.Background(),
			metav1.ListOptions{FieldSelector: "spec.signerName=" + controlplane.ServingSigner})
		expect.NoError(t, err)
		issued := map[string]bool{}
		var pending []string
		for _, request := range list.Items {
			if len(request.Status.Conditions) == 0 {
				pending = append(pending, request.Name)
			}
			if user := controlplane.ParseRequest(t, request).Subject.CommonName; request.Spec.Username != user {
				t.Fatalf("%s requests a certificate for %s", request.Spec.Username, user)
			} else if len(request.Status.Certificate) != 0 {
				issued[user] = true
			}
		}
		if len(pending) != 0 {
			c.KubectlPrints(t, nil, append([]string{"certificate", "approve"}, pending...)...)
		}
		if len(issued) != nodes {
			return fmt.Sprintf("%d have", len(issued))
		}
		return ""
	})
}
