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

// load parses all *.txt files of a file system. Errors begin with the file and the line.
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
	for i := range p.corpus.Cases { // now, because a case may use a client of a later file
		c := &p.corpus.Cases[i]
		if _, known := p.corpus.Configurations[c.Configuration]; !known {
			return nil, fmt.Errorf("%s: unknown configuration %q", c.Where, c.Configuration)
		}
		if _, known := p.corpus.Clients[c.Client]; !known {
			return nil, fmt.Errorf("%s: unknown client %q", c.Where, c.Client)
		}
	}
	return p.corpus, nil
}

type parser struct {
	corpus *Corpus
	where  string
	err    error
	// settings are the fields of the current configuration block; nil outside of one.
	settings Settings
	// outer are the lines that enclose the current line.
	outer []outer
}

// outer is a line without an expectation. Its parts also apply to the more deeply indented lines below it.
type outer struct {
	indent int
	parts  parts
}

// parts has, for each property of a request, the alternative values on a line. A field is nil if the line does not
// set that property.
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
		p.fail("a configuration line must be: configuration NAME")
		return
	}
	name := words[0].text
	if p.corpus.Configurations[name] != nil {
		p.fail("configuration %q is defined twice", name)
		return
	}
	p.settings = Settings{}
	p.corpus.Configurations[name] = p.settings
}

func (p *parser) setting(line string) {
	path, text, found := strings.Cut(line, ": ")
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); !found || err != nil {
		p.fail("a setting must be: path.of.field: value, in YAML (%v)", err)
		return
	}
	p.settings[path] = value
}

func (p *parser) client(words []word) {
	if len(words) == 0 {
		p.fail(
			"a client line must be: client NAME [certificate KIND [CN=name] [O=group]...] [header \"Name: value\"]...",
		)
		return
	}
	name := words[0].text
	if _, there := p.corpus.Clients[name]; there {
		p.fail("client %q is defined twice", name)
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
			p.fail("client %s: unexpected %q; use certificate KIND, CN=, O= or header", name, text)
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

// parts parses a line up to the arrow. It returns the words after the arrow, or nil if the line has no arrow.
func (p *parser) parts(words []word, all *parts) []word {
	for len(words) > 0 {
		text := words[0].text
		if text == "->" && !words[0].quoted {
			return words[1:]
		}
		into := map[string]*[]string{"in": &all.configurations, "as": &all.clients, "over": &all.protocols,
			"sending": &all.bodies, "on": &all.ports}[text]
		switch {
		case len(words) < 2:
			p.fail("%q: the value is missing", text)
			return nil
		case into != nil:
			*into = expand(words[1].text)
		case text == "with":
			all.headers = append(slices.Clone(all.headers), expand(words[1].text))
		case text == "while":
			kind, fault, found := strings.Cut(words[1].text, " ")
			if !found {
				p.fail("while %q: must be \"KIND status\", for example \"TokenReview 403\"", words[1].text)
				return nil
			}
			all.faults = also(all.faults, kind, expand(fault))
		case words[0].quoted || strings.ToLower(text) == text && !strings.HasPrefix(text, "{"):
			p.fail("unexpected %q; use in, as, on, over, with, sending, while, METHOD PATH, or ->", text)
			return nil
		default:
			all.methods, all.paths = expand(text), expand(words[1].text)
		}
		words = words[2:]
	}
	return nil
}

// also returns the combinations of each set of faults with each alternative fault of a kind.
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

// decision parses the expectation after the arrow.
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
		p.fail("%q after ->: must be a status", status.text)
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
				p.fail("%s: the value is missing", w.text)
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
			p.fail("unexpected %q after the authorization", w.text)
			return d
		}
		d.User = w.text
		words = p.authorization(d, words)
		if p.err != nil {
			return d
		}
	}
	return d
}

// authorization parses the part of an expectation after the user name: [groups] may [not] VERB subresource...
func (p *parser) authorization(d *Expectation, words []word) []word {
	if len(words) > 0 && strings.HasPrefix(words[0].text, "[") {
		d.Groups = strings.Fields(strings.Trim(words[0].text, "[]"))
		if d.Groups == nil {
			d.Groups = []string{}
		}
		words = words[1:]
	}
	if len(words) == 0 {
		p.fail("user %q must be followed by may, may not, unsure or always", d.User)
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
		p.fail("unexpected %q after user %q; use may, may not, unsure or always", words[0].text, d.User)
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
		p.fail("user %q: may, may not and unsure must be followed by VERB SUBRESOURCE...", d.User)
	}
	return words
}

// cases adds a case for each combination of alternatives.
func (p *parser) cases(all parts, want *Expectation) {
	if len(all.configurations) == 0 || len(all.paths) == 0 {
		p.fail("the configuration (in NAME) or the request (METHOD PATH) is missing")
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
				p.fail("on %q: must be secure or read-only", v)
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

// word is a part of a line: text between spaces, a quoted Go string, or a list in brackets.
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
				p.fail("unterminated string: %s", line)
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
				p.fail("unterminated list: %s", line)
				return nil
			}
			w.text = line[:end]
		}
		words = append(words, w)
		line = line[end:]
	}
	return words
}

// expand returns the alternatives of a{b,c}: ab and ac. Braces without a comma are literal.
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
