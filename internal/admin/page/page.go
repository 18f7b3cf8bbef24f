// Package page is the web page of the admin listener: a live list of decisions, the explanation and remedies of a
// selected decision, and what-if. The page consists of static files. All its data comes from the admin API; it loads
// nothing from other servers.
package page

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed web
var web embed.FS

// policy is the Content-Security-Policy of the page. It allows only the page's own files and the API of the same
// origin. Clients choose the names and paths that the page shows. The page inserts them as text; trusted types make
// sure that the browser never parses them as HTML or scripts.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// Handler returns a handler that serves the page. The page contains no secrets, so it can be served without a token.
func Handler() http.Handler {
	files, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // impossible: the folder is embedded
	}
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are allowed", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Security-Policy", policy)
		server.ServeHTTP(w, r)
	})
}
