package admin_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"fauxlet/internal/admin"
	"fauxlet/internal/decisions"
	"fauxlet/internal/faults"
)

// cacheFolder makes a temporary folder the user's cache folder, in which a Server stores the token that it makes.
func cacheFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	t.Setenv("HOME", dir) // the folder depends on HOME on systems without XDG_CACHE_HOME
	return dir
}

// servedUntil serves s and returns a function that stops it.
func servedUntil(t *testing.T, s *admin.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	return func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

func refused(err error) bool {
	status, ok := errors.AsType[*admin.StatusError](err)
	return ok && status.Status == 401
}

// TestMadeToken checks that a Server with MakeToken refuses clients without its token, that a client of the same user
// finds the token, also after the Server was started again, and that the token is in no log and in no response.
func TestMadeToken(t *testing.T) {
	cacheFolder(t)
	var logged strings.Builder
	options := admin.Options{Recorder: recorded(), Faults: faults.NewSet(), MakeToken: true,
		Logger: zap.New(newCore(&logged))}
	s := must(admin.Listen("127.0.0.1:0", options))
	stop := servedUntil(t, s)
	c, without, byName := admin.NewLocalClient(s.Addr()), admin.NewClient(s.Addr(), ""),
		admin.NewLocalClient(strings.Replace(s.Addr(), "127.0.0.1", "localhost", 1))
	defer c.Close()
	defer without.Close()
	defer byName.Close()

	if _, err := c.Faults(t.Context()); err != nil {
		t.Errorf("a client of the same user: %v", err)
	}
	if _, err := without.Faults(t.Context()); !refused(err) {
		t.Errorf("a client without the token: error %v, want 401", err)
	}
	if _, err := byName.Faults(t.Context()); !refused(err) {
		t.Errorf("a host name: error %v, want 401, because the name may stand for several addresses", err)
	}
	page, made, _ := strings.Cut(s.Link(), "#token=")
	if page != "http://"+s.Addr()+"/" || len(made) < 26 {
		t.Errorf("the link is %q, want the address and a token of at least 26 characters", s.Link())
	}
	if info := must(os.Lstat(s.TokenFile())); info.Mode() != 0o600 {
		t.Errorf("the mode of the token file is %v, want 0600", info.Mode())
	}
	if header := string(must(os.ReadFile(s.TokenFile()))); header != "Authorization: Bearer "+made+"\n" {
		t.Errorf("the token file contains %q, which curl cannot send as a header", header)
	}
	if got := must(admin.ReadToken(s.TokenFile())); got != made {
		t.Errorf("the token in the file is %q, want the token of the link", got)
	}
	response, body := ask(t, "GET", page+"api/faults", "")
	if response.StatusCode != 401 || strings.Contains(body, made) || !strings.Contains(body, "requires a token") {
		t.Errorf("%s %s, want 401 without the token", response.Status, body)
	}
	stop()
	if _, err := os.Stat(s.TokenFile()); err == nil {
		t.Error("the token file is left")
	}

	again := must(admin.Listen(s.Addr(), options))
	defer servedUntil(t, again)()
	if _, err := c.Faults(t.Context()); err != nil {
		t.Errorf("the same client after a restart: %v", err)
	}
	if again.Link() == s.Link() {
		t.Error("the second Server has the same token")
	}
	if strings.Contains(logged.String(), made) || strings.Contains(logged.String(), "could not be stored") {
		t.Errorf("the log is %s", logged.String())
	}
}

// TestMadeTokenIsReplaced checks that a Server does not remove the token file of a later Server at its address, and
// that it writes no file that another user can have prepared.
func TestMadeTokenIsReplaced(t *testing.T) {
	dir := cacheFolder(t)
	var logged strings.Builder
	options := admin.Options{Recorder: decisions.NewRecorder(1), MakeToken: true, Logger: zap.New(newCore(&logged))}
	s := must(admin.Listen("127.0.0.1:0", options))
	const other = "Authorization: Bearer the-token-of-a-later-server\n"
	if err := os.WriteFile(s.TokenFile(), []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if got := string(must(os.ReadFile(s.TokenFile()))); got != other {
		t.Errorf("the file contains %q", got)
	}
	if logged.Len() > 0 {
		t.Errorf("the log is %s", logged.String())
	}

	if err := os.Chmod(filepath.Join(dir, "fauxlet"), 0o777); err != nil {
		t.Fatal(err)
	}
	if s = must(admin.Listen("127.0.0.1:0", options)); s.TokenFile() != "" {
		t.Errorf("the token was stored in %s, a folder that all users can write to", s.TokenFile())
	}
	defer servedUntil(t, s)()
	if !strings.Contains(logged.String(), "--admin-token-file") || !strings.Contains(logged.String(), "chmod o-w") {
		t.Errorf("the log is %q, want the remedy", logged.String())
	}
	without := admin.NewLocalClient(s.Addr())
	defer without.Close()
	if _, err := without.Decisions(t.Context(), decisions.Filter{}); !refused(err) {
		t.Errorf("a client without the token: error %v, want 401", err)
	}
	_, made, _ := strings.Cut(s.Link(), "#token=")
	with := admin.NewClient(s.Addr(), made)
	defer with.Close()
	if _, err := with.Decisions(t.Context(), decisions.Filter{}); err != nil {
		t.Errorf("a client with the token of the link: %v", err)
	}
}

// TestTokenOptions checks which Servers make a token.
func TestTokenOptions(t *testing.T) {
	cacheFolder(t)
	for name, test := range map[string]struct {
		address string
		options admin.Options
		made    bool
	}{
		"no token":           {"127.0.0.1:0", admin.Options{}, false},
		"a made token":       {"127.0.0.1:0", admin.Options{MakeToken: true}, true},
		"IPv6":               {"[::1]:0", admin.Options{MakeToken: true}, true},
		"the user's token":   {"127.0.0.1:0", admin.Options{MakeToken: true, Token: token}, false},
		"the user's, on all": {"0.0.0.0:0", admin.Options{MakeToken: true, Token: token}, false},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.Recorder = decisions.NewRecorder(1)
			s := must(admin.Listen(test.address, test.options))
			defer s.Close()
			if made := s.TokenFile() != ""; made != test.made || strings.Contains(s.Link(), "#token=") != test.made {
				t.Errorf("token file %q, link %q, want a made token: %v", s.TokenFile(), s.Link(), test.made)
			}
			if strings.Contains(s.Link(), token) {
				t.Errorf("the link %s contains the user's token, which may be used elsewhere too", s.Link())
			}
		})
	}
	if _, err := admin.Listen("0.0.0.0:0", admin.Options{MakeToken: true}); !errors.Is(err, admin.ErrNoToken) {
		t.Errorf("an address that other machines can reach: error %v, want ErrNoToken", err)
	}
}

func TestTokenFileNames(t *testing.T) {
	dir := cacheFolder(t)
	t.Setenv("XDG_CACHE_HOME", "")
	if err := os.Unsetenv("XDG_CACHE_HOME"); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"127.0.0.1:10240":          "admin-127.0.0.1_10240.token",
		"[::ffff:127.0.0.1]:10240": "admin-127.0.0.1_10240.token",
		"[::1]:10240":              "admin-__1_10240.token",
	} {
		file, err := admin.TokenFile(address)
		if err != nil || filepath.Base(file) != want || filepath.Base(filepath.Dir(file)) != "fauxlet" ||
			!strings.HasPrefix(file, dir) {
			t.Errorf("%s: %s, %v, want %s in the folder fauxlet", address, file, err, want)
		}
	}
	for _, address := range []string{"localhost:10240", "127.0.0.1", net.JoinHostPort("", "10240")} {
		if file, err := admin.TokenFile(address); err == nil {
			t.Errorf("%s has the token file %s", address, file)
		}
	}
}
