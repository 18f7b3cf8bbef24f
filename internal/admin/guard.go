package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard keeps strangers out: pages from elsewhere, which a browser on this machine has open, and, where there is a token,
// whoever lacks it. There are no CORS headers, so that no page can read what it was not served by this listener.
type guard struct {
	// loopback: only loopback is listened on.
	loopback bool
	// token is the SHA-256 of the token that is wanted, nil where none is.
	token *[sha256.Size]byte
}

// headers are on each response.
var headers = map[string]string{
	"Cache-Control":                "no-store",
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// keepsOut has next serve those requests alone that do not come from a page from elsewhere.
func (g *guard) keepsOut(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		if err := g.check(r); err != nil {
			writeError(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// wantsToken has next serve those requests alone that have the token, where one is wanted.
func (g *guard) wantsToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.admits(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="fauxlet"`)
			writeError(w, refuse(http.StatusUnauthorized, "send the token of --admin-token-file, as in: Authorization: Bearer TOKEN"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *guard) check(r *http.Request) error {
	if !g.knows(r.Host) {
		return refuse(http.StatusForbidden, "Host %q is not this listener's: ask for it by its address, or as localhost", r.Host)
	}
	if origin := r.Header.Values("Origin"); len(origin) > 1 || len(origin) == 1 && origin[0] != "http://"+r.Host {
		return refuse(http.StatusForbidden, "Origin %q: a page from elsewhere may not ask here", origin)
	}
	// What a browser sends where it sends no Origin. That somebody follows a link to here is no harm.
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "same-origin", "none":
	default:
		if r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document" {
			return refuse(http.StatusForbidden, "Sec-Fetch-Site %q: a page from elsewhere may not ask here", site)
		}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		// A form of another page cannot send this without asking first.
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			return refuse(http.StatusUnsupportedMediaType, "Content-Type %q: what changes something is sent as application/json", r.Header.Get("Content-Type"))
		}
	}
	return nil
}

// knows says whether a Host header names this listener. A page of a stranger that has its own name point to this machine
// sends that name; it cannot send an address. Where more than loopback is listened on, addresses may be translated on the
// way, and so any will do.
func (g *guard) knows(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && (address.Unmap().IsLoopback() || !g.loopback)
}

// admits says whether a request has the token, in a time that does not tell how much of it was right.
func (g *guard) admits(r *http.Request) bool {
	if g.token == nil {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// ErrNoToken is what Listen says where there must be a token, and is none.
var ErrNoToken = errors.New("can be reached from other machines: that needs a token")

// minToken is how long a token must be, in bytes, to be none that can be guessed.
const minToken = 16

// newGuard makes the guard of a listener. A token is wanted where there is one, and there must be one where others than this
// machine can connect.
func newGuard(address net.Addr, token string) (*guard, error) {
	g := &guard{}
	if tcp, ok := address.(*net.TCPAddr); ok {
		g.loopback = tcp.IP.IsLoopback()
	}
	switch {
	case token == "" && !g.loopback:
		return nil, fmt.Errorf("%v %w, or take an address of loopback, as in 127.0.0.1", address, ErrNoToken)
	case token == "":
		return g, nil
	case len(token) < minToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, fmt.Errorf("the token must have at least %d visible letters, and no space; make one with: openssl rand -hex 32", minToken)
	}
	sum := sha256.Sum256([]byte(token))
	g.token = &sum
	return g, nil
}
