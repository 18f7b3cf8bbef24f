// Package page is the page on which a browser shows what package trace tells: a list of decisions as they come, and the road
// of one of them, with what changes it. It is files, served as they are: what is drawn comes from the API, where it was
// decided, and nothing is fetched from elsewhere.
package page

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed web
var web embed.FS

// policy lets the page use its own files and the API beside it. What is shown has names and paths that strangers choose:
// trusted types keep all of it from being taken for markup or a script, though the page never tries.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler serves the page. It is the same for everybody, and has no secrets.
func Handler() http.Handler {
	files, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // a folder that is embedded is there
	}
	server := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this is read, and not sent to", http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Security-Policy", policy)
		server.ServeHTTP(w, r)
	})
}
