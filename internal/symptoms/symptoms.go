// Package symptoms recognizes errors that occur between kubectl, kube-apiserver, metrics scrapers and kubelets. For
// each error it has the meaning, the causes with their checks and remedies, and commands to run. [Diagnose] finds
// errors in a text. All knowledge is in one table, in table*.go, from which docs/errors.md is generated. A test
// reproduces each error.
package symptoms

import (
	"regexp"
	"strings"
	"sync"

	"fauxlet/internal/shellword"
)

// Symptom is a known error.
type Symptom struct {
	ID string `json:"id"`
	// Texts are the forms of the error. … stands for variable parts.
	Texts []string `json:"texts"`
	// Meaning explains the error: a sentence without a full stop.
	Meaning string `json:"meaning"`
	// Causes are ordered: the most likely one is first.
	Causes []Cause `json:"causes"`
	// Next are commands to run. Words in capitals are placeholders. Diagnose replaces names in braces by values of the
	// text.
	Next []string `json:"next"`
	// Reports are public discussions of the error.
	Reports []string `json:"reports,omitempty"`
	// Proof is the test that reproduces the error.
	Proof Proof `json:"-"`

	// pattern finds the error. Its named groups are the names in braces.
	pattern string
}

// Cause is a possible cause of an error.
type Cause struct {
	Cause string `json:"cause"`
	// Check tells how to recognize this cause.
	Check string `json:"check"`
	// Remedy is the change that helps.
	Remedy string `json:"remedy"`
}

// Source is a program, recognized by the form of its errors.
type Source struct {
	Name string `json:"name"`
	// Meaning states which program sent the request, and which settings correspond to kube-apiserver's flags.
	Meaning string `json:"meaning"`

	pattern string
}

// Finding is a Symptom that was found in a text.
type Finding struct {
	Symptom
	// Found is the matching part of the text, the last one if there are several.
	Found string `json:"found"`
	// Values are the values of the names in braces.
	Values map[string]string `json:"values,omitempty"`
}

// Diagnosis is the result of Diagnose. It has no Findings if the text contains no known error.
type Diagnosis struct {
	Sources  []Source  `json:"sources,omitempty"`
	Findings []Finding `json:"findings"`
}

// maxText is how much of a text Diagnose reads, in bytes.
const maxText = 64 << 10

// compiled contains all patterns by their texts. They are compiled on first use.
var compiled = sync.OnceValue(func() map[string]*regexp.Regexp {
	all := map[string]*regexp.Regexp{}
	for i := range table {
		all[table[i].pattern] = regexp.MustCompile(table[i].pattern)
	}
	for i := range sources {
		all[sources[i].pattern] = regexp.MustCompile(sources[i].pattern)
	}
	return all
})

// Table returns all known symptoms, in the order in which Diagnose looks for them.
func Table() []Symptom { return append([]Symptom(nil), table...) }

// Diagnose finds known errors in a text: a single error, or a log. It returns each Symptom at most once.
func Diagnose(text string) Diagnosis {
	if len(text) > maxText {
		text = text[:maxText]
	}
	// Errors in log lines are quoted, some of them twice.
	text = strings.NewReplacer(`\\\"`, `"`, `\"`, `"`, `\n`, "\n").Replace(text)
	var d Diagnosis
	for _, source := range sources {
		if compiled()[source.pattern].MatchString(text) {
			d.Sources = append(d.Sources, source)
		}
	}
	remaining := []byte(text)
	for _, symptom := range table {
		if found, ok := symptom.find(remaining); ok {
			d.Findings = append(d.Findings, found)
		}
	}
	return d
}

// find looks for a symptom. It overwrites what it finds, so that a general symptom does not match a part of a
// specific one.
func (s Symptom) find(remaining []byte) (Finding, bool) {
	pattern := compiled()[s.pattern]
	matches := pattern.FindAllSubmatchIndex(remaining, -1)
	if len(matches) == 0 {
		return Finding{}, false
	}
	last := matches[len(matches)-1] // kubectl prints its attempts before the final error
	found := Finding{
		Symptom: s,
		Found:   strings.TrimSpace(string(remaining[last[0]:last[1]])),
		Values:  map[string]string{},
	}
	for i, name := range pattern.SubexpNames() {
		if name != "" && last[2*i] >= 0 {
			found.Values[name] = string(remaining[last[2*i]:last[2*i+1]])
		}
	}
	for _, match := range matches {
		clear(remaining[match[0]:match[1]])
	}
	found.fill()
	return found, true
}

var valueName = regexp.MustCompile(`\{[a-z]+\}`)

// fill replaces the names in braces by their values, or by the name in capitals if there is none. It quotes values in
// commands, because the text may come from anywhere.
func (f *Finding) fill() {
	plain, quoted := make([]string, 0, 2*len(f.Values)), make([]string, 0, 2*len(f.Values))
	for name, value := range f.Values {
		plain = append(plain, "{"+name+"}", value)
		quoted = append(quoted, "{"+name+"}", shellword.Quote(value))
	}
	inText, inCommand := filler(plain), filler(quoted)
	f.Meaning = inText(f.Meaning)
	causes := make([]Cause, len(f.Causes))
	for i, c := range f.Causes {
		causes[i] = Cause{inText(c.Cause), inText(c.Check), inText(c.Remedy)}
	}
	f.Causes = causes
	next := make([]string, len(f.Next))
	for i, command := range f.Next {
		next[i] = inCommand(command)
	}
	f.Next = next
}

func filler(oldnew []string) func(string) string {
	replacer := strings.NewReplacer(oldnew...)
	return func(s string) string {
		return valueName.ReplaceAllStringFunc(replacer.Replace(s), func(name string) string {
			return strings.ToUpper(name[1 : len(name)-1])
		})
	}
}
