package kubelettest_test

import (
	"net/http"
	"strings"
	"testing"

	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"

	"fauxlet/kubelettest"
)

// TestWithVersion checks what differs between the kubelets of several versions, with requests over TLS: which
// subresources are checked, the texts of errors, the attributes of the user, and the paths. Package config names the
// source of each difference.
func TestWithVersion(t *testing.T) {
	t.Parallel()
	const agent, readOnly = "agent", "read-only port"
	oneProxy := "Forbidden (user=agent, verb=get, resource=nodes, subresource=proxy)"
	listed := func(subresources string) string {
		return "Forbidden (user=agent, verb=get, resource=nodes, subresource(s)=[" + subresources + "])\n"
	}
	for _, test := range []struct {
		since, until string
		as, path     string
		status       int
		body         string
	}{
		{"1.30", "1.31", agent, "/pods", 403, oneProxy},
		{"1.32", "1.32", agent, "/pods", 403, listed("proxy")},
		{"1.33", "1.37", agent, "/pods", 403, listed("pods proxy")},
		{"1.30", "1.31", agent, "/statusz", 404, "404 page not found\n"},
		{"1.36", "1.37", agent, "/statusz", 403, listed("statusz")},
		{"1.36", "1.37", agent, "/flagz", 403, listed("configz")},
		{"1.30", "1.31", "kubelet-client", "/healthz?verbose", 200,
			"[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n"},
		{"1.32", "1.37", "kubelet-client", "/healthz?verbose", 200,
			"[+]ping ok\n[+]log ok\n[+]syncloop ok\n[+]device-plugin ok\nhealthz check passed\n"},
		{"1.30", "1.31", "kubelet-client", logsPath + "?stream=Stdout&limitBytes=9", 200, anyBody},
		{"1.32", "1.37", "kubelet-client", logsPath + "?stream=Stdout&limitBytes=9", 400,
			`unable to return the given log stream: "Stdout". Please enable PodLogsQuerySplitStreams feature gate in kubelet`},
		{"1.30", "1.33", "kubelet-client", "/runningpods/", 200, anyBody + `"creationTimestamp":null}`},
		{"1.34", "1.37", "kubelet-client", "/runningpods/", 200, anyBody + `"uid":"`},
		{"1.30.9", "1.30.9", readOnly, "/checkpoint/x", 404, "404: Page Not Found"},
		{"1.31.5", "1.31.5", readOnly, "/checkpoint/x", 404, "404: Page Not Found"},
		{"1.30", "1.37", readOnly, "/checkpoint/x", 404, "404 page not found\n"},
	} {
		for minor := minorOf(test.since); minor <= minorOf(test.until); minor++ {
			version := "1." + string('0'+rune(minor/10)) + string('0'+rune(minor%10))
			if strings.Count(test.since, ".") == 2 {
				version = test.since
			}
			t.Run(version+" "+test.path, func(t *testing.T) {
				t.Parallel()
				k := kubelettest.New(t, kubelettest.WithVersion(version), kubelettest.WithReadOnlyPort(),
					kubelettest.WithUser(kubelettest.User{Name: agent}))
				client, url := http.DefaultClient, k.ReadOnlyURL
				if test.as != readOnly {
					client, url = k.Client(test.as), k.URL
				}
				status, body := get(t, client, url+test.path)
				if status != test.status || !matches(body, test.body) {
					t.Errorf("%d %q\nwant %d %q", status, body, test.status, test.body)
				}
				for _, r := range k.Reviews() {
					_, got := r.Access.Extra["authentication.kubernetes.io/credential-id"]
					if want := minor >= 32; got != want {
						t.Errorf("the review of a certificate's user has the credential's ID: %v, want %v", got, want)
					}
				}
			})
		}
	}
}

// anyBody stands for any text before a part of a body.
const anyBody = "*"

func matches(body, want string) bool {
	part, ok := strings.CutPrefix(want, anyBody)
	return ok && strings.Contains(body, part) || body == want
}

func minorOf(version string) int {
	return int(version[2]-'0')*10 + int(version[3]-'0')
}

func TestWithVersionErrors(t *testing.T) {
	t.Parallel()
	gate := kubelettest.WithConfig(func(c *kubeletconfigv1beta1.KubeletConfiguration) {
		c.FeatureGates = map[string]bool{"KubeletFineGrainedAuthz": false}
	})
	for _, test := range []struct {
		options []kubelettest.Option
		want    string // the error, or "" if the kubelet starts
	}{
		{[]kubelettest.Option{kubelettest.WithVersion("1.29")},
			`WithVersion: cannot emulate version "1.29"; want one from 1.30`},
		{[]kubelettest.Option{kubelettest.WithVersion("newest")}, `WithVersion: "newest" is not a version`},
		{[]kubelettest.Option{kubelettest.WithVersion("1.35"), gate}, ""},
		{[]kubelettest.Option{kubelettest.WithVersion("1.36"), gate}, "feature is locked to true"},
		{[]kubelettest.Option{kubelettest.WithVersion("1.31"), gate},
			"unrecognized feature gate: KubeletFineGrainedAuthz"},
	} {
		k, err := kubelettest.Start(test.options...)
		if err == nil {
			k.Close()
		}
		wrong := err != nil
		if test.want != "" {
			wrong = err == nil || !strings.Contains(err.Error(), test.want)
		}
		if wrong {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
}
