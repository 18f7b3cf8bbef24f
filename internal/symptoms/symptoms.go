// Package symptoms recognizes errors that occur between kubectl, kube-apiserver, metrics scrapers and kubelets. For
// each error it states the meaning, the causes with their checks and remedies, and commands to run. [Diagnose] finds
// errors in a text. All errors are in symptoms.yaml, from which the page docs/errors.md is generated. Each error is
// reproduced by a test.
package symptoms

import (
	"regexp"
	"slices"
	"strings"

	"fauxlet/internal/shellword"
)

// Symptom is a known error.
type Symptom struct {
	ID string `json:"id"`
	// Texts are the forms of the error. The character … stands for variable parts.
	Texts []string `json:"texts"`
	// Meaning is a sentence, without a full stop, that explains the error.
	Meaning string `json:"meaning"`
	// Causes are the possible causes of the error. The most likely one is first.
	Causes []Cause `json:"causes"`
	// Next are commands to run. Words in capitals are placeholders. Diagnose replaces names in braces by values that
	// it finds in the text.
	Next []string `json:"next"`
	// Reports are public discussions of the error.
	Reports []string `json:"reports,omitempty"`
}

// Cause is a possible cause of an error.
type Cause struct {
	Cause string `json:"cause"`
	// Check describes how to find out whether the cause applies.
	Check string `json:"check"`
	// Remedy is the change that removes the cause.
	Remedy string `json:"remedy"`
}

// Source is a program that has printed or logged an error. Diagnose recognizes it by the form of the error.
type Source struct {
	Name string `json:"name"`
	// Meaning states what follows if this program has printed the error. For example, it states which program sent the
	// request, and which settings that program has in place of kube-apiserver's flags.
	Meaning string `json:"meaning"`
}

// Finding is a Symptom that was found in a text.
type Finding struct {
	Symptom
	// Found is the part of the text that matches the symptom. If several parts match, it is the last one.
	Found string `json:"found"`
	// Values are the variable parts of Found, such as an address or a user. The keys are the names that stand in braces
	// in Meaning, Causes and Next.
	Values map[string]string `json:"values,omitempty"`
}

// Diagnosis is the result of Diagnose. It has no Findings if the text contains no known error.
type Diagnosis struct {
	Sources  []Source  `json:"sources,omitempty"`
	Findings []Finding `json:"findings"`
}

// maxText is how many bytes of a text Diagnose reads. It ignores the rest.
const maxText = 64 << 10

// Diagnose finds known errors in a text, which can be a single error or a log. It returns each Symptom at most once.
func Diagnose(text string) Diagnosis {
	if len(text) > maxText {
		text = text[:maxText]
	}
	// In log lines, errors are often quoted, some of them twice. Remove the backslashes of the quotation.
	text = strings.NewReplacer(`\\\"`, `"`, `\"`, `"`, `\n`, "\n").Replace(text)
	var d Diagnosis
	for _, source := range catalog().Sources {
		if source.Pattern.MatchString(text) {
			d.Sources = append(d.Sources, source.Source)
		}
	}
	remaining := []byte(text)
	for _, entry := range Table() {
		if found, ok := entry.find(remaining); ok {
			d.Findings = append(d.Findings, found)
		}
	}
	return d
}

// find looks for the error of this entry in a text. It overwrites every match with zeros, so that the pattern of a more
// general error, which is tried later, does not match the same part of the text again.
func (e *Entry) find(remaining []byte) (Finding, bool) {
	matches := e.Pattern.FindAllSubmatchIndex(remaining, -1)
	if len(matches) == 0 {
		return Finding{}, false
	}
	last := matches[len(matches)-1] // kubectl logs failed attempts before its final error
	values := map[string]string{}
	for i, name := range e.Pattern.SubexpNames() {
		if name != "" && last[2*i] >= 0 {
			values[name] = string(remaining[last[2*i]:last[2*i+1]])
		}
	}
	found := strings.TrimSpace(string(remaining[last[0]:last[1]]))
	for _, match := range matches {
		clear(remaining[match[0]:match[1]])
	}
	return Finding{e.filled(values), found, values}, true
}

// The method "filled" replaces all names in braces by their values. The values come from an untrusted text, so in Next,
// checks and remedies, which have commands, they are quoted for the shell.
func (s Symptom) filled(values map[string]string) Symptom {
	quoted := map[string]string{}
	for name, value := range values {
		quoted[name] = shellword.Quote(value)
	}
	s.Meaning = fill(s.Meaning, values)
	s.Causes, s.Next = slices.Clone(s.Causes), slices.Clone(s.Next)
	for i, c := range s.Causes {
		s.Causes[i] = Cause{fill(c.Cause, values), fill(c.Check, quoted), fill(c.Remedy, quoted)}
	}
	for i, command := range s.Next {
		s.Next[i] = fill(command, quoted)
	}
	return s
}

var valueName = regexp.MustCompile(`\{[a-z]+\}`)

// The function "fill" replaces names in braces by their values. A name without a value becomes a placeholder for the
// reader: the name in capitals.
func fill(text string, values map[string]string) string {
	return valueName.ReplaceAllStringFunc(text, func(name string) string {
		name = strings.Trim(name, "{}")
		if value, ok := values[name]; ok {
			return value
		}
		return strings.ToUpper(name)
	})
}
