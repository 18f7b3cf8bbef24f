package vectors

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Load reads the corpus.
func Load() (*Corpus, error) { return load(files) }

// load reads all *.txt of a file system. An error names the file and the line.
func load(fsys fs.FS) (*Corpus, error) {
	p := &parser{corpus: &Corpus{Configurations: map[string]Settings{}, Clients: map[string]Client{}}}
	names, err := fs.Glob(fsys, "*.txt")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		p.file(name, string(text))
		if p.err != nil {
			return nil, p.err
		}
	}
	for i := range p.corpus.Cases { // a file may use what a later one has
		c := &p.corpus.Cases[i]
		if _, known := p.corpus.Configurations[c.Configuration]; !known {
			return nil, fmt.Errorf("%s: there is no configuration %q", c.Where, c.Configuration)
		}
		if _, known := p.corpus.Clients[c.Client]; !known {
			return nil, fmt.Errorf("%s: there is no client %q", c.Where, c.Client)
		}
	}
	return p.corpus, nil
}

type parser struct {
	corpus *Corpus
	where  string
	err    error
	// settings are those of the configuration whose lines are read.
	settings Settings
	// outer are the lines that the present one stands below.
	outer []outer
}

// outer is a line without a decision: what stands below it, deeper, has its parts too.
type outer struct {
	indent int
	parts  parts
}

// parts are what a line says of requests. Each is a set, and nil where nothing is said.
type parts struct {
	configurations, clients, methods, paths, protocols, bodies, ports []string
	headers                                                           [][]string
	faults                                                            []map[string]string
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%s: %s", p.where, fmt.Sprintf(format, args...))
	}
}

func (p *parser) file(name, text string) {
	p.settings, p.outer = nil, nil
	number := 0
	for line := range strings.Lines(text) {
		number++
		p.where = fmt.Sprintf("vectors/%s:%d", name, number)
		p.line(strings.TrimRight(line, "\n"))
		if p.err != nil {
			return
		}
	}
}

func (p *parser) line(line string) {
	content := strings.TrimLeft(line, " ")
	if strings.HasPrefix(content, "\t") {
		p.fail("indent with spaces")
	}
	if content == "" || content[0] == '#' {
		return
	}
	indent := len(line) - len(content)
	if indent > 0 && p.settings != nil {
		p.setting(content)
		return
	}
	p.settings = nil
	words := p.split(content)
	if p.err != nil || len(words) == 0 {
		return
	}
	switch words[0].text {
	case "configuration":
		p.configuration(words[1:])
	case "client":
		p.client(words[1:])
	default:
		p.request(indent, words)
	}
}

func (p *parser) configuration(words []word) {
	if len(words) != 1 {
		p.fail("want: configuration NAME")
		return
	}
	name := words[0].text
	if p.corpus.Configurations[name] != nil {
		p.fail("configuration %q is there already", name)
		return
	}
	p.settings = Settings{}
	p.corpus.Configurations[name] = p.settings
}

func (p *parser) setting(line string) {
	path, text, found := strings.Cut(line, ": ")
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); !found || err != nil {
		p.fail("want: path.of.field: value, in YAML (%v)", err)
		return
	}
	p.settings[path] = value
}

func (p *parser) client(words []word) {
	if len(words) == 0 {
		p.fail("want: client NAME [certificate KIND [CN=name] [O=group]...] [header \"Name: value\"]...")
		return
	}
	name := words[0].text
	if _, there := p.corpus.Clients[name]; there {
		p.fail("client %q is there already", name)
		return
	}
	var c Client
	for words = words[1:]; len(words) > 0; words = words[1:] {
		text := words[0].text
		switch {
		case (text == "certificate" || text == "header") && len(words) > 1:
			words = words[1:]
			if text == "certificate" {
				c.Kind = words[0].text
			} else {
				c.Headers = append(c.Headers, words[0].text)
			}
		case strings.HasPrefix(text, "CN="):
			c.CommonName = text[3:]
		case strings.HasPrefix(text, "O="):
			c.Organizations = append(c.Organizations, text[2:])
		default:
			p.fail("client %s: %q: want certificate KIND, CN=, O= or header", name, text)
			return
		}
	}
	p.corpus.Clients[name] = c
}

func (p *parser) request(indent int, words []word) {
	for len(p.outer) > 0 && p.outer[len(p.outer)-1].indent >= indent {
		p.outer = p.outer[:len(p.outer)-1]
	}
	var all parts
	if len(p.outer) > 0 {
		all = p.outer[len(p.outer)-1].parts
	}
	rest := p.parts(words, &all)
	if p.err != nil {
		return
	}
	if rest == nil {
		p.outer = append(p.outer, outer{indent, all})
		return
	}
	if want := p.decision(rest); p.err == nil {
		p.cases(all, want)
	}
}

// parts reads a line up to the arrow, and gives what follows it; nil where there is none.
func (p *parser) parts(words []word, all *parts) []word {
	for len(words) > 0 {
		text := words[0].text
		if text == "->" && !words[0].quoted {
			return words[1:]
		}
		into := map[string]*[]string{"in": &all.configurations, "as": &all.clients, "over": &all.protocols, "sending": &all.bodies, "on": &all.ports}[text]
		switch {
		case len(words) < 2:
			p.fail("%q: something should follow it", text)
			return nil
		case into != nil:
			*into = expand(words[1].text)
		case text == "with":
			all.headers = append(slices.Clone(all.headers), expand(words[1].text))
		case text == "while":
			kind, fault, found := strings.Cut(words[1].text, " ")
			if !found {
				p.fail("while %q: want \"KIND fault\", as in \"TokenReview 403\"", words[1].text)
				return nil
			}
			all.faults = also(all.faults, kind, expand(fault))
		case words[0].quoted || strings.ToLower(text) == text && !strings.HasPrefix(text, "{"):
			p.fail("%q: want in, as, on, over, with, sending, while, a METHOD with its path, or ->", text)
			return nil
		default:
			all.methods, all.paths = expand(text), expand(words[1].text)
		}
		words = words[2:]
	}
	return nil
}

// also gives each of several sets of faults one more, in each of several ways.
func also(sets []map[string]string, kind string, faults []string) []map[string]string {
	if sets == nil {
		sets = []map[string]string{nil}
	}
	var all []map[string]string
	for _, set := range sets {
		for _, fault := range faults {
			more := map[string]string{kind: fault}
			for kind, fault := range set {
				if _, there := more[kind]; !there {
					more[kind] = fault
				}
			}
			all = append(all, more)
		}
	}
	return all
}

// decision reads what follows the arrow.
func (p *parser) decision(words []word) *Expectation {
	d := &Expectation{}
	next := func() (word, bool) {
		if len(words) == 0 {
			return word{}, false
		}
		first := words[0]
		words = words[1:]
		return first, true
	}
	status, _ := next()
	var err error
	if d.Status, err = strconv.Atoi(status.text); err != nil {
		p.fail("%q after ->: want a status", status.text)
		return d
	}
	for w, ok := next(); ok; w, ok = next() {
		switch {
		case w.quoted:
		case w.text == "unasked":
			d.NoAuthentication = true
			continue
		case w.text == "TokenReview":
			d.TokenReviews++
			continue
		case w.text == "because" || w.text == "says" || w.text == "header":
			value, ok := next()
			if !ok {
				p.fail("%s: something should follow it", w.text)
			}
			switch w.text {
			case "because":
				d.Reason = value.text
			case "says":
				d.BodyContains = value.text
			default:
				d.Headers = append(d.Headers, value.text)
			}
			continue
		}
		if d.Authorization != NoAuthorization {
			p.fail("%q: a second user", w.text)
			return d
		}
		d.User = w.text
		words = p.answer(d, words)
		if p.err != nil {
			return d
		}
	}
	return d
}

// answer reads what was asked of a user: [groups] may [not] VERB subresource...
func (p *parser) answer(d *Expectation, words []word) []word {
	if len(words) > 0 && strings.HasPrefix(words[0].text, "[") {
		d.Groups = strings.Fields(strings.Trim(words[0].text, "[]"))
		if d.Groups == nil {
			d.Groups = []string{}
		}
		words = words[1:]
	}
	if len(words) == 0 {
		p.fail("user %q: want may, may not, unsure or always after it", d.User)
		return nil
	}
	switch words[0].text {
	case "always":
		d.Authorization = AlwaysAllow
		return words[1:]
	case "unsure":
		d.Authorization = CheckError
	case "may":
		d.Authorization = Allowed
		if len(words) > 1 && words[1].text == "not" {
			d.Authorization = Denied
			words = words[1:]
		}
	default:
		p.fail("%q after user %q: want may, may not, unsure or always", words[0].text, d.User)
		return nil
	}
	words = words[1:]
	for first := true; len(words) > 0; words = words[1:] {
		text := words[0].text
		if first {
			d.Verb, first = text, false
			continue
		}
		if slices.Contains([]string{"because", "says", "header", "TokenReview", "unasked"}, text) {
			break
		}
		d.Subresources = append(d.Subresources, text)
	}
	if len(d.Subresources) == 0 {
		p.fail("user %q: want VERB subresource... after may, may not and unsure", d.User)
	}
	return words
}

// cases makes one of each combination.
func (p *parser) cases(all parts, want *Expectation) {
	if len(all.configurations) == 0 || len(all.paths) == 0 {
		p.fail("it is not said in which configuration, or which request")
		return
	}
	or := func(set []string, otherwise string) []string {
		if set == nil {
			return []string{otherwise}
		}
		return set
	}
	faults := all.faults
	if faults == nil {
		faults = []map[string]string{nil}
	}
	for _, with := range faults {
		made := []Case{{Where: p.where, Faults: with, Want: *want}}
		each := func(values []string, set func(*Case, string)) {
			var more []Case
			for _, c := range made {
				for _, value := range values {
					one := c
					set(&one, value)
					more = append(more, one)
				}
			}
			made = more
		}
		each(all.configurations, func(c *Case, v string) { c.Configuration = v })
		each(or(all.ports, "secure"), func(c *Case, v string) {
			c.ReadOnly = v == "read-only"
			if !c.ReadOnly && v != "secure" {
				p.fail("on %q: want secure or read-only", v)
			}
		})
		each(or(all.clients, "no-credential"), func(c *Case, v string) { c.Client = v })
		each(or(all.protocols, "HTTP/1.1"), func(c *Case, v string) { c.Protocol = v })
		each(or(all.bodies, ""), func(c *Case, v string) { c.Body = v })
		for _, alternatives := range all.headers {
			each(alternatives, func(c *Case, v string) { c.Headers = append(slices.Clone(c.Headers), v) })
		}
		each(all.methods, func(c *Case, v string) { c.Method = v })
		each(all.paths, func(c *Case, v string) { c.Path = v })
		p.corpus.Cases = append(p.corpus.Cases, made...)
	}
}

// word is a part of a line: what stands between spaces, or a string in Go's quotes, or a list in brackets.
type word struct {
	text   string
	quoted bool
}

func (p *parser) split(line string) []word {
	var words []word
	for line = strings.TrimLeft(line, " "); line != "" && line[0] != '#'; line = strings.TrimLeft(line, " ") {
		end := strings.IndexByte(line+" ", ' ')
		w := word{text: line[:end]}
		switch line[0] {
		case '"':
			prefix, err := strconv.QuotedPrefix(line)
			if err != nil {
				p.fail("a string has no end: %s", line)
				return nil
			}
			end = len(prefix)
			text, err := strconv.Unquote(prefix)
			if err != nil {
				p.fail("%s: %v", prefix, err)
				return nil
			}
			w = word{text, true}
		case '[':
			end = strings.IndexByte(line, ']') + 1
			if end == 0 {
				p.fail("a list has no end: %s", line)
				return nil
			}
			w.text = line[:end]
		}
		words = append(words, w)
		line = line[end:]
	}
	return words
}

// expand makes a set of a{b,c}: ab and ac. Braces without a comma stand for themselves.
func expand(text string) []string {
	for open := 0; open < len(text); open++ {
		if text[open] != '{' {
			continue
		}
		end := strings.IndexByte(text[open:], '}')
		if end < 0 {
			break
		}
		end += open
		if !strings.Contains(text[open:end], ",") {
			continue
		}
		var all []string
		for _, tail := range expand(text[end+1:]) {
			for part := range strings.SplitSeq(text[open+1:end], ",") {
				all = append(all, text[:open]+part+tail)
			}
		}
		return all
	}
	return []string{text}
}
