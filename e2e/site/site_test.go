package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSite makes the site from the pages of this repository, which fails if a link is broken. The pages must not load
// anything from another server, and must have no link to a file that the site does not have.
func TestSite(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	if err := build("../..", out, ""); err != nil {
		t.Fatal(err)
	}
	pages := 0
	loads := regexp.MustCompile(`(?:src|<link [^>]*href)="([^"]*)"|url\(([^)]*)\)|@import ([^;]*)`)
	links := regexp.MustCompile(`<a [^>]*href="([^"#]+)`)
	visit := func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(file, ".png") {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name := filepath.Base(file)
		if strings.HasSuffix(name, ".js") {
			if name != "search-index.js" && bytes.Contains(data, []byte("://")) {
				t.Errorf("%s may load something from another server", name)
			}
			return nil
		}
		for _, found := range loads.FindAllStringSubmatch(string(data), -1) {
			target := found[1] + found[2] + found[3]
			if _, err := os.Stat(filepath.Join(out, target)); err != nil && target != "data:," {
				t.Errorf("%s loads %s: %v", name, target, err)
			}
		}
		if strings.HasSuffix(name, ".html") {
			pages++
		}
		for _, found := range links.FindAllStringSubmatch(string(data), -1) {
			if _, err := os.Stat(filepath.Join(out, found[1])); err != nil && !strings.Contains(found[1], "://") {
				t.Errorf("%s has a link to %s: %v", name, found[1], err)
			}
		}
		return nil
	}
	if err := filepath.WalkDir(out, visit); err != nil {
		t.Fatal(err)
	}
	if pages < 25 {
		t.Errorf("the site has %d pages, want at least 25", pages)
	}
}

// repository writes a small repository with pages to a new folder.
func repository(t *testing.T, pages map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"README.md": "# Readme\n", "CONTRIBUTING.md": "# C\n", "SECURITY.md": "# S\n", "CHANGELOG.md": "# L\n",
		"LICENSE": "free\n", "docs/README.md": "# Documentation\n\n## Pages\n\n| page |\n|---|\n" +
			"| [one.md](one.md) |\n| [c](../CONTRIBUTING.md) |\n| [s](../SECURITY.md) |\n| [l](../CHANGELOG.md) |\n",
		"docs/one.md": "# One: a page\n",
	}
	for name, content := range pages {
		files[name] = content
	}
	for name, content := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestBrokenLinks checks that each broken link is an error with the page, the link and a remedy, and that nothing is
// written then.
func TestBrokenLinks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, content, want string }{
		"missing page": {"docs/one.md", "# One\n\nSee [two](two.md).\n",
			"docs/one.md: [two](two.md): the repository has no file docs/two.md; correct the path, which is relative"},
		"file outside the repository": {"docs/one.md", "# One\n\n[up](../../../etc/passwd)\n",
			"docs/one.md: [up](../../../etc/passwd): the repository has no file ../../etc/passwd"},
		"no destination": {"docs/one.md", "# One\n\nSee [two]().\n",
			"docs/one.md: [two](): the link leads nowhere; write a path, a URL or an anchor between the parentheses"},
		"missing heading": {"docs/one.md", "# One\n\n## To the end\n\n[it](#the-end)\n",
			"[it](#the-end): docs/one.md has no heading with the anchor #the-end; did you mean #to-the-end?"},
		"missing heading of another page": {"SECURITY.md", "# S\n\n[it](docs/one.md#nothing)\n",
			"SECURITY.md: [it](docs/one.md#nothing): docs/one.md has no heading with the anchor #nothing; use"},
		"missing image": {"docs/one.md", "# One\n\n![a picture](images/none.png)\n",
			"docs/one.md: ![…](images/none.png): no such image; put it into docs/images"},
		"HTML": {"docs/one.md", "# One\n\n<img src=\"https://example.com/x.png\">\n",
			"the site leaves HTML out; write Markdown, or code in backticks"},
		"page without a link": {"docs/two.md", "# Two\n",
			"docs/two.md: not in the navigation; add a row to a table of docs/README.md"},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "site")
			err := build(repository(t, map[string]string{test.file: test.content}), out, "")
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("pages were written in spite of the error")
			}
		})
	}
}

// TestLinks checks that links lead to pages of the site, and that links to other files of the repository become text
// unless there is a URL for them.
func TestLinks(t *testing.T) {
	t.Parallel()
	root := repository(t, map[string]string{"docs/one.md": "# One: a page\n\n## `a_b`, and c!\n\n## Same\n\n" +
		"## Same\n\n[a](../README.md) [b](#a_b-and-c) [c](../docs/one.md#same-1) [d](../LICENSE) " +
		"[e](https://example.com/x#y) <!-- note --> [one.md](one.md)\n"})
	for source, license := range map[string]string{"": " d ",
		"https://example.com/blob/": `<a href="https://example.com/blob/LICENSE">d</a>`} {
		out := t.TempDir()
		if err := build(root, out, source); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(out, "one.html"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`<a href="one.html">One</a>`, `<a href="readme.html">a</a>`,
			`<a href="#a_b-and-c">b</a>`,
			`<a href="one.html#same-1">c</a>`, license, `<a href="https://example.com/x#y">e</a>`,
			`<a href="one.html" aria-current="page">One</a>`, `id="same-1"`} {
			if !bytes.Contains(data, []byte(want)) {
				t.Errorf("with the source URL %q, the page lacks %s:\n%s", source, want, data)
			}
		}
	}
}

// TestStalePages checks that pages and images of an earlier run are removed once the repository no longer has them.
// Other files in the folder stay. A file outside it is never removed, even if the list of written files names it.
func TestStalePages(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	out := filepath.Join(parent, "site")
	with := repository(t, map[string]string{"docs/images/old.png": "png", "docs/old.md": "# Old\n",
		"docs/one.md": "# One\n\n[old](old.md)\n\n![old](images/old.png)\n",
		"docs/README.md": "# Documentation\n\n## Pages\n\n| page |\n|---|\n| [one.md](one.md) |\n" +
			"| [old.md](old.md) |\n| [c](../CONTRIBUTING.md) |\n| [s](../SECURITY.md) |\n| [l](../CHANGELOG.md) |\n"})
	if err := build(with, out, ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"outside.html", "site/CNAME", "site/mine.html", "site/images/mine.png"} {
		if err := os.WriteFile(filepath.Join(parent, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := build(repository(t, nil), out, ""); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]bool{"site/old.html": false, "site/images/old.png": false,
			"site/one.html": true, "site/CNAME": true, "site/mine.html": true, "site/images/mine.png": true} {
			if _, err := os.Stat(filepath.Join(parent, name)); (err == nil) != want {
				t.Errorf("%s: %v, must exist: %v", name, err, want)
			}
		}
	}
	list := filepath.Join(out, "site-files.txt")
	if err := os.WriteFile(list, []byte("gone.html\n../outside.html\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := build(repository(t, nil), out, "")
	if err == nil || !strings.Contains(err.Error(), "site-files.txt lists ../outside.html: ") {
		t.Errorf("error %v, want one about ../outside.html", err)
	}
	if _, err := os.Stat(filepath.Join(parent, "outside.html")); err != nil {
		t.Error(err)
	}
}
