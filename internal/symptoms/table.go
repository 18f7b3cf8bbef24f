package symptoms

import "slices"

// Proof names the test that reproduces an error.
type Proof string

const (
	// ofGo: the test reproduces the error between a Go client and a Go server, as kube-apiserver, kubelets and
	// scrapers are.
	ofGo Proof = "internal/symptoms TestErrorsOfGo"
	// ofKubelets: the test reproduces the error in the response or the log of a stand-in kubelet.
	ofKubelets Proof = "internal/symptoms TestErrorsOfKubelets"
	// ofKubectl: the test reproduces the error in the output of kubectl, with a kube-apiserver and a stand-in
	// kubelet.
	ofKubectl Proof = "e2e/cluster TestKubectlErrorsAreRecognized"
	// ofFaults: the test reproduces the error in the output of kubectl, with a fault injected into a stand-in
	// kubelet. The errors are in docs/faults.md.
	ofFaults Proof = "e2e/cluster TestKubectlErrorsOfFaults"
)

// Commands that several symptoms share.
const (
	showNode    = "kubectl get node NODE -o jsonpath='{.status.addresses}{\"\\n\"}{.status.daemonEndpoints}{\"\\n\"}'"
	showServing = "openssl s_client -connect {address} -showcerts </dev/null 2>/dev/null | " +
		"openssl x509 -noout -subject -issuer -dates -ext subjectAltName"
	checkReach   = "fauxlet check --kubeconfig admin.conf --only reach"
	checkClient  = "fauxlet check --kubeconfig admin.conf --client-ca ca.crt --only client,rights"
	checkServing = "fauxlet check --kubeconfig admin.conf " +
		"--serving-ca-file ca.crt --serving-ca-key-file ca.key --only serving"
	probe = "fauxlet probe https://{address}"
)

// Parts of regular expressions that several patterns share.
const (
	address = `(?P<address>\[?[\w.:%-]+?\]?:\d+)`
	// attributes matches the authorization attributes in the kubelet's responses with status 403 and 500. Before
	// v1.33 they ended in subresource=proxy; since then they have a list of subresources.
	attributes = `, verb=(?P<verb>\w*), resource=(?P<resource>\w+), ` +
		`subresource(?:\(s\))?=\[?(?P<subresource>\w+)[\w ]*\]?\)`
)

// table contains all symptoms. A specific symptom comes before a general one that would match a part of its text.
var table = slices.Concat(
	kubectlErrors, networkErrors, credentialErrors, servingErrors, handshakeErrors, authenticationErrors,
	authorizationErrors,
	handlerErrors,
)
