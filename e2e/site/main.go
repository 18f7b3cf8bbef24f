// Command site makes static HTML pages from the Markdown pages of this repository. The pages work offline, also when
// they are opened as files: they load nothing from other servers, and the search needs no server. The command fails if
// a link leads to a missing page, file or heading, or nowhere. It removes what an earlier run wrote and the site no
// longer has.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

var (
	//go:embed page.html
	pageTemplate string
	//go:embed style.css
	style []byte
	//go:embed search.js
	search []byte
)

// index is the page whose tables list the other pages. The navigation is made from it.
const index = "docs/README.md"

func main() {
	root := flag.String("root", "..", "folder of the repository")
	out := flag.String("out", "../site", "folder for the pages; it is created if it does not exist")
	source := flag.String("source", "", "URL for links to files of the repository that are no pages, such as "+
		"https://github.com/OWNER/fauxlet/blob/main/; without it, such links become plain text")
	flag.Parse()
	if err := build(*root, *out, *source); err != nil {
		fmt.Fprintln(os.Stderr, "site:", strings.ReplaceAll(err.Error(), "\n", "\nsite: "))
		os.Exit(1)
	}
}

// written is the file of the site that lists the files of the site.
const written = "site-files.txt"

// site is all pages while they are made.
type site struct {
	root, source string
	markdown     goldmark.Markdown
	pages        []*page
	byFile       map[string]*page
	images       map[string]bool // the names of images in docs/images that pages show
}

// page is one page.
type page struct {
	file     string // the path in the repository, such as docs/check.md
	url      string // the path in the site, such as check.html
	title    string
	text     []byte
	document ast.Node
	anchors  map[string]bool
	sections []section
}

// section is a part of a page from one heading to the next. The search finds sections.
type section struct {
	level        int
	anchor, name string
	text         strings.Builder
}

// group is a heading of the navigation with links to pages.
type group struct {
	Name  string
	Pages []*page
}

// build writes the pages of the repository at root to the folder "out". If a page has an error, such as a broken link,
// it writes nothing and returns all errors.
func build(root, out, source string) error {
	s := &site{root: root, source: source, byFile: map[string]*page{}, images: map[string]bool{},
		markdown: goldmark.New(goldmark.WithExtensions(extension.GFM),
			goldmark.WithParserOptions(parser.WithAutoHeadingID()))}
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		return err
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"} {
		files = append(files, filepath.Join(root, name))
	}
	for _, file := range files {
		if err := s.read(file); err != nil {
			return err
		}
	}
	if s.byFile[index] == nil {
		return fmt.Errorf("%s: missing; -root must be the folder of the repository", filepath.Join(root, index))
	}
	navigation := s.navigation() // before links to pages get the names of HTML files
	var problems []error
	listed := map[*page]bool{}
	for _, g := range navigation {
		for _, p := range g.Pages {
			listed[p] = true
		}
	}
	for _, p := range s.pages {
		problems = append(problems, s.resolveLinks(p)...)
		if !listed[p] {
			problems = append(problems, fmt.Errorf("%s: not in the navigation; add a row to a table of %s", p.file,
				index))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	return s.write(out, navigation)
}

// read parses a page and its sections.
func (s *site) read(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	name, err := filepath.Rel(s.root, file)
	if err != nil {
		return err
	}
	p := &page{file: filepath.ToSlash(name), text: data, anchors: map[string]bool{}}
	p.url = strings.ToLower(strings.TrimSuffix(path.Base(p.file), ".md")) + ".html"
	if p.file == index {
		p.url = "index.html"
	}
	p.document = s.markdown.Parser().Parse(text.NewReader(data), parser.WithContext(
		parser.NewContext(parser.WithIDs(&anchors{used: p.anchors}))))
	p.sections = []section{{}}
	for block := p.document.FirstChild(); block != nil; block = block.NextSibling() {
		if heading, ok := block.(*ast.Heading); ok {
			id, _ := heading.AttributeString("id")
			p.sections = append(p.sections, section{level: heading.Level, anchor: string(id.([]byte)),
				name: textOf(heading, data)})
			if p.title == "" {
				p.title = textOf(heading, data)
			}
			continue
		}
		b := &p.sections[len(p.sections)-1].text
		b.WriteString(textOf(block, data))
	}
	s.pages = append(s.pages, p)
	s.byFile[p.file] = p
	return nil
}

// textOf returns the text of a node without its markup.
func textOf(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Text:
			if entering {
				b.Write(n.Value(source))
				if n.SoftLineBreak() || n.HardLineBreak() {
					b.WriteByte(' ')
				}
			}
		case *ast.FencedCodeBlock, *ast.CodeBlock:
			if entering {
				b.Write(n.Lines().Value(source))
			}
		}
		if !entering && (n.Type() == ast.TypeBlock) && n.Kind() != ast.KindHeading {
			b.WriteByte(' ')
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// anchors makes the anchors of headings as GitHub does, so that links in the Markdown files work on both.
type anchors struct{ used map[string]bool }

func (a *anchors) Generate(value []byte, _ ast.NodeKind) []byte {
	base := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
			return r
		}
		return -1
	}, strings.ToLower(strings.TrimSpace(string(value))))
	anchor := base
	for i := 1; a.used[anchor]; i++ {
		anchor = fmt.Sprintf("%s-%d", base, i)
	}
	a.used[anchor] = true
	return []byte(anchor)
}

func (a *anchors) Put(value []byte) { a.used[string(value)] = true }

// navigation returns the pages that the tables of the index list, grouped by its headings.
func (s *site) navigation() []group {
	home := s.byFile[index]
	groups := []group{{Name: "Start", Pages: []*page{home, s.byFile["README.md"]}}}
	for block := home.document.FirstChild(); block != nil; block = block.NextSibling() {
		switch block := block.(type) {
		case *ast.Heading:
			if block.Level > 1 {
				groups = append(groups, group{Name: textOf(block, home.text)})
			}
		case *extast.Table:
			last := &groups[len(groups)-1]
			for row := block.FirstChild(); row != nil; row = row.NextSibling() {
				if link, ok := row.FirstChild().FirstChild().(*ast.Link); ok {
					if p := s.byFile[path.Join("docs", string(link.Destination))]; p != nil {
						last.Pages = append(last.Pages, p)
					}
				}
			}
		}
	}
	return groups
}

// resolveLinks changes the links of a page from Markdown files to pages of the site, and returns the broken ones.
func (s *site) resolveLinks(p *page) (problems []error) {
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(p.file+": "+format, args...))
	}
	var toText []*ast.Link
	_ = ast.Walk(p.document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			to, err := s.resolve(p, string(n.Destination))
			switch {
			case err != nil:
				problem("[%s](%s): %w", textOf(n, p.text), n.Destination, err)
			case to == "":
				toText = append(toText, n)
			default:
				if other := s.linked(p, n); other != nil { // the site has no .md files
					n.RemoveChildren(n)
					n.AppendChild(n, ast.NewString([]byte(other.short())))
				}
				n.Destination = []byte(to)
			}
		case *ast.Image:
			name, found := strings.CutPrefix(path.Join(path.Dir(p.file), string(n.Destination)), "docs/images/")
			if _, err := os.Stat(filepath.Join(s.root, "docs/images", name)); !found || err != nil {
				problem("![…](%s): no such image; put it into docs/images", n.Destination)
			}
			s.images[name] = true
			n.Destination = []byte("images/" + name)
		case *ast.HTMLBlock, *ast.RawHTML:
			if html := rawHTML(n, p.text); !strings.HasPrefix(html, "<!--") {
				problem("%.40q: the site leaves HTML out; write Markdown, or code in backticks", html)
			}
		}
		return ast.WalkContinue, nil
	})
	for _, link := range toText { // its children take the place of the link
		for child := link.FirstChild(); child != nil; child = link.FirstChild() {
			link.Parent().InsertBefore(link.Parent(), link, child)
		}
		link.Parent().RemoveChild(link.Parent(), link)
	}
	return problems
}

// linked returns the page to which a link leads if the text of the link is the name of the page's file.
func (s *site) linked(from *page, link *ast.Link) *page {
	file, anchor, _ := strings.Cut(string(link.Destination), "#")
	if text := textOf(link, from.text); anchor != "" || text != file && text != path.Base(file) {
		return nil
	}
	return s.byFile[path.Join(path.Dir(from.file), file)]
}

func rawHTML(n ast.Node, source []byte) string {
	if inline, ok := n.(*ast.RawHTML); ok {
		return string(inline.Segments.Value(source))
	}
	return strings.TrimSpace(string(n.Lines().Value(source)))
}

// resolve returns the destination in the site for a link of a page. It is empty for a file of the repository that is no
// page, if there is no URL for such files.
func (s *site) resolve(from *page, destination string) (string, error) {
	if strings.Contains(destination, "://") || strings.HasPrefix(destination, "mailto:") {
		return destination, nil
	}
	if destination == "" {
		return "", errors.New("the link leads nowhere; write a path, a URL or an anchor between the parentheses")
	}
	file, anchor, hasAnchor := strings.Cut(destination, "#")
	to := from
	if file != "" {
		name := path.Join(path.Dir(from.file), file)
		if to = s.byFile[name]; to == nil {
			if _, err := os.Stat(filepath.Join(s.root, name)); err != nil || strings.HasPrefix(name, "..") {
				return "", fmt.Errorf("the repository has no file %s; correct the path, which is relative to %s/", name,
					path.Dir(from.file))
			}
			if s.source == "" {
				return "", nil
			}
			return strings.TrimSuffix(s.source, "/") + "/" + name, nil
		}
	}
	if hasAnchor && !to.anchors[anchor] {
		return "", fmt.Errorf("%s has no heading with the anchor #%s%s", to.file, anchor, nearest(anchor, to.anchors))
	}
	if file == "" {
		return destination, nil
	}
	return strings.TrimSuffix(to.url+"#"+anchor, "#"), nil
}

// nearest returns advice with the anchors that have the most in common with a missing anchor.
func nearest(anchor string, all map[string]bool) string {
	best, most := "", 0
	for other := range all {
		common := 0
		for _, word := range strings.Split(anchor, "-") {
			if strings.Contains("-"+other+"-", "-"+word+"-") {
				common++
			}
		}
		if common > most || common == most && common > 0 && other < best {
			best, most = other, common
		}
	}
	if best == "" {
		return "; use the text of a heading in lower case, with hyphens for spaces"
	}
	return "; did you mean #" + best + "?"
}

// write writes the pages, the search index, the images and the style sheet.
func (s *site) write(out string, navigation []group) error {
	files := map[string][]byte{"style.css": style, "search.js": search}
	for name := range s.images {
		data, err := os.ReadFile(filepath.Join(s.root, "docs/images", name))
		if err != nil {
			return err
		}
		files["images/"+name] = data
	}
	layout, err := template.New("page").Funcs(template.FuncMap{"short": (*page).short}).Parse(pageTemplate)
	if err != nil {
		return err
	}
	var found [][4]string // URL, page, heading, text
	for _, p := range s.pages {
		var content, whole bytes.Buffer
		if err := s.markdown.Renderer().Render(&content, p.text, p.document); err != nil {
			return err
		}
		// Wide tables and code scroll on their own, also with the keyboard.
		html := strings.NewReplacer("<table>", `<div class="wide" tabindex="0"><table>`, "</table>", "</table></div>",
			"<pre>", `<pre tabindex="0">`).Replace(content.String())
		if err := layout.Execute(&whole, map[string]any{"Page": p, "URL": p.url, "Title": p.title, "File": p.file,
			"Content": template.HTML(html), "Navigation": navigation, "Contents": p.contents()}); err != nil {
			return err
		}
		files[p.url] = whole.Bytes()
		for i := range p.sections {
			section := &p.sections[i]
			if text := strings.Join(strings.Fields(section.text.String()), " "); section.level > 0 {
				found = append(found, [4]string{p.url + "#" + section.anchor, p.title, section.name, text})
			}
		}
	}
	data, err := json.Marshal(found)
	if err != nil {
		return err
	}
	files["search-index.js"] = append([]byte("var searchIndex = "), data...)
	files[written] = []byte(strings.Join(slices.Sorted(maps.Keys(files)), "\n") + "\n")
	if err := removeStale(out, files); err != nil {
		return err
	}
	for name, data := range files {
		file := filepath.Join(out, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// removeStale removes the files that an earlier run wrote to the folder "out" if they are not among the new files.
// Other files stay, because the folder may also contain what the server of the site needs.
func removeStale(out string, files map[string][]byte) error {
	folder, err := os.OpenRoot(out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer folder.Close()
	list, err := folder.ReadFile(written)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for name := range strings.Lines(string(list)) {
		name = strings.TrimSpace(name)
		if _, isNew := files[name]; isNew || name == "" {
			continue
		}
		if err := folder.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s lists %s: %w; remove this line", filepath.Join(out, written), name, err)
		}
	}
	return nil
}

// short returns the title of a page for the navigation: the part before a colon.
func (p *page) short() string {
	title, _, _ := strings.Cut(p.title, ":")
	return title
}

// URL returns the path of the page in the site.
func (p *page) URL() string { return p.url }

// contents returns the headings for the table of contents of a page, as pairs of anchor and text. A page with few
// headings has none.
func (p *page) contents() (all [][2]string) {
	for i := range p.sections {
		if section := &p.sections[i]; section.level == 2 {
			all = append(all, [2]string{section.anchor, section.name})
		}
	}
	if len(all) < 3 {
		return nil
	}
	return all
}
