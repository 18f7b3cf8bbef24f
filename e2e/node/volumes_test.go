package node

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
)

// volumesManifest has a pod with all kinds of volumes that fauxlet mounts, and the objects to which the pod refers.
const volumesManifest = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, namespace: default}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: default}
data: {color: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: db, namespace: default}
stringData: {password: s3cret-pw}
---
apiVersion: v1
kind: Secret
metadata: {name: other, namespace: default}
stringData: {password: s3cret-of-another-node}
---
apiVersion: v1
kind: Pod
metadata: {name: volumes, namespace: default, labels: {app: web}}
spec:
  serviceAccountName: robot
  containers:
  - name: app
    image: busybox
    envFrom:
    - configMapRef: {name: settings}
    env:
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}
    volumeMounts: &mounts
    - {name: config, mountPath: /config}
    - {name: secret, mountPath: /secret}
    - {name: fields, mountPath: /fields}
    - {name: access, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
    - {name: scratch, mountPath: /scratch}
  - {name: second, image: busybox, volumeMounts: *mounts}
  volumes:
  - {name: config, configMap: {name: settings}}
  - {name: secret, secret: {secretName: db, defaultMode: 0400}}
  - {name: fields, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  - name: access
    projected:
      sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: settings, items: [{key: color, path: color}]}
      - secret: {name: db, items: [{key: password, path: password}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
  - {name: scratch, emptyDir: {}}
`

const volumesScript = `cat /config/color /secret/password /fields/labels
cd /var/run/secrets/kubernetes.io/serviceaccount; cat color password namespace; echo
echo $color $PASSWORD $KUBERNETES_SERVICE_HOST`

const volumesOutput = "blues3cret-pwapp=\"web\"blues3cret-pwdefault\nblue s3cret-pw 10.0.0.1\n"

// podWithVolumes creates the objects of volumesManifest on a node. It returns a function that runs a script in a
// container of the pod.
func podWithVolumes(t *testing.T, plane *controlplane.Plane, node string) func(container, script string) string {
	t.Helper()
	objects, manifest, _ := strings.Cut(volumesManifest, "---\napiVersion: v1\nkind: Pod\n")
	plane.Apply(t, objects)
	pod := &v1.Pod{}
	expect.NoError(t, yaml.UnmarshalStrict([]byte(manifest), pod))
	pod.Spec.NodeName = node
	plane.CreatePod(t, pod)
	plane.AwaitPod(t, "volumes", "runs", controlplane.PhaseIs(v1.PodRunning))
	return func(container, script string) string {
		t.Helper()
		got := plane.Kubectl(t, "exec", "volumes", "-c", container, "--", "sh", "-c", script)
		return got.Stdout + got.Stderr
	}
}

// TestPodVolumes runs commands in a pod whose node has its own credential, so that the Node authorizer decides which
// objects it can read. The token in the pod must be a valid token that names the pod.
func TestPodVolumes(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.ForNodes)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	expect.NoError(t, plane.WriteKubeconfig(kubeconfig, "system:node:node-1", "system:nodes"))
	n := join(t, plane, joinOptions{settings: kubelet.ServingCertificate(t), kubeconfig: kubeconfig})
	plane.AwaitNode(t, n.name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	sh := podWithVolumes(t, plane, n.name)

	if got := sh("app", volumesScript); got != volumesOutput {
		t.Errorf("got %q, want %q", got, volumesOutput)
	}
	if got := sh("app", "echo x > /config/color; echo shared > /scratch/f") + sh("second", "cat /scratch/f"); got !=
		"sh: can't create /config/color: Read-only file system\nshared\n" {
		t.Errorf("got %q", got)
	}
	token := sh("app", "cat /var/run/secrets/kubernetes.io/serviceaccount/token")
	pod := plane.AwaitPod(t, "volumes", "exists", func(*v1.Pod) string { return "" })
	review, err := plane.Client.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	expect.NoError(t, err)
	who := review.Status.User
	if extra := fmt.Sprint(who.Extra["authentication.kubernetes.io/pod-name"],
		who.Extra["authentication.kubernetes.io/pod-uid"]); !review.Status.Authenticated ||
		who.Username != "system:serviceaccount:default:robot" || extra != fmt.Sprintf("[volumes] [%s]", pod.UID) {
		t.Errorf("the token is of %+v", who)
	}

	// The credential of the node is no way to other Secrets.
	if got := plane.Kubectl(t, "--kubeconfig", kubeconfig, "get", "secret", "other"); !strings.Contains(got.Stderr,
		"no relationship found between node 'node-1' and this object") {
		t.Errorf("the Secret of another node: %+v", got)
	}

	n.halt(t) // then its log is whole
	if strings.Contains(n.Out.String(), token) || strings.Contains(n.Out.String(), "s3cret") {
		t.Error("the log contains a secret")
	}
}

// TestPodVolumesOfFleet runs commands in a pod of a fleet with the permissions in deploy/base, which do not include
// Secrets, and then with those of the component pod-volumes.
func TestPodVolumesOfFleet(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.ForNodes)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	_, roles, _ := strings.Cut(expect.File(t, "../../deploy/base/rbac.yaml"), "\n---\n") // without the ServiceAccount
	plane.Apply(t, roles)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	expect.NoError(t, plane.WriteKubeconfig(kubeconfig, "system:serviceaccount:fauxlet:fauxlet"))
	settings := kubelet.ServingCertificate(t)
	settings["syncFrequency"] = "1s"
	n := join(t, plane, joinOptions{name: "sparse-0", kubeconfig: kubeconfig, settings: settings,
		args: []string{"--nodes", "1", "--node-name-prefix", "sparse-"}})
	plane.AwaitNode(t, n.name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	sh := podWithVolumes(t, plane, n.name)

	if got := sh("app", "ls /config /secret; cat /fields/labels; echo; echo ${PASSWORD-none}"); got !=
		"/config:\n\n/secret:\napp=\"web\"\nnone\n" {
		t.Errorf("without permission: %q", got)
	}
	for _, words := range []string{`"object":"Secret db","reason":"Forbidden","permission":"get secrets"`,
		`"permission":"create serviceaccounts/token"`} {
		expect.Eventually(t, time.Minute, "the log contains "+words, func() string {
			if !strings.Contains(n.Out.String(), words) {
				return "not yet"
			}
			return ""
		})
	}
	plane.Apply(t, expect.File(t, "../../deploy/components/pod-volumes/rbac.yaml"))
	expect.Eventually(t, time.Minute, "the pod has its volumes", func() string {
		if got := sh("app", volumesScript); got != volumesOutput {
			return fmt.Sprintf("%q", got)
		}
		return ""
	})
}
