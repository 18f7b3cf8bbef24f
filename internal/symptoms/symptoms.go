// Package symptoms recognizes errors that occur between kubectl, kube-apiserver, metrics scrapers and kubelets. For
// each error it states the meaning, the causes with their checks and remedies, and commands to run. [Diagnose] finds
// errors in a text. All errors are in one table, in the files table*.go. The page docs/errors.md is generated from
// the table. Each error is reproduced by a test.
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
	// Next are commands to run. Words in capitals are placeholders. Diagnose replaces names in braces by values that
	// it finds in the text.
	Next []string `json:"next"`
	// Reports are public discussions of the error.
	Reports []string `json:"reports,omitempty"`
	// Proof is the test that reproduces the error.
	Proof Proof `json:"-"`

	// pattern is a regular expression that matches the error. Its named groups are the names that may occur in
	// braces in other fields.
	pattern string
}

// Cause is a possible cause of an error.
type Cause struct {
	Cause string `json:"cause"`
	// Check describes how to find out whether this is the cause.
	Check string `json:"check"`
	// Remedy is the change that removes the cause.
	Remedy string `json:"remedy"`
}

// Source is a program that Diagnose recognizes by the form of its errors.
type Source struct {
	Name string `json:"name"`
	// Meaning states which program sent the request, and which settings correspond to kube-apiserver's flags.
	Meaning string `json:"meaning"`

	pattern string
}

// Finding is a Symptom that was found in a text.
type Finding struct {
	Symptom
	// Found is the part of the text that matches the symptom. If several parts match, it is the last one.
	Found string `json:"found"`
	// Values has the values from the text, by the names that occur in braces.
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

// Table returns all known symptoms, in the order in which Diagnose tries them.
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

// find looks for a symptom in the remaining text. It overwrites the text that it finds, so that a more general
// symptom does not match the same text again.
func (s Symptom) find(remaining []byte) (Finding, bool) {
	pattern := compiled()[s.pattern]
	matches := pattern.FindAllSubmatchIndex(remaining, -1)
	if len(matches) == 0 {
		return Finding{}, false
	}
	last := matches[len(matches)-1] // the last match, because kubectl logs failed attempts before its final error
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

// fill replaces names in braces by their values. A name without a value is replaced by the name in capitals. In
// commands, fill quotes the values for the shell, because the text is untrusted.
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
