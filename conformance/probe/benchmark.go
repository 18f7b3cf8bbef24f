package probe

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
)

// benchmark has the recommendations of the CIS Kubernetes Benchmark that findings are about, by ID of the finding.
// Benchmark v1.7 (Kubernetes 1.25) removed 4.2.6, so the numbers after it changed. Benchmark v1.12 still has the
// numbers of v1.7. The field "older" is the number up to Kubernetes 1.24, or "" if there is none.
var benchmark = map[string]struct{ number, older string }{
	"anonymous-runs":                  {"4.2.1", "4.2.1"},
	"anonymous-reads":                 {"4.2.1", "4.2.1"},
	"anonymous-enabled":               {"4.2.1", "4.2.1"},
	"always-allow":                    {"4.2.2", "4.2.2"},
	"no-client-ca":                    {"4.2.3", "4.2.3"},
	"read-only-port":                  {"4.2.4", "4.2.4"},
	"checkpoint-unauthenticated":      {"4.2.4", "4.2.4"},
	"certificate-kubelet-self-signed": {"4.2.9", "4.2.10"},
	"certificate-self-signed":         {"4.2.9", "4.2.10"},
	"weak-ciphers":                    {"4.2.12", "4.2.13"},
	"get-runs":                        {"5.1.10", ""},
}

// cisNumber returns the recommendation of the CIS Kubernetes Benchmark that a finding is about, or "".
func cisNumber(finding string, kubelet *version.Version) string {
	if before(kubelet, "1.25") {
		return benchmark[finding].older
	}
	return benchmark[finding].number
}

// parseVersion parses a version like v1.31.5 or v1.31.5-eks-1a2b3c. It returns nil if the version is unknown. A kubelet
// that was built without a version has v0.0.0-master.
func parseVersion(text string) *version.Version {
	v, err := version.ParseGeneric(text)
	if err != nil || v.Major() == 0 {
		return nil
	}
	return v
}

// before reports whether v is known and older than the given version.
func before(v *version.Version, other string) bool {
	return v != nil && v.LessThan(version.MustParseGeneric(other))
}

// servesCheckpoint reports whether a kubelet of this version serves /checkpoint on its read-only port by default
// (CVE-2025-0426, kubernetes/kubernetes#130016).
func servesCheckpoint(v *version.Version) bool {
	// Each pair is the first affected version of a minor, and the first version that is not affected.
	affected := [][2]string{{"1.30", "1.30.10"}, {"1.31", "1.31.6"}, {"1.32", "1.32.2"}}
	return slices.ContainsFunc(affected, func(r [2]string) bool { return !before(v, r[0]) && before(v, r[1]) })
}

// subresourcesOf returns the subresources of nodes that authorize a request to a kubelet of this version. If the
// version is unknown, v1.37 is assumed. (kubelet: pkg/kubelet/server/auth.go, GetRequestAttributes)
func (r *row) subresourcesOf(v *version.Version, fineGrained string) []string {
	for path, since := range map[string]string{"/checkpoint/": "1.30", "/statusz": "1.33", "/flagz": "1.33"} {
		if strings.HasPrefix(r.path, path) && before(v, since) {
			return []string{"proxy"}
		}
	}
	all := r.subresources()
	if len(all) > 1 && (fineGrained == isFalse || fineGrained == unknown && before(v, "1.33")) {
		return all[len(all)-1:]
	}
	return all
}
