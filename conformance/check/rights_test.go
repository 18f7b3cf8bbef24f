package check

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"fauxlet/conformance"
	"fauxlet/internal/reviewapi"
)

// clusterOfKubeadm binds administrators by their group, as kubeadm does since 1.29, and one user by its name.
const clusterOfKubeadm = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "kubeadm:cluster-admins"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "kubeadm:cluster-admins"}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: of-the-user}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: bound}]
`

// TestExcess checks the remedy for a client certificate whose user has too many permissions. It must not take
// permissions from other users: admin.conf of kubeadm has the group kubeadm:cluster-admins too.
func TestExcess(t *testing.T) {
	objects, err := reviewapi.ParseManifests("rbac.yaml", []byte(clusterOfKubeadm))
	must(t, err)
	policy, err := reviewapi.NewPolicy(objects...)
	must(t, err)
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review authorizationv1.SubjectAccessReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil ||
			r.URL.Path != "/apis/authorization.k8s.io/v1/subjectaccessreviews" {
			t.Errorf("cannot answer the request %s %s: %v", r.Method, r.URL, err)
		}
		review.Status = policy.Authorize(review.Spec)
		answerJSON(w, http.StatusCreated, &review)
	}))
	t.Cleanup(cluster.Close)
	r, err := newRun(Options{
		Cluster: &rest.Config{Host: cluster.URL,
			ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeJSON}},
		NodeIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
	})
	must(t, err)
	const newCertificate = newClientCertificate + " # with a new certificate whose subject has no organization, as in " +
		"-subj /CN="
	for _, test := range []struct {
		name          string
		organizations []string
		verdict       conformance.Verdict
		evidence      string // a part
		remedy        string // the beginning
	}{
		{name: "kubelet-client", verdict: conformance.Pass, evidence: "has none of these permissions"},
		{name: "kubelet-client", organizations: []string{"readers"}, verdict: conformance.Pass,
			evidence: `in groups ["readers" "system:authenticated"], has none of these permissions`},
		{name: "kube-apiserver-kubelet-client", organizations: []string{"kubeadm:cluster-admins"},
			verdict: conformance.Warn,
			evidence: `it can read all secrets; RBAC: allowed by ClusterRoleBinding "kubeadm:cluster-admins" of ` +
				`ClusterRole "cluster-admin" to Group "kubeadm:cluster-admins"`,
			remedy: newCertificate + "kube-apiserver-kubelet-client\n" + bindRemedy + "kube-apiserver-kubelet-client"},
		{name: "kubelet-client", organizations: []string{"system:masters"}, verdict: conformance.Warn,
			evidence: "the group system:masters, which may do everything",
			remedy:   newCertificate + "kubelet-client\n" + bindRemedy + "kubelet-client"},
		{name: "bound", verdict: conformance.Warn, evidence: `RBAC: allowed by ClusterRoleBinding "of-the-user"`,
			remedy: "kubectl get clusterrolebindings,rolebindings --all-namespaces -o wide | grep -F -e bound "},
		{name: "bound", organizations: []string{"readers"}, verdict: conformance.Warn,
			evidence: "without the organization, it still has some of these permissions",
			remedy: newCertificate + "bound\n" + bindRemedy + "bound\nkubectl get clusterrolebindings,rolebindings " +
				"--all-namespaces -o wide | grep -F -e bound "},
	} {
		t.Run(test.name+" "+strings.Join(test.organizations, ","), func(t *testing.T) {
			f := &finding{}
			groups := append(append([]string{}, test.organizations...), "system:authenticated")
			got := f.result(checkExcess(t.Context(), f, user{r, test.name, test.organizations, groups}))
			evidence := strings.Join(got.Evidence, "\n")
			if got.Verdict != test.verdict || !strings.Contains(evidence, test.evidence) ||
				!strings.HasPrefix(got.Remedy, test.remedy) || (got.Remedy == "") != (test.remedy == "") {
				t.Errorf("%s %s\n%s\nthe remedy is %s", got.Verdict, got.Reason, evidence, got.Remedy)
			}
			if strings.Contains(got.Remedy, "groups") {
				t.Errorf("the remedy removes bindings of groups, which other users need: %s", got.Remedy)
			}
		})
	}
}
