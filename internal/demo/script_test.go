package demo

import "testing"

func TestCurl(t *testing.T) {
	folder := &Folder{dir: "my demo"}
	const address = "127.0.0.1:10250"
	var (
		noCredential     client
		viewer           = client{Certificate: "viewer"}
		prometheus       = client{Token: prometheusUser}
		withInvalidToken = client{Token: invalidToken}
		onReadOnlyPort   = client{ReadOnlyPort: true}
	)
	for _, test := range []struct {
		name    string
		request request
		want    string
	}{
		{
			name: "no credential", request: request{Client: noCredential, Path: "/pods"},
			want: `curl -i --cacert 'my demo/pki/ca.crt' https://127.0.0.1:10250/pods`,
		},
		{
			name:    "certificate, method and query",
			request: request{Client: viewer, Method: "POST", Path: "/run/a/b/c?cmd=id"},
			want: `curl -i -X POST --cacert 'my demo/pki/ca.crt' --cert 'my demo/pki/viewer.crt' --key 'my ` +
				`demo/pki/viewer.key' 'https://127.0.0.1:10250/run/a/b/c?cmd=id'`,
		},
		{
			name: "valid token is read from its file", request: request{Client: prometheus, Path: "/metrics"},
			want: `curl -i --cacert 'my demo/pki/ca.crt' -H "Authorization: Bearer $(grep ` +
				`system:serviceaccount:monitoring:prometheus 'my demo/tokens.csv' | cut -d, -f1)" ` +
				`https://127.0.0.1:10250/metrics`,
		},
		{
			name: "invalid token", request: request{Client: withInvalidToken, Path: "/pods"},
			want: `curl -i --cacert 'my demo/pki/ca.crt' -H 'Authorization: Bearer invalid-token' ` +
				`https://127.0.0.1:10250/pods`,
		},
		{
			name: "server name", request: request{Client: noCredential, Path: "/pods", ServerName: "node-1"},
			want: `curl -i --cacert 'my demo/pki/ca.crt' --connect-to node-1:10250:127.0.0.1:10250 ` +
				`https://node-1:10250/pods`,
		},
		{
			name: "not verified", request: request{Client: noCredential, Path: "/pods", Insecure: true},
			want: `curl -i --insecure https://127.0.0.1:10250/pods`,
		},
		{
			name: "read-only port", request: request{Client: onReadOnlyPort, Path: "/pods"},
			want: `curl -i http://127.0.0.1:10250/pods`,
		},
	} {
		if got := folder.curl(&test.request, address); got != test.want {
			t.Errorf("%s:\n%s, want\n%s", test.name, got, test.want)
		}
	}
}

func TestClientsHaveUniqueNames(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range script().Clients {
		if c.Name == "" || c.Description == "" || seen[c.Name] {
			t.Errorf("the client %+v has no description, or its name is not unique", c)
		}
		seen[c.Name] = true
	}
}
