// Package browser tests the admin page in Chromium. It starts a demo, sends requests to it, and uses the page as a
// person does. With -update it takes the screenshots of README.md and docs/ again.
package browser

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"fauxlet/e2e/internal/programs"
)

var update = flag.Bool("update", false, "take the screenshots in docs/images anew")

// patience limits every wait of the browser tests. It is long, because the machine may be busy with other tests.
const patience = 2 * time.Minute

func TestMain(m *testing.M) { os.Exit(programs.Main(m, "browser")) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The type "open" has the listening addresses and the folder of a running demo.
type open struct{ Secure, ReadOnly, Admin, AdminTokenFile, dir string }

// startDemo runs a demo on free ports until the test ends.
func startDemo(t testing.TB) *open {
	t.Helper()
	demo, _ := startDemoOn(t, "127.0.0.1:0")
	return demo
}

// startDemoOn runs a demo with an admin address and other flags. If there are no other flags, the admin API needs no
// token. The caller can stop the demo with the returned function before the test ends.
func startDemoOn(t testing.TB, address string, flags ...string) (demo *open, stop func()) {
	t.Helper()
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	runtime.LockOSThread() // Linux kills the demo (Pdeathsig) when the thread that started it ends
	cmd := exec.Command(programs.Path(t, "fauxlet"), "demo", "--dir", "demo", "--port", "0", "--read-only-port", "0",
		"--admin-address", address, "--ready-file", ready)
	if len(flags) == 0 {
		flags = []string{"--admin-token-file="}
	}
	cmd.Args = append(cmd.Args, flags...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "XDG_CACHE_HOME="+dir) // the demo stores its token there
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		runtime.UnlockOSThread()
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			t.Logf("last output of the demo:\n%s", strings.Join(lines[max(0, len(lines)-10):], "\n"))
		}
	})
	demo = &open{dir: filepath.Join(dir, "demo")}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		data, err := os.ReadFile(ready)
		if err == nil && strings.Contains(out.String(), "Stop with Ctrl-C") {
			must(t, json.Unmarshal(data, demo))
			return demo, stop
		}
		if time.Now().After(deadline) {
			t.Fatalf("the demo is not ready: %v", err)
		}
	}
}

type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// tab is a browser tab in Chromium with one page.
type tab struct {
	t   testing.TB
	ctx context.Context

	mu sync.Mutex
	// complaints has the errors and warnings of the browser console, and uncaught exceptions.
	complaints []string
}

// newTab starts Chromium and opens a tab with the given width and height in pixels.
func newTab(t testing.TB, width, height int64) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: these tests need Chromium: apt-get install chromium", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.WSURLReadTimeout(patience), chromedp.Flag("disable-dev-shm-usage", true))...)
	t.Cleanup(stop)
	b := (&tab{t: t, ctx: ctx}).another()
	b.do(chromedp.EmulateViewport(width, height))
	return b
}

// The method "another" opens one more tab in the same Chromium.
func (b *tab) another() *tab {
	other := &tab{t: b.t}
	ctx, shut := chromedp.NewContext(b.ctx, chromedp.WithListener(other.listen))
	b.t.Cleanup(shut)
	other.ctx = ctx
	other.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, log.Enable, cdp.Empty{})
		return err
	}))
	return other
}

func (b *tab) listen(event any) {
	var complaint string
	switch e := event.(type) {
	case *cdpruntime.EventExceptionThrown:
		complaint = (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error()
	case *cdpruntime.EventConsoleAPICalled:
		if e.Type == cdpruntime.ConsoleAPICalledTypeError || e.Type == cdpruntime.ConsoleAPICalledTypeWarning {
			complaint = fmt.Sprintf("console: %s", e.Args[0].Value)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			complaint = e.Entry.Text + " " + e.Entry.URL
		}
	case *page.EventJavascriptDialogOpening:
		complaint = "a dialog: " + e.Message
	}
	if complaint != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.complaints = append(b.complaints, complaint)
	}
}

// The method "quiet" verifies that the browser console has no errors and no warnings.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, complaint := range b.complaints {
		b.t.Errorf("console: %s", complaint)
	}
	b.complaints = nil
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// js evaluates a JavaScript expression. If the result is a promise, js waits for it.
func js[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// The method "until" waits until a JavaScript expression is true. The test itself evaluates the expression again and
// again. The page could not evaluate it, because the page's content security policy forbids that.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !js[bool](b, "Boolean("+expression+")"); <-ticker.C {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not true: %s; text of the page:\n%s", what, expression,
				js[string](b, "document.body.innerText"))
		}
	}
}

// The method "set" sets the value of a form field and sends the events that a browser sends when a user changes the
// field.
func (b *tab) set(selector, value string) {
	b.t.Helper()
	js[bool](b, fmt.Sprintf(`(() => {
		const field = document.querySelector(%q);
		field.value = %q;
		for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, {bubbles: true}));
		return true })()`, selector, value))
}

// The method "prefers" sets the color scheme that the page gets from the operating system: light or dark.
func (b *tab) prefers(scheme string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}))
}

// visit opens a URL and waits until the page follows new decisions.
func (b *tab) visit(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
	b.until("the page follows", `document.body.dataset.state === "live"`)
}

// The list "shown" has the names of the screenshots that are stored in docs/images.
var shown = []string{"page-desktop.png", "page-phone-dark.png", "whatif-desktop.png"}

// shoot takes a screenshot. With the flag -update, it writes a screenshot to docs/images if the list "shown" contains
// the name of the screenshot. All other screenshots are test artifacts (go test -artifacts).
func (b *tab) shoot(name string) {
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	must(b.t, err)
	folder := b.t.ArtifactDir()
	if *update && slices.Contains(shown, name) {
		folder = "../../docs/images"
		must(b.t, os.MkdirAll(folder, 0o755))
	}
	must(b.t, os.WriteFile(filepath.Join(folder, name), picture, 0o644))
}
