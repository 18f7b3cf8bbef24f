package demo

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"

	"fauxlet/internal/admin"
	"fauxlet/internal/host"
)

// openFolder creates the demo's files in a temporary folder.
func openFolder(t *testing.T) *Folder {
	t.Helper()
	folder, err := OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// runHost runs a host as the command fauxlet demo does.
func runHost(ctx context.Context, options host.Options, listening func(host.Addresses)) error {
	h, err := host.New(options)
	if err != nil {
		return err
	}
	if err := h.Start(ctx); err != nil {
		return err
	}
	listening(h.Addresses())
	return h.Wait()
}

// screen is a writer for Options.Out. It calls the function "printed" after the first screen was written.
type screen struct {
	text    bytes.Buffer
	printed func()
}

func (s *screen) Write(data []byte) (int, error) {
	defer s.printed()
	return s.text.Write(data)
}

// runDemo starts the demo, waits until the first screen is printed, calls the given function, and stops the demo. It
// returns the text of the first screen.
func runDemo(t *testing.T, folder *Folder, used func(host.Addresses, *pageClients)) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	printed := make(chan struct{})
	out := &screen{printed: sync.OnceFunc(func() { close(printed) })}
	free := int32(0)
	err := Run(ctx, Options{
		Folder: folder, Out: out, Port: &free, ReadOnlyPort: new(int32),
		Logger: func(int, ...zap.Option) (*zap.Logger, error) { return zap.NewNop(), nil },
		RunHost: func(ctx context.Context, options host.Options, listening func(host.Addresses)) error {
			return runHost(ctx, options, func(open host.Addresses) {
				listening(open)
				go func() {
					defer stop()
					<-printed
					used(open, options.Admin.Sender.(*pageClients))
				}()
			})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.text.String()
}

// TestRun runs the demo twice in one folder. In the first run, it checks the statuses on the first screen, and sends
// requests from the admin page. After the second run, it checks that the token and the kubeconfig are unchanged.
func TestRun(t *testing.T) {
	folder := openFolder(t)
	printed := runDemo(t, folder, func(_ host.Addresses, page *pageClients) { testPage(t, page) })
	var got []string
	blocks := regexp.MustCompile(`(?m)^# \d+\. .*\n# -> (\d+), .*\ncurl -i `)
	for _, match := range blocks.FindAllStringSubmatch(printed, -1) {
		got = append(got, match[1])
	}
	if want := "401 200 200 403 401 401 200 403 401 200"; strings.Join(got, " ") != want {
		t.Errorf("the statuses on the first screen are %v, want %s\n%s", got, want, printed)
	}

	read := func() string { return readFile(t, folder.path("tokens.csv")) + readFile(t, folder.path("kubeconfig")) }
	before := read()
	runDemo(t, folder, func(host.Addresses, *pageClients) {})
	if after := read(); after != before {
		t.Errorf("the second run changed tokens.csv or kubeconfig:\n%s\nwant\n%s", after, before)
	}
}

func testPage(t *testing.T, page *pageClients) {
	for _, test := range []struct {
		as, method, path string
		status           int
		err              string
	}{
		{as: "kubelet-client", method: "GET", path: "/pods", status: 200},
		{as: "viewer", method: "POST", path: "/run/default/nginx/nginx?cmd=id", status: 403},
		{as: "untrusted, valid token", method: "GET", path: "/metrics", status: 200},
		{as: "read-only port", method: "GET", path: "/pods", err: "the port is not open"},
		{as: "root", method: "GET", path: "/pods", err: `client: there is no client "root"`},
		{as: "viewer", method: "BREW", path: "/pods", err: `method: "BREW" is not one of GET,`},
		{as: "viewer", method: "GET", path: "pods", err: `path: "pods" does not begin with a slash`},
	} {
		got, err := page.Send(t.Context(), admin.SendRequest{Client: test.as, Method: test.method, Path: test.path})
		switch {
		case test.err != "":
			if err == nil || !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("%s %s as %s: error %v, want %q", test.method, test.path, test.as, err, test.err)
			}
		case err != nil:
			t.Errorf("%s %s as %s: %v", test.method, test.path, test.as, err)
		case got.Status != test.status || !strings.HasPrefix(got.Command, "curl -i "):
			t.Errorf("%s %s as %s: %+v, want status %d", test.method, test.path, test.as, got, test.status)
		}
	}
}

// TestTokenOnTerminalOnly checks that the text for a terminal contains the link with the token, and that the text for
// other output contains only the name of the token file.
func TestTokenOnTerminalOnly(t *testing.T) {
	open := host.Addresses{Admin: "127.0.0.1:10240", AdminLink: "http://127.0.0.1:10240/#token=secret",
		AdminTokenFile: "/home/me/.cache/fauxlet/admin-127.0.0.1_10240.token"}
	if text := whereToLook(open, true); !strings.Contains(text, open.AdminLink+" in a browser") {
		t.Errorf("on a terminal: %q", text)
	}
	for _, file := range []string{open.AdminTokenFile, ""} {
		open.AdminTokenFile = file
		text := whereToLook(open, false)
		if strings.Contains(text, "secret") || !strings.Contains(text, "http://127.0.0.1:10240/ in a browser") ||
			!strings.Contains(text, file) {
			t.Errorf("not on a terminal: %q", text)
		}
	}
	if text := whereToLook(host.Addresses{}, true); !strings.Contains(text, "There is no admin page") {
		t.Errorf("without an admin listener: %q", text)
	}
}
