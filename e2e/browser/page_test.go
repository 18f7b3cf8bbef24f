package browser

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// send sends a request without a credential to the demo's kubelet.
func send(t testing.TB, demo *open, path string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	request, err := http.NewRequest(http.MethodGet, "https://"+demo.Secure, nil)
	must(t, err)
	request.URL.Opaque = path
	response, err := transport.RoundTrip(request)
	must(t, err)
	must(t, response.Body.Close())
}

const (
	rows   = `document.querySelectorAll("#list a").length`
	chosen = `Number(document.querySelector("#list [aria-current]")?.dataset.id ?? 0)`
	// outcomes is a JavaScript expression for the steps of the displayed explanation, each as "name: outcome".
	outcomes = `[...document.querySelectorAll("#stages > li > .stage:first-child")]` +
		`.map(s => s.querySelector(".name").textContent + ": " + s.querySelector(".word").textContent)`
)

// sendFrom sends a request with the form on the page, and waits for the explanation of that request.
func sendFrom(b *tab, as, path string) {
	b.t.Helper()
	before := js[string](b, "location.hash")
	b.set("#send-client", as)
	b.set("#send-path", path)
	b.do(chromedp.Click(chromedp.ID("send-button")))
	b.until("the explanation of the request",
		fmt.Sprintf(`location.hash !== %q && `+
			`document.getElementById("crumb").textContent.startsWith(location.hash + " ") && `+
			`!document.getElementById("sent").hidden`,
			before))
}

// TestPage uses the page like a first-time user: it follows requests, sends one, tries a what-if, filters and
// pauses.
func TestPage(t *testing.T) {
	demo := startDemo(t)
	b := newTab(t, 1280, 860)
	address := "http://" + demo.Admin + "/"
	b.visit(address)
	b.until("earlier decisions are listed", rows+" >= 10")
	b.until("the first request that got 403 is selected", `(() => {
		const refused = [...document.querySelectorAll("#list a")].filter(a => a.textContent.includes("403"))
			.map(a => Number(a.dataset.id));
		return document.getElementById("crumb").textContent.startsWith("#" + Math.min(...refused) + " ");
	})()`)

	// A request arrives while the page is open.
	send(t, demo, "/pods/live-one")
	b.until("a new request appears", `document.querySelector("#list .request").textContent.includes("/pods/live-one")`)

	// Send a request from the page. It is refused, and the page shows its explanation with what-if settings.
	sendFrom(b, "viewer", "/containerLogs/default/nginx/nginx?tailLines=3")
	want := "TLS: passed,client certificate: passed,token: not reached,anonymous: not reached,identity: " +
		"passed,attributes: passed,authorization of nodes/proxy: failed,response: failed"
	if got := strings.Join(js[[]string](b, outcomes), ","); got != want {
		t.Errorf("the explanation is %s, want %s", got, want)
	}
	if cures := js[string](b, `document.getElementById("remedy-list").innerText`); !strings.Contains(cures,
		"kubectl create clusterrolebinding viewer:get-nodes-proxy --clusterrole=viewer:get-nodes-proxy --user=viewer") {
		t.Errorf("the remedies are %s", cures)
	}
	if marks := js[int](b,
		`new Set([...document.querySelectorAll("#stages .stage")]`+
			`.map(s => s.className + s.querySelector(".mark path").getAttribute("d"))).size`); marks < 3 {
		t.Errorf("the outcomes have %d shapes, want at least 3", marks)
	}
	b.quiet()
	refused := js[string](b, "location.hash")

	// Try what-if with the authorization mode AlwaysAllow. The page shows the real explanation and the what-if
	// explanation side by side.
	const mode = `select[title="authorization.mode"]`
	b.until("what-if is available", `!document.getElementById("whatif").hidden`)
	b.set(mode, "AlwaysAllow")
	b.until("the what-if explanation is shown",
		`document.getElementById("whatif-result").textContent.includes("Instead of 403 refused: 200 allowed")`)
	if differ := js[[]string](b,
		`[...document.querySelectorAll("#stages .changed .name")].map(e => e.textContent)`); fmt.Sprint(
		differ) != "[authorization of nodes/proxy response]" {
		t.Errorf("the differences between the two explanations are %q", differ)
	}
	b.set(mode, "Webhook")
	b.until("the explanation is back to one column", `!document.querySelector("#stages.two")`)

	// A link to one decision opens that decision.
	other := b.another()
	other.visit(address + refused)
	other.until("the explanation of the link",
		`document.getElementById("title").textContent === "GET /containerLogs/default/nginx/nginx"`)
	other.until("it is marked in the list", chosen+" > 0")
	other.quiet()

	// The server applies the filters, and the URL of the page contains them.
	b.set("#filter-outcome", "allowed")
	b.until("only allowed requests are shown",
		rows+` > 0 && [...document.querySelectorAll("#list .result")].every(e => e.textContent.endsWith("allowed"))`)
	if got := js[string](b, "location.search"); got != "?outcome=allowed" {
		t.Errorf("the URL of the page has %q", got)
	}
	send(t, demo, "/pods/filtered-out")
	b.set("#filter-outcome", "")
	b.until("all requests are shown", `document.getElementById("list").textContent.includes("/pods/filtered-out")`)

	// A paused page does not show new requests. When the page continues, it shows all requests that arrived during the
	// pause.
	b.leave()
	b.do(chromedp.KeyEvent("p"))
	b.until("the page is paused",
		`document.body.dataset.state === "paused" && `+
			`document.getElementById("pause").getAttribute("aria-pressed") === "true"`)
	send(t, demo, "/pods/while-paused")
	b.until("the request is counted", `document.getElementById("held").textContent === "show 1 new"`)
	if js[bool](b, `document.getElementById("list").textContent.includes("/pods/while-paused")`) {
		t.Error("a request came into the list while it was paused")
	}
	b.do(chromedp.KeyEvent("p"))
	b.until("the request is shown",
		`document.querySelector("#list .request").textContent.includes("/pods/while-paused")`)

	// All controls work with the keyboard.
	js[string](b, `location.hash = "#" + document.querySelector("#list a").dataset.id`)
	b.until("the first request is selected", chosen+` === Number(document.querySelector("#list a").dataset.id)`)
	first := js[int](b, chosen)
	for _, step := range []struct {
		key  string
		want int
	}{{"j", first - 1}, {kb.ArrowDown, first - 2}, {"k", first - 1}, {kb.ArrowUp, first}} {
		b.do(chromedp.KeyEvent(step.key))
		b.until("the key "+step.key,
			fmt.Sprintf("%s === %d && location.hash === '#%d' && document.activeElement.dataset.id === '%d'", chosen,
				step.want, step.want, step.want))
	}
	// Rows do not move while one of them has the keyboard focus.
	send(t, demo, "/pods/under-the-keyboard")
	b.until("the request is held back", `document.getElementById("held").textContent === "show 1 new"`)
	b.do(chromedp.KeyEvent("/"))
	b.until("the filter has the focus", `document.activeElement.id === "filter-path"`)
	b.until("the request appears",
		`document.querySelector("#list .request").textContent.includes("/pods/under-the-keyboard")`)
	// The method "set" also removes the slash that the key event typed. That slash gets into the field only in this
	// test, where preventDefault has no effect on the synthetic key event.
	b.set("#filter-path", "under-the")
	b.until("one request is shown", rows+" === 1")
	b.do(chromedp.KeyEvent(kb.Escape))

	// A live region announces changes to screen readers, and all controls have accessible names.
	if got := js[string](b,
		`document.getElementById("live").getAttribute("aria-live") + " " + `+
			`(document.getElementById("live").textContent !== "")`); got != "polite true" {
		t.Errorf("the live region contains %s", got)
	}
	if unnamed := js[[]string](b,
		`[...document.querySelectorAll("button, input, select")].filter(e => !e.hidden && !e.labels?.length && `+
			`!e.getAttribute("aria-label") && !e.textContent.trim()).map(e => e.id)`); len(unnamed) > 0 {
		t.Errorf("controls without an accessible name: %q", unnamed)
	}
	b.quiet()
}

// leave removes the keyboard focus from the focused element.
func (b *tab) leave() {
	b.t.Helper()
	js[bool](b, `(document.activeElement.blur(), true)`)
}

// TestMarkupIsText sends requests that contain HTML. The page shows the HTML as text.
func TestMarkupIsText(t *testing.T) {
	demo := startDemo(t)
	b := newTab(t, 1280, 860)
	b.visit("http://" + demo.Admin + "/")
	const evil = `/pods/<img src=x onerror=alert(1)><script>alert(2)</script>"'&amp;`
	send(t, demo, (&url.URL{Path: evil}).EscapedPath())
	b.until("the request with HTML is listed",
		fmt.Sprintf(`document.querySelector("#list .request").textContent === %q`, "GET "+evil))
	js[string](b, `location.hash = "#" + document.querySelector("#list a").dataset.id`)
	b.until("the explanation of the request is shown",
		fmt.Sprintf(`document.getElementById("title").textContent === %q`, "GET "+evil))
	if got := js[int](b, `document.querySelectorAll("img, main script").length`); got != 0 {
		t.Errorf("the path created %d elements", got)
	}
	// The content security policy of the page blocks scripts even if the page inserted HTML by mistake.
	if got := js[string](b,
		`(() => { try { document.body.insertAdjacentHTML("beforeend", "<b>x</b>"); return "taken" } `+
			`catch (e) { return e.name } })()`); got != "TypeError" {
		t.Errorf("inserting HTML: %s, want TypeError", got)
	}
	if got := js[string](b, `fetch("https://example.invalid/").then(() => "sent", e => "refused")`); got != "refused" {
		t.Errorf("a request to another origin was %s, want it blocked", got)
	}
}

// TestPagesFromElsewhere opens a page from another origin. That page cannot read from the admin API or send requests
// to it, and cannot show the admin page in a frame.
func TestPagesFromElsewhere(t *testing.T) {
	demo := startDemo(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w,
			"<p>elsewhere")
	}))
	t.Cleanup(elsewhere.Close)
	b := newTab(t, 1280, 860)
	b.do(chromedp.Navigate(elsewhere.URL))
	base := "http://" + demo.Admin
	for _, request := range []string{
		`fetch("` + base + `/api/decisions")`,
		`fetch("` + base + `/api/events")`,
		`fetch("` + base +
			`/api/send", {method: "POST", headers: {"Content-Type": "application/json"}, ` +
			`body: '{"client": "kubelet-client", "method": "GET", "path": "/pods/from-elsewhere"}'})`,
		`fetch("` + base +
			`/api/send", {method: "POST", headers: {"Content-Type": "text/plain"}, ` +
			`body: '{"client": "kubelet-client", "method": "GET", "path": "/pods/from-elsewhere"}'})`,
	} {
		if got := js[string](b, request+`.then(r => r.text(), e => "refused")`); got != "refused" {
			t.Errorf("%s: %s", request, got)
		}
	}
	// With mode no-cors, a page can send a request to another origin without reading the response. The server must
	// refuse this request too.
	js[string](b,
		`fetch("`+base+
			`/api/send", {method: "POST", mode: "no-cors", `+
			`body: '{"client": "kubelet-client", "method": "GET", "path": "/pods/from-elsewhere"}'})`+
			`.then(() => "", () => "")`)
	b.visit(base + "/?path=from-elsewhere")
	if got := js[int](b, rows); got != 0 {
		t.Errorf("%d requests from a page of another origin were accepted", got)
	}
}

// TestWidths checks that the page fits the screen of a telephone, and takes screenshots.
func TestWidths(t *testing.T) {
	demo := startDemo(t)
	for _, size := range []struct {
		name          string
		width, height int64
	}{{"desktop", 1280, 860}, {"phone", 390, 844}} {
		t.Run(size.name, func(t *testing.T) {
			b := newTab(t, size.width, size.height)
			b.visit("http://" + demo.Admin + "/")
			for _, who := range []string{"no credential", "untrusted", "kubelet-client", "prometheus", "viewer"} {
				sendFrom(b, who, "/containerLogs/default/nginx/nginx?tailLines=3")
				b.fits(who)
			}
			b.until("what-if is available", `!document.getElementById("whatif").hidden`)
			b.leave()
			b.until("the request is in the list", chosen+" > 0")
			b.shoot("page-" + size.name + ".png")
			b.prefers("dark")
			b.fits("dark")
			b.shoot("page-" + size.name + "-dark.png")
			b.prefers("light")
			b.set(`select[title="authorization.mode"]`, "AlwaysAllow")
			b.until("the what-if explanation is shown", `document.querySelector("#stages.two") !== null`)
			b.fits("what if")
			b.shoot("whatif-" + size.name + ".png")
			b.quiet()
		})
	}
}

// The method "fits" verifies that the page is not wider than its window.
func (b *tab) fits(when string) {
	b.t.Helper()
	if over := js[[]string](b,
		`[...document.querySelectorAll("html, #list, #detail, main")].filter(e => e.scrollWidth > e.clientWidth)`+
			`.map(e => e.tagName + "#" + e.id + " " + e.scrollWidth)`); len(over) > 0 {
		b.t.Errorf("%s: these elements are wider than the window: %q", when, over)
	}
}

// TestColours checks that the page uses the color scheme of the operating system until the user selects another one
// with the button. The page remembers the selection.
func TestColours(t *testing.T) {
	demo := startDemo(t)
	b := newTab(t, 1280, 860)
	paper := func() string { return js[string](b, `getComputedStyle(document.documentElement).backgroundColor`) }
	b.visit("http://" + demo.Admin + "/")
	b.prefers("light")
	light := paper()
	b.prefers("dark")
	dark := paper()
	if light == dark {
		t.Errorf("the light and the dark scheme have the same background %s", light)
	}
	named := func() {
		t.Helper()
		if !js[bool](b, `(theme => theme.getAttribute("aria-label").includes(theme.textContent))(`+
			`document.getElementById("theme"))`) {
			t.Error("the accessible name of the theme button does not contain its visible text")
		}
	}
	named()
	b.do(chromedp.Click(chromedp.ID("theme")))
	named()
	if got := paper(); got != light {
		t.Errorf("light was selected, but the background is %s", got)
	}
	b.visit("http://" + demo.Admin + "/?x=1")
	if got := paper(); got != light {
		t.Errorf("light was selected before the reload, but the background is %s", got)
	}
	b.do(chromedp.Click(chromedp.ID("theme")))
	b.prefers("light")
	if got := paper(); got != dark {
		t.Errorf("dark was selected, but the background is %s", got)
	}
}

// TestToken checks that the page prompts for the admin token if the server requires one, reports a wrong token, and
// stores the token only for the tab.
func TestToken(t *testing.T) {
	const token = "a-token-of-32-letters-or-so-more"
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte(token), 0o600))
	demo, _ := startDemoOn(t, "127.0.0.1:0", "--admin-token-file", file)
	b := newTab(t, 1280, 860)
	b.do(chromedp.Navigate("http://" + demo.Admin + "/"))
	b.until("the page prompts for the token",
		`!document.getElementById("token").hidden && document.getElementById("main").hidden`)
	for _, try := range []struct{ token, then string }{
		{"another-token-of-32-letters-or-so", `document.getElementById("token-wrong").textContent !== ""`},
		{token, `document.body.dataset.state === "live" && ` + rows +
			` > 0 && document.getElementById("token").hidden`},
	} {
		b.set("#token-value", try.token)
		b.do(chromedp.Click(chromedp.CSS("#token button")))
		b.until("the page has reacted to the token "+try.token, try.then)
	}
	sendFrom(b, "untrusted", "/pods")
	if kept := js[string](b,
		`JSON.stringify({...localStorage}) + document.cookie + location.href`); strings.Contains(
		kept,
		token) {
		t.Errorf("the page stored the token in %s", kept)
	}
}

// TestLink opens the page with a link like the one that the demo prints on a terminal. The page takes the token from
// the link, removes it from the address bar, keeps it when it is reloaded, and takes the token of another link.
func TestLink(t *testing.T) {
	demo, _ := startDemoOn(t, "127.0.0.1:0", "--keep-decisions", "100")
	header, err := os.ReadFile(demo.AdminTokenFile)
	must(t, err)
	token := strings.TrimPrefix(strings.TrimSpace(string(header)), "Authorization: Bearer ")
	const live = `document.body.dataset.state === "live" && ` + rows + ` > 0 && !document.getElementById("main").hidden`
	b := newTab(t, 1280, 860)
	b.do(chromedp.Navigate("http://" + demo.Admin + "/?outcome=refused#token=" + token))
	b.until("the page is connected", live)
	sendFrom(b, "untrusted", "/pods")
	if got := js[string](b, `location.href`); strings.Contains(got, token) ||
		!strings.Contains(got, "?outcome=refused") {
		t.Errorf("the address is %s, want the filter and no token", got)
	}
	b.do(chromedp.Reload())
	b.until("the page is connected after a reload", live)
	b.do(chromedp.Navigate("http://" + demo.Admin + "/?outcome=refused#token=of-an-earlier-demo"))
	b.until("the page prompts for the token", `!document.getElementById("token").hidden`)
	b.do(chromedp.Navigate("http://" + demo.Admin + "/?outcome=refused#token=" + token))
	b.until("the page is connected by the right link", live)
	if kept := js[string](b, `JSON.stringify({...localStorage}) + document.cookie + location.href`); strings.Contains(
		kept, token) {
		t.Errorf("the page stored the token in %s", kept)
	}
}

// TestItComesBack stops the demo and starts another. The page reports the lost connection, and then follows the new
// demo.
func TestItComesBack(t *testing.T) {
	demo, stop := startDemoOn(t, "127.0.0.1:0")
	b := newTab(t, 1280, 860)
	b.visit("http://" + demo.Admin + "/")
	send(t, demo, "/pods/of-the-first")
	b.until("the page shows the first demo", `document.getElementById("list").textContent.includes("of-the-first")`)
	stop()
	b.until("the page reports that the first demo has stopped", `document.body.dataset.state === "lost"`)
	again, _ := startDemoOn(t, demo.Admin)
	b.until("the page is connected to the second demo", `document.body.dataset.state === "live"`)
	send(t, again, "/pods/of-the-second")
	b.until("only the second demo's requests are shown",
		`document.getElementById("list").textContent.includes("of-the-second") && `+
			`!document.getElementById("list").textContent.includes("of-the-first")`)
	b.do(chromedp.Navigate("http://" + demo.Admin + "/#99999"))
	b.until("the page reports a missing decision",
		`document.getElementById("nothing").textContent`+
			`.includes("decision 99999 is no longer kept, or does not exist")`)
	b.do(chromedp.Navigate("http://" + demo.Admin + "/#"))
	b.until("the message disappears",
		`document.getElementById("nothing").textContent === "Select a request to see how it was handled."`)
}

// TestStates covers what the other tests of the page do not display: a failed handshake, a truncated response, and
// errors.
func TestStates(t *testing.T) {
	demo := startDemo(t)
	b := newTab(t, 1280, 860)
	b.visit("http://" + demo.Admin + "/")
	connection, err := tls.Dial("tcp", demo.Secure, &tls.Config{ServerName: "elsewhere"})
	if err == nil {
		connection.Close()
		t.Fatal("this machine trusts the CA of the serving certificate")
	}
	b.until("the failed handshake is listed",
		`document.querySelector("#list .request").textContent === "TLS handshake"`)
	js[string](b, `location.hash = "#" + document.querySelector("#list a").dataset.id`)
	b.until("the explanation of the handshake is shown",
		`document.querySelector("#stages .failed .name")?.textContent === "TLS"`)
	if js[bool](b, `!document.getElementById("whatif").hidden`) {
		t.Error("the page offers what-if for a failed handshake, which is not a request")
	}
	b.fits("a handshake")
	b.shoot("handshake.png")

	sendFrom(b, "kubelet-client", "/containerLogs/default/nginx/nginx?tailLines=3")
	b.until("the answer is read", `document.getElementById("sent-body").textContent.split("\n").length >= 3`)
	js[bool](b, `(document.getElementById("sent").scrollIntoView(), true)`)
	b.shoot("sent.png")

	sendFrom(b, "untrusted", "/pods")
	b.until("what-if is available", `!document.getElementById("whatif").hidden`)
	b.set(`select[title="authentication.anonymous.enabled"]`, "true")
	b.until("anonymous gives the same result",
		`document.getElementById("whatif-result").textContent.startsWith("Same result: 401 refused")`)
	js[bool](b, `(document.getElementById("remedies").scrollIntoView(), true)`)
	b.shoot("remedies.png")
	b.quiet()
}
