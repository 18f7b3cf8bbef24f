package vectors

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"fauxlet/internal/faults"
)

// Load parses the *.txt files that are embedded in this package.
func Load() (*Corpus, error) { return load(files) }

// load parses all *.txt files of a file system. Its errors begin with the name of the file and the number of the line.
func load(fsys fs.FS) (_ *Corpus, err error) {
	p := &parser{corpus: &Corpus{Configurations: map[string]Settings{}, Clients: map[string]Client{}}}
	defer func() {
		switch failed := recover().(type) {
		case nil:
		case syntaxError:
			err = failed
		default:
			panic(failed)
		}
	}()
	names, err := fs.Glob(fsys, "*.txt")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		p.settings, p.outer = nil, nil
		for i, line := range strings.Split(string(text), "\n") {
			p.where = fmt.Sprintf("vectors/%s:%d", name, i+1)
			p.line(line)
		}
	}
	for _, c := range p.corpus.Cases { // check at the end, because a case may use a client that a later file defines
		p.where = c.Where
		if _, known := p.corpus.Configurations[c.Configuration]; !known {
			p.fail("unknown configuration %q", c.Configuration)
		}
		if _, known := p.corpus.Clients[c.Client]; !known {
			p.fail("unknown client %q", c.Client)
		}
	}
	return p.corpus, nil
}

type parser struct {
	corpus *Corpus
	where  string
	// settings are the settings of the configuration that the current line belongs to, or nil if there is none.
	settings Settings
	// outer has the lines without `->` that apply to the current line.
	outer []outer
	// words are the words of the current line that have not been parsed yet.
	words []word
}

// outer is a line without `->`. Its parts also apply to the lines below it with a deeper indentation.
type outer struct {
	indent int
	parts  parts
}

// parts has the values of each property of a request, as they are written on a line. A property with several values
// stands for several requests, one for each value.
type parts struct {
	values  map[string][]string // the alternatives for each keyword in requestWords
	headers [][]string
}

// requestWord is a keyword that precedes the value of a property of a request. byDefault is the value of the property
// on a line without the keyword.
type requestWord struct {
	word, byDefault string
	set             func(c *Case, value string) error
}

// requestWords are the keywords in a request. The keyword "header" is not among them, because it may be repeated.
// METHOD and PATH are placeholders, because no keyword precedes the method and the path.
var requestWords = []requestWord{
	{"in", "", func(c *Case, value string) error { c.Configuration = value; return nil }},
	{"while", "", setFault},
	{"on", "secure", func(c *Case, value string) error {
		if c.ReadOnly = value == "read-only"; !c.ReadOnly && value != "secure" {
			return errors.New(`must be "secure" or "read-only"`)
		}
		return nil
	}},
	{"as", "no-credential", func(c *Case, value string) error { c.Client = value; return nil }},
	{"over", "HTTP/1.1", func(c *Case, value string) error { c.Protocol = value; return nil }},
	{"body", "", func(c *Case, value string) error { c.Body = value; return nil }},
	{"METHOD", "", func(c *Case, value string) error { c.Method = value; return nil }},
	{"PATH", "", func(c *Case, value string) error { c.Path = value; return nil }},
}

func setFault(c *Case, value string) error {
	if value == "" {
		return nil
	}
	review, status, _ := strings.Cut(value, " ")
	fault := faults.Fault{Kind: faults.ReviewerError, Scope: faults.Scope{Review: review}}
	var err error
	if fault.Status, err = strconv.Atoi(status); err == nil {
		err = fault.Validate()
	}
	c.Faults = []faults.Fault{fault}
	return err
}

// syntaxError is a mistake in a file. The methods of parser panic with a syntaxError, and load returns it.
type syntaxError string

func (e syntaxError) Error() string { return string(e) }

func (p *parser) fail(format string, args ...any) {
	panic(syntaxError(p.where + ": " + fmt.Sprintf(format, args...)))
}

func (p *parser) line(line string) {
	content := strings.TrimLeft(line, " ")
	if strings.HasPrefix(content, "\t") {
		p.fail("the line begins with a tab; indent with spaces")
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
	p.words = p.split(content)
	switch p.words[0].text {
	case "configuration":
		name := p.definition()
		if p.corpus.Configurations[name] != nil {
			p.fail("configuration %q is defined twice", name)
		}
		p.settings = Settings{}
		p.corpus.Configurations[name] = p.settings
	case "client":
		p.client(p.definition())
	default:
		p.request(indent)
	}
}

// next returns the next word of the line. If the line has ended, parsing fails. The parameter "before" is the previous
// word, which the error mentions.
func (p *parser) next(before string) string {
	if len(p.words) == 0 {
		p.fail("%q: the value is missing", before)
	}
	text := p.words[0].text
	p.words = p.words[1:]
	return text
}

// definition returns the name on a line that defines a configuration or a client. The name follows the first word.
func (p *parser) definition() string { return p.next(p.next("")) }

func (p *parser) setting(line string) {
	path, text, found := strings.Cut(line, ": ")
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); !found || err != nil {
		p.fail("a setting must be: path.of.field: value, in YAML (%v)", err)
	}
	p.settings[path] = value
}

// The method "client" parses the rest of a client's definition, after the client's name:
// [certificate KIND [CN=name] [O=group]...] [header "Name: value"]...
func (p *parser) client(name string) {
	if _, there := p.corpus.Clients[name]; there {
		p.fail("client %q is defined twice", name)
	}
	var c Client
	for len(p.words) > 0 {
		text := p.next("")
		switch {
		case text == "certificate":
			c.Kind = p.next(text)
		case text == "header":
			c.Headers = append(c.Headers, p.next(text))
		case strings.HasPrefix(text, "CN="):
			c.CommonName = text[3:]
		case strings.HasPrefix(text, "O="):
			c.Organizations = append(c.Organizations, text[2:])
		default:
			p.fail("client %s: unexpected %q; use certificate KIND, CN=, O= or header", name, text)
		}
	}
	p.corpus.Clients[name] = c
}

func (p *parser) request(indent int) {
	for len(p.outer) > 0 && p.outer[len(p.outer)-1].indent >= indent {
		p.outer = p.outer[:len(p.outer)-1]
	}
	all := parts{values: map[string][]string{}}
	if len(p.outer) > 0 {
		enclosing := p.outer[len(p.outer)-1].parts
		all.headers = slices.Clone(enclosing.headers)
		maps.Copy(all.values, enclosing.values)
	}
	for len(p.words) > 0 {
		first := p.words[0]
		text := p.next("")
		switch {
		case text == "->" && !first.quoted:
			p.cases(all, p.expectation())
			return
		case text == "header":
			all.headers = append(all.headers, expand(p.next(text)))
		case slices.ContainsFunc(requestWords, func(w requestWord) bool { return w.word == text }):
			all.values[text] = expand(p.next(text))
		case first.quoted || strings.ToLower(text) == text && !strings.HasPrefix(text, "{"):
			p.fail("unexpected %q; use in, as, on, over, header, body, while, METHOD PATH, or ->", text)
		default:
			all.values["METHOD"], all.values["PATH"] = expand(text), expand(p.next(text))
		}
	}
	p.outer = append(p.outer, outer{indent, all})
}

// The method "cases" adds a Case to the corpus for each combination of the alternatives on a line.
func (p *parser) cases(all parts, want Expectation) {
	if all.values["in"] == nil || all.values["PATH"] == nil {
		p.fail("the configuration (in NAME) or the request (METHOD PATH) is missing")
	}
	made := []Case{{Where: p.where, Want: want}}
	each := func(word string, values []string, set func(*Case, string) error) {
		var more []Case
		for _, c := range made {
			for _, value := range values {
				one := c
				if err := set(&one, value); err != nil {
					p.fail("%s %q: %v", word, value, err)
				}
				more = append(more, one)
			}
		}
		made = more
	}
	for _, alternatives := range all.headers {
		each("header", alternatives, func(c *Case, value string) error {
			c.Headers = append(slices.Clone(c.Headers), value)
			return nil
		})
	}
	for _, w := range requestWords {
		values := all.values[w.word]
		if values == nil {
			values = []string{w.byDefault}
		}
		each(w.word, values, w.set)
	}
	p.corpus.Cases = append(p.corpus.Cases, made...)
}

// expectation parses the expected result, which is everything after `->` on a line.
func (p *parser) expectation() (e Expectation) {
	status := p.next("->")
	var err error
	if e.Status, err = strconv.Atoi(status); err != nil {
		p.fail("%q after ->: must be a status", status)
	}
	for len(p.words) > 0 {
		first := p.words[0]
		text := p.next("")
		switch {
		case !first.quoted && p.property(&e, text):
		case e.Authorization != noAuthorization:
			p.fail("unexpected %q after the authorization", text)
		default:
			e.User = text
			p.authorization(&e)
		}
	}
	return e
}

// propertyWords are the keywords in an expected result. They follow the status, the user and the authorization.
var propertyWords = []string{"no-authentication", "TokenReview", "reason", "body", "header"}

// property parses one of the propertyWords, and the value that follows the word. If text is another word, property
// returns false.
func (p *parser) property(e *Expectation, text string) bool {
	switch text {
	case "no-authentication":
		e.NoAuthentication = true
	case "TokenReview":
		e.TokenReviews++
	case "reason":
		e.Reason = p.next(text)
	case "body":
		e.BodyContains = p.next(text)
	case "header":
		e.Headers = append(e.Headers, p.next(text))
	default:
		return false
	}
	return true
}

// The method "authorization" parses the expected authorization, which follows the user name. The usual form is:
// [groups] may [not] VERB SUBRESOURCE...
func (p *parser) authorization(e *Expectation) {
	if len(p.words) > 0 && strings.HasPrefix(p.words[0].text, "[") {
		e.Groups = append([]string{}, strings.Fields(strings.Trim(p.next(""), "[]"))...)
	}
	if len(p.words) == 0 {
		p.fail("user %q must be followed by may, may not, error or always-allowed", e.User)
	}
	switch text := p.next(""); text {
	case "always-allowed":
		e.Authorization = AlwaysAllow
		return
	case "error":
		e.Authorization = CheckError
	case "may":
		e.Authorization = Allowed
		if len(p.words) > 0 && p.words[0].text == "not" {
			e.Authorization = Denied
			p.words = p.words[1:]
		}
	default:
		p.fail("unexpected %q after user %q; use may, may not, error or always-allowed", text, e.User)
	}
	if len(p.words) > 0 {
		e.Verb = p.next("")
	}
	for len(p.words) > 0 && !slices.Contains(propertyWords, p.words[0].text) {
		e.Subresources = append(e.Subresources, p.next(""))
	}
	if len(e.Subresources) == 0 {
		p.fail("user %q: may, may not and error must be followed by VERB SUBRESOURCE...", e.User)
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
			}
			end = len(prefix)
			if w.text, err = strconv.Unquote(prefix); err != nil {
				p.fail("%s: %v", prefix, err)
			}
			w.quoted = true
		case '[':
			if end = strings.IndexByte(line, ']') + 1; end == 0 {
				p.fail("unterminated list: %s", line)
			}
			w.text = line[:end]
		}
		words = append(words, w)
		line = line[end:]
	}
	return words
}

// alternatives matches a list of alternatives such as {b,c}. It does not match braces without a comma, which are
// literal.
var alternatives = regexp.MustCompile(`\{[^}]*,[^}]*\}`)

// expand returns all alternatives of a text. For example, a{b,c} has the alternatives ab and ac.
func expand(text string) []string {
	at := alternatives.FindStringIndex(text)
	if at == nil {
		return []string{text}
	}
	var all []string
	for _, tail := range expand(text[at[1]:]) {
		for part := range strings.SplitSeq(text[at[0]+1:at[1]-1], ",") {
			all = append(all, text[:at[0]]+part+tail)
		}
	}
	return all
}
