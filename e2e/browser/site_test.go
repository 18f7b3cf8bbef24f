package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"fauxlet/e2e/internal/programs"
)

// makeSite makes the pages of the documentation in a new folder, which it returns.
func makeSite(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "run", "./site", "-out", dir)
	cmd.Dir, cmd.Env = programs.Module(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// openPage opens a page of the site as a file, and waits until its script has run.
func (b *tab) openPage(dir, name string) {
	b.t.Helper()
	b.do(chromedp.Navigate("file://" + filepath.Join(dir, name)))
	b.until("the page is loaded", `document.readyState === "complete" && !document.querySelector("#search").hidden`)
}

// searchFor goes to the search field with the key "/", and types a text.
func (b *tab) searchFor(text string) {
	b.t.Helper()
	const field = `document.querySelector("#search input")`
	b.do(chromedp.KeyEvent("/"))
	b.until("the search field has the focus", "document.activeElement === "+field)
	// Unlike a keyboard, chromedp sends the character even if the page prevents the default action of the key.
	js[string](b, field+`.value = ""`)
	b.do(chromedp.KeyEvent(text))
}

// sections is a JavaScript expression for the texts of the search results.
const sections = `[...document.querySelectorAll("#results a")].map(a => a.innerText)`

// TestSiteSearch uses the search of the documentation with the keyboard only, without a server.
func TestSiteSearch(t *testing.T) {
	t.Parallel()
	dir := makeSite(t)
	b := newTab(t, 1280, 860)
	b.openPage(dir, "index.html")
	b.searchFor("Reviewer-Error")
	b.until("the search has found something", sections+".length > 0")
	for _, found := range js[[]string](b, sections) {
		if !strings.Contains(strings.ToLower(found), "reviewer-error") {
			t.Errorf("a result lacks the word: %q", found)
		}
	}
	b.shoot("site-search.png")
	b.do(chromedp.KeyEvent(kb.ArrowDown))
	b.until("the first result has the focus", `document.activeElement.matches("#results a")`)
	first := js[string](b, "document.activeElement.href")
	b.do(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.Enter))
	b.until("the section of the result is open",
		fmt.Sprintf(`location.href === %q && document.readyState === "complete"`, first))
	b.until("the heading is visible", `(() => {
		const at = document.querySelector(decodeURIComponent(location.hash)).getBoundingClientRect();
		return at.top >= 0 && at.bottom <= innerHeight })()`)

	b.openPage(dir, "index.html")
	b.searchFor("no-such-word-anywhere")
	b.until("the search reports that it has found nothing",
		`document.getElementById("results").innerText === "No section has all of these words."`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until("Escape closes the search", `document.getElementById("results").hidden`)
	b.quiet()
}

// TestSiteLayout opens each page of the documentation on a desktop and on a phone. No page may be wider than the
// window, or load anything from a server. Wide tables and code can be scrolled with the keyboard.
func TestSiteLayout(t *testing.T) {
	t.Parallel()
	dir := makeSite(t)
	pages, err := filepath.Glob(filepath.Join(dir, "*.html"))
	must(t, err)
	if len(pages) < 25 {
		t.Fatalf("the site has %d pages", len(pages))
	}
	for width, scheme := range map[int64]string{1280: "light", 390: "dark"} {
		b := newTab(t, width, 860)
		b.prefers(scheme)
		for _, page := range pages {
			name := filepath.Base(page)
			b.openPage(dir, name)
			if wide := js[int64](b, "document.documentElement.scrollWidth"); wide > width {
				t.Errorf("%s is %d pixels wide in a window of %d", name, wide, width)
			}
			if loaded := js[[]string](b, `performance.getEntriesByType("resource").map(e => e.name)`+
				`.filter(name => !name.startsWith("file:") && !name.startsWith("data:"))`); len(loaded) > 0 {
				t.Errorf("%s loads %q", name, loaded)
			}
			if stuck := js[[]string](b, `[...document.querySelectorAll("main *")].filter(e =>
				e.scrollWidth > e.clientWidth && e.tabIndex < 0 && e.offsetParent &&
				["auto", "scroll"].includes(getComputedStyle(e).overflowX))
				.map(e => e.outerHTML.slice(0, 80))`); len(stuck) > 0 {
				t.Errorf("%s: the keyboard cannot scroll %q", name, stuck)
			}
		}
		light := js[bool](b, `(() => { const [r, g, b] = getComputedStyle(document.documentElement).backgroundColor
			.match(/\d+/g).map(Number); return r + g + b > 384 })()`)
		if light != (scheme == "light") {
			t.Errorf("with the color scheme %s, the background is light: %v", scheme, light)
		}
		for _, name := range []string{"index", "check", "errors"} {
			b.openPage(dir, name+".html")
			b.shoot(fmt.Sprintf("site-%s-%d-%s.png", name, width, scheme))
		}
		b.quiet()
	}
}
