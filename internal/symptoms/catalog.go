package symptoms

import (
	"embed"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"fauxlet/internal/tlserror"
)

//go:embed catalog/*.yaml
var catalogFiles embed.FS

// catalogOrder lists the files of the catalog in the order in which Diagnose tries their errors.
var catalogOrder = []string{"programs", "unrelated", "kubelet-start", "tunnels", "apiserver", "kubectl", "streams",
	"clients", "certificates", "connection", "handshake", "responses", "other"}

// Entry is a Symptom, the pattern by which Diagnose recognizes it, and the test that reproduces it.
type Entry struct {
	Symptom
	// Pattern matches the error. The texts that match its named groups become Finding.Values.
	Pattern pattern `json:"pattern"`
	// When restricts the entry to events with these facts. An entry without a condition for the callee is about a
	// kubelet: it applies if the callee is one, or unknown.
	When conditions `json:"when"`
	// Unrelated marks an error that looks as if a kubelet were involved, although none is.
	Unrelated bool `json:"unrelated"`
	// Consequence marks an error that follows from another one. Diagnose lists it after the others.
	Consequence bool `json:"consequence"`
	// Proof names the test that reproduces the error: the package, a space, and the test function.
	Proof string `json:"proof"`
	// Unproved states why no test of this project can reproduce the error. Most such errors are in testdata, from
	// public reports.
	Unproved string `json:"unproved"`
}

// applies reports whether the facts meet the entry's conditions.
func (e *Entry) applies(f *Facts) bool {
	if !e.When.mention("callee") && !f.onKubelet() && f.Callee != "" {
		return false
	}
	return e.When.hold(f)
}

// conditions are of the form FACT=VALUE|VALUE or FACT!=VALUE|VALUE. All of them must hold. A VALUE can be empty, for a
// fact that the text does not state. FACT=* always holds.
type conditions []string

func (c conditions) hold(f *Facts) bool {
	for _, condition := range c {
		name, values, _ := strings.Cut(condition, "=")
		name, not := strings.CutSuffix(name, "!")
		fact := ""
		switch name {
		case "writer":
			fact = f.Writer
		case "caller":
			fact = f.Caller
		case "callee":
			fact = f.Callee
		case "operation":
			fact = f.Operation
		case "side":
			fact = f.Side
		}
		if (values == "*" || slices.Contains(strings.Split(values, "|"), fact)) == not {
			return false
		}
	}
	return true
}

// mention reports whether one of the conditions is about the fact with this name.
func (c conditions) mention(name string) bool {
	return slices.ContainsFunc(c, func(condition string) bool {
		return strings.TrimRight(condition[:strings.Index(condition, "=")], "!") == name
	})
}

// catalogContent is the content of the files of the catalog.
type catalogContent struct {
	Commands map[string]string `json:"commands"` // the names are used in the field "next" of errors
	Programs []program         `json:"programs"`
	Readings []reading         `json:"readings"`
	Errors   []Entry           `json:"errors"`
}

// catalog returns the content of all files of the catalog.
var catalog = sync.OnceValue(func() (all catalogContent) {
	for _, name := range catalogOrder {
		file := "catalog/" + name + ".yaml"
		data, err := catalogFiles.ReadFile(file)
		if err != nil {
			panic(err)
		}
		var c catalogContent
		if err := yaml.UnmarshalStrict(data, &c); err != nil {
			panic(file + ": " + err.Error())
		}
		if c.Commands != nil {
			all.Commands = c.Commands
		}
		all.Programs = append(all.Programs, c.Programs...)
		all.Readings = append(all.Readings, c.Readings...)
		all.Errors = append(all.Errors, c.Errors...)
	}
	for _, entry := range all.Errors {
		for i, command := range entry.Next {
			if shared, ok := all.Commands[command]; ok {
				entry.Next[i] = shared
			}
		}
		for i, report := range entry.Reports {
			entry.Reports[i] = "https://github.com/" + strings.Replace(report, "#", "/issues/", 1)
		}
	}
	return all
})

// Table returns all known symptoms in the order in which Diagnose looks for them.
func Table() []Entry { return catalog().Errors }

// pattern is a regular expression. In the catalog, it can contain line breaks, which are removed, and names in braces
// such as {address}, which stand for frequent parts of errors.
type pattern struct {
	*regexp.Regexp
	// literals has a text of which every match contains at least one. It is empty if there is no such list. Looking for
	// these is much faster than the regular expression.
	literals []string
}

var (
	patternParts = strings.NewReplacer(
		"\n", "",
		"{address}", `(?P<address>\[?[\w.:%-]+?\]?:\d+)`,
		"{from}", `(?P<from>\[?[\w.:%-]+?\]?:\d+)`,
		"{forbidden}", `(?:unable to upgrade connection: )?Forbidden \(user=`,
		// {attributes} matches the authorization attributes in the kubelet's responses with status 403 and 500. Before
		// v1.32, they end with one subresource, as in subresource=proxy. Since v1.32, they end with a list of
		// subresources, as in subresource(s)=[proxy].
		"{attributes}", `, verb=(?P<verb>\w*), resource=(?P<resource>\w+), `+
			`subresource(?:\(s\))?=\[?(?P<subresource>\w*)[\w ]*\]?\)`,
	)
	tlsPart = regexp.MustCompile(`\{tls: ([^}]+)\}`)
)

// UnmarshalText removes line breaks, replaces the names in braces, and compiles the regular expression.
func (p *pattern) UnmarshalText(text []byte) (err error) {
	expression := tlsPart.ReplaceAllStringFunc(patternParts.Replace(string(text)),
		func(part string) string { return tlserror.Pattern(tlserror.Kind(tlsPart.FindStringSubmatch(part)[1])) })
	if p.Regexp, err = regexp.Compile(expression); err != nil {
		return err
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return err
	}
	p.literals = literals(parsed)
	return nil
}

// find returns the last match of the pattern and its groups, or nil.
func (p *pattern) find(text string) []string {
	if !p.mayMatch(text) {
		return nil
	}
	all := p.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// matches reports whether the text contains a match. The zero pattern matches nothing.
func (p *pattern) matches(text string) bool {
	return p.Regexp != nil && p.mayMatch(text) && p.MatchString(text)
}

func (p *pattern) mayMatch(text string) bool {
	return len(p.literals) == 0 ||
		slices.ContainsFunc(p.literals, func(literal string) bool { return strings.Contains(text, literal) })
}

// minLiteral is the length from which a literal text is rare enough to be useful.
const minLiteral = 3

// literals returns texts of which every match of an expression contains at least one, or nil if there is no such list.
func literals(e *syntax.Regexp) []string {
	switch e.Op {
	case syntax.OpLiteral:
		if e.Flags&syntax.FoldCase == 0 && len(e.Rune) >= minLiteral {
			return []string{string(e.Rune)}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return literals(e.Sub[0])
	case syntax.OpConcat:
		var best []string
		for _, part := range e.Sub {
			if found := literals(part); found != nil && (best == nil || shortest(found) > shortest(best)) {
				best = found
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, part := range e.Sub {
			found := literals(part)
			if found == nil {
				return nil
			}
			all = append(all, found...)
		}
		return all
	}
	return nil
}

func shortest(literals []string) int {
	length := len(literals[0])
	for _, literal := range literals {
		length = min(length, len(literal))
	}
	return length
}
