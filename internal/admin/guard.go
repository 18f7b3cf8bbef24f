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

// guard protects the listener from web pages of other origins that are open in a browser on this machine. If a token is
// required, guard also rejects clients without the token, such as programs of other users of this machine. The server
// sends no CORS headers, so pages of other origins cannot read its responses.
type guard struct {
	loopback bool               // the listener has a loopback address
	token    *[sha256.Size]byte // the SHA-256 of the required token; nil if no token is required
}

// headers are the headers of every response.
var headers = map[string]string{
	"Cache-Control":                "no-store",
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// sameOrigin rejects requests from web pages of other origins.
func (g *guard) sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		if err := g.checkOrigin(r); err != nil {
			writeError(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// requireToken rejects requests without the token, if one is required.
func (g *guard) requireToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.hasToken(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="fauxlet"`)
			writeError(w, errorf(http.StatusUnauthorized,
				"this server requires a token: send Authorization: Bearer TOKEN, with the token of "+
					"--admin-token-file, or of the file that the log of the server names"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *guard) checkOrigin(r *http.Request) error {
	if !g.allowsHost(r.Host) {
		return errorf(http.StatusForbidden, "Host %q does not name this listener; use its IP address or localhost",
			r.Host)
	}
	if origin := r.Header.Values("Origin"); len(origin) > 1 || len(origin) == 1 && origin[0] != "http://"+r.Host {
		return errorf(http.StatusForbidden, "Origin %q: requests from pages of another origin are not allowed", origin)
	}
	// Check Sec-Fetch-Site too, because browsers send it even with requests that have no Origin header. Allow requests
	// that only follow a link to this listener, because they are harmless.
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "same-origin", "none":
	default:
		followsLink := r.Method == http.MethodGet &&
			r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
		if !followsLink {
			return errorf(http.StatusForbidden,
				"Sec-Fetch-Site %q: requests from pages of another origin are not allowed", site)
		}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		// A page of another origin cannot send application/json without a CORS preflight request, and this server
		// rejects preflight requests.
		contentType := r.Header.Get("Content-Type")
		if kind, _, err := mime.ParseMediaType(contentType); err != nil || kind != "application/json" {
			return errorf(http.StatusUnsupportedMediaType, "Content-Type %q: must be application/json", contentType)
		}
	}
	return nil
}

// allowsHost reports whether the Host header is acceptable. It prevents DNS rebinding: a web page can make its own
// DNS name resolve to this machine, but its requests then have that name as Host, never an IP address. A listener on
// an address other than loopback accepts any IP address as Host, because NAT may translate addresses.
func (g *guard) allowsHost(hostport string) bool {
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

// hasToken reports whether a request has the required token. The comparison takes constant time.
func (g *guard) hasToken(r *http.Request) bool {
	if g.token == nil {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// ErrNoToken means that no token is configured although other machines can reach the address. Listen wraps this error.
var ErrNoToken = errors.New("a token is required, because other machines can reach this address")

func isLoopback(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// minToken is the minimum length of a token in bytes. A shorter token could be guessed.
const minToken = 16

// newGuard returns the guard of a listener. The token may be empty on a loopback address only.
func newGuard(address net.Addr, token string) (*guard, error) {
	g := &guard{loopback: isLoopback(address)}
	switch {
	case token == "" && !g.loopback:
		return nil, fmt.Errorf("%v: %w; set one, or use a loopback address such as 127.0.0.1", address, ErrNoToken)
	case token == "":
		return g, nil
	case len(token) < minToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, fmt.Errorf("the token must have at least %d printable ASCII characters and no space; "+
			"make one with: openssl rand -hex 32", minToken)
	}
	sum := sha256.Sum256([]byte(token))
	g.token = &sum
	return g, nil
}
