package symptoms

import (
	_ "embed"
	"regexp"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"fauxlet/internal/tlserror"
)

//go:embed symptoms.yaml
var symptomsFile []byte

// Entry is a Symptom with the facts that Diagnose and the tests need.
type Entry struct {
	Symptom
	// Pattern matches the error. Values are its named groups.
	Pattern pattern `json:"pattern"`
	// Proof is the test that reproduces the error: its package and name.
	Proof string `json:"proof"`
}

// catalog is the content of symptoms.yaml.
var catalog = sync.OnceValue(func() (c struct {
	Commands []string // YAML anchors that errors refer to
	Sources  []struct {
		Source
		Pattern pattern `json:"pattern"`
	}
	Errors []Entry
}) {
	if err := yaml.UnmarshalStrict(symptomsFile, &c); err != nil {
		panic("symptoms.yaml: " + err.Error())
	}
	for _, entry := range c.Errors {
		for i, report := range entry.Reports {
			entry.Reports[i] = "https://github.com/" + strings.Replace(report, "#", "/issues/", 1)
		}
	}
	return c
})

// Table returns all known symptoms, in the order in which Diagnose tries them.
func Table() []Entry { return catalog().Errors }

// pattern is a regular expression. Its text in symptoms.yaml can contain line breaks and the names of parts.
type pattern struct{ *regexp.Regexp }

var (
	patternParts = strings.NewReplacer(
		"\n", "",
		"{address}", `(?P<address>\[?[\w.:%-]+?\]?:\d+)`,
		"{forbidden}", `(?:unable to upgrade connection: )?Forbidden \(user=`,
		// The authorization attributes in the kubelet's responses with status 403 and 500. Before v1.33 they ended in
		// subresource=proxy; since then they have a list of subresources.
		"{attributes}", `, verb=(?P<verb>\w*), resource=(?P<resource>\w+), `+
			`subresource(?:\(s\))?=\[?(?P<subresource>\w+)[\w ]*\]?\)`,
	)
	tlsPart = regexp.MustCompile(`\{tls: ([^}]+)\}`)
)

// UnmarshalText replaces the names of parts by the parts, and compiles the expression.
func (p *pattern) UnmarshalText(text []byte) (err error) {
	p.Regexp, err = regexp.Compile(tlsPart.ReplaceAllStringFunc(patternParts.Replace(string(text)),
		func(part string) string { return tlserror.Pattern(tlserror.Kind(tlsPart.FindStringSubmatch(part)[1])) }))
	return err
}
