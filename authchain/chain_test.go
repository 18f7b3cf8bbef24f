package authchain_test

import (
	"testing"

	authenticationv1api "k8s.io/api/authentication/v1"

	"fauxlet/authchain"
	"fauxlet/testcerts"
)

const (
	serviceAccount      = "system:serviceaccount:default:reader"
	serviceAccountToken = "the-token-of-a-service-account"
	anonymousUser       = "system:anonymous"
)

// TestCredentialsByConfiguration tries every credential with every configuration on GET /pods. The expected results
// were measured on a kubelet v1.37. kubelet-client may do everything. Where anonymous access is on, system:anonymous
// may do everything too.
func TestCredentialsByConfiguration(t *testing.T) {
	p := newPKI(t)
	a := newAPIServer(t)
	a.users[serviceAccountToken] = authenticationv1api.UserInfo{Username: serviceAccount,
		Groups: []string{"system:serviceaccounts"}}

	good := client(t, p.clusterCA, "kubelet-client", []string{"operators"})
	untrusted := client(t, p.unknownCA, "kubelet-client", nil)
	expired := client(t, p.clusterCA, "kubelet-client", nil, testcerts.Expired)

	type column struct {
		name      string
		configure func(*authchain.Config)
		noCA      bool
	}
	columns := []column{
		{name: "webhook"},
		{name: "anonymous", configure: func(c *authchain.Config) { c.Anonymous = true }},
		{name: "anonymous-no-webhook",
			configure: func(c *authchain.Config) { c.Anonymous, c.TokenWebhook = true, false }},
		{name: "always-allow", configure: func(c *authchain.Config) { c.Mode = authchain.AlwaysAllow }},
		{name: "nothing", noCA: true, configure: func(c *authchain.Config) { c.ClientCA, c.TokenWebhook = nil, false }},
	}
	// cell has the status and the user that are expected for a credential and a configuration. The user is empty if the
	// request is not authenticated.
	type cell struct {
		status int
		user   string
	}
	refused := cell{401, ""}
	rows := []struct {
		name       string
		credential credential
		cells      [5]cell
	}{
		{"none", credential{}, [5]cell{
			refused, {200, anonymousUser}, {200, anonymousUser}, refused, refused}},
		{"client-certificate", with(good, ""), [5]cell{
			{200, "kubelet-client"}, {200, "kubelet-client"}, {200, "kubelet-client"}, {200, "kubelet-client"},
			refused}},
		{"untrusted", with(untrusted, ""), [5]cell{refused, refused, refused, refused, refused}},
		{"expired", with(expired, ""), [5]cell{refused, refused, refused, refused, refused}},
		{"bad-token", bearer("unknown-token"), [5]cell{
			refused, refused, {200, anonymousUser}, refused, refused}},
		{"service-account", bearer(serviceAccountToken), [5]cell{
			{403, serviceAccount}, {403, serviceAccount}, {200, anonymousUser}, {200, serviceAccount}, refused}},
		{"client-certificate-and-bad-token", with(good, "unknown-token"), [5]cell{
			{200, "kubelet-client"}, {200, "kubelet-client"}, {200, "kubelet-client"}, {200, "kubelet-client"},
			refused}},
		{"untrusted-and-good-token", with(untrusted, serviceAccountToken), [5]cell{
			{403, serviceAccount}, {403, serviceAccount}, refused, {200, serviceAccount}, refused}},
	}

	// The statuses and users are the same for all versions. Only the text of a 403 differs.
	kubelets := []struct {
		name, forbidden string
		fineGrained     bool
		legacy          authchain.Legacy
	}{
		{"1.33 and newer", "subresource(s)=[pods proxy])\n", true, authchain.Legacy{}},
		{"1.32", "subresource(s)=[proxy])\n", false, authchain.Legacy{NoUID: true}},
		{"1.31 and older", "subresource=proxy)", false,
			authchain.Legacy{OneSubresource: true, NoCredentialID: true, NoUID: true}},
	}
	for k := range len(kubelets) * len(columns) {
		kubelet, i := kubelets[k/len(columns)], k%len(columns)
		column := columns[i]
		t.Run(kubelet.name+"/"+column.name, func(t *testing.T) {
			config := webhookConfig(p, a)
			config.FineGrained, config.Legacy = kubelet.fineGrained, kubelet.legacy
			if column.configure != nil {
				column.configure(&config)
			}
			allowed := map[string][]string{"kubelet-client": {"pods", "proxy"}}
			if config.Anonymous {
				allowed[anonymousUser] = []string{"pods", "proxy"}
			}
			a.allow(allowed)
			s := newStandin(t, newChain(t, config), !column.noCA)
			for _, row := range rows {
				t.Run(row.name, func(t *testing.T) {
					status, body, decision := s.send(t, "GET", "/pods", row.credential)
					want := row.cells[i]
					user := ""
					if decision.User != nil {
						user = decision.User.GetName()
					}
					if status != want.status || user != want.user {
						t.Fatalf("got %d as %q, want %d as %q; %s", status, user, want.status, want.user,
							decision.Why())
					}
					switch status {
					case 401:
						if body != "Unauthorized" {
							t.Errorf("body %q", body)
						}
					case 403:
						want := "Forbidden (user=" + user + ", verb=get, resource=nodes, " + kubelet.forbidden
						if body != want {
							t.Errorf("body %q, want %q", body, want)
						}
					}
				})
			}
		})
	}
}
