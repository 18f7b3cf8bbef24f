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

// Entry is a Symptom, the pattern by which Diagnose recognizes it, and the test that reproduces it.
type Entry struct {
	Symptom
	// Pattern matches the error. The texts that match its named groups become Finding.Values.
	Pattern pattern `json:"pattern"`
	// Proof names the test that reproduces the error: the package, a space, and the test function.
	Proof string `json:"proof"`
}

// catalog is the content of symptoms.yaml.
var catalog = sync.OnceValue(func() (c struct {
	Commands []string // commands with YAML anchors; the errors refer to them
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

// Table returns all known symptoms in the order in which Diagnose looks for them.
func Table() []Entry { return catalog().Errors }

// pattern is a regular expression. In symptoms.yaml, it can contain line breaks, which are removed, and names in braces
// such as {address}, which stand for frequent parts of errors.
type pattern struct{ *regexp.Regexp }

var (
	patternParts = strings.NewReplacer(
		"\n", "",
		"{address}", `(?P<address>\[?[\w.:%-]+?\]?:\d+)`,
		"{forbidden}", `(?:unable to upgrade connection: )?Forbidden \(user=`,
		// {attributes} matches the authorization attributes in the kubelet's responses with status 403 and 500. Before
		// v1.33, they end with one subresource, as in subresource=proxy. Since v1.33, they end with a list of
		// subresources, as in subresource(s)=[proxy].
		"{attributes}", `, verb=(?P<verb>\w*), resource=(?P<resource>\w+), `+
			`subresource(?:\(s\))?=\[?(?P<subresource>\w+)[\w ]*\]?\)`,
	)
	tlsPart = regexp.MustCompile(`\{tls: ([^}]+)\}`)
)

// UnmarshalText removes line breaks, replaces the names in braces, and compiles the regular expression.
func (p *pattern) UnmarshalText(text []byte) (err error) {
	p.Regexp, err = regexp.Compile(tlsPart.ReplaceAllStringFunc(patternParts.Replace(string(text)),
		func(part string) string { return tlserror.Pattern(tlserror.Kind(tlsPart.FindStringSubmatch(part)[1])) }))
	return err
}
