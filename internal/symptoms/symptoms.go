// Package symptoms knows the errors that people meet between kubectl, a kube-apiserver, scrapers of metrics and a kubelet:
// what each means, what it comes of, the likeliest first, and how to tell one cause from another. [Diagnose] finds them in
// a text that was pasted. The knowledge is one table, in table.go, of which docs/errors.md is written; each of its rows names
// the test that has the error happen for its cause.
package symptoms

import (
	"regexp"
	"strings"
	"sync"

	"fauxlet/internal/shellword"
)

// Symptom is an error with what it means.
type Symptom struct {
	ID string `json:"id"`
	// Texts are the errors, of which each is known by itself; … stands for what differs.
	Texts []string `json:"texts"`
	// Means is what it says, in other words.
	Meaning string `json:"meaning"`
	// Causes begin with the likeliest.
	Causes []Cause `json:"causes"`
	// Next are commands to run. Words in capitals are the reader's to fill in, but for those in braces, of which the error
	// itself says what they are.
	Next []string `json:"next"`
	// Seen are public threads in which people met it.
	Reports []string `json:"reports,omitempty"`
	// Proof is the test that has it happen.
	Proof Proof `json:"-"`

	// pattern finds it. Its named groups are those in braces.
	pattern string
}

// Cause is one reason for an error.
type Cause struct {
	Cause string `json:"cause"`
	// Tell is how it shows that it is this one.
	Check string `json:"check"`
	// Cure is what to change.
	Remedy string `json:"remedy"`
}

// Source is a program by the way in which it tells of errors.
type Source struct {
	Name string `json:"name"`
	// Means says who asked whom, and which settings are meant where the causes speak of kube-apiserver's.
	Meaning string `json:"meaning"`

	pattern string
}

// Finding is a Symptom in a text.
type Finding struct {
	Symptom
	// Found is the part of the text, the last of several.
	Found string `json:"found"`
	// Values are what the text says of the words in braces.
	Values map[string]string `json:"values,omitempty"`
}

// Diagnosis is what is known of a text. Without Findings it is not known.
type Diagnosis struct {
	Sources  []Source  `json:"sources,omitempty"`
	Findings []Finding `json:"findings"`
}

// most is how much of a text is looked at, in bytes: the beginning of a log is enough.
const most = 64 << 10

// compiled has the patterns of the tables, which are made when the first text is looked at.
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

// Table is all that is known, in the order in which it is looked for: what is particular before what is general.
func Table() []Symptom { return append([]Symptom(nil), table...) }

// Sources are those whose manner of telling errors is known.
func Sources() []Source { return append([]Source(nil), sources...) }

// Diagnose finds what is known in a text: an error alone, or a log with errors in it. Each Symptom is found once.
func Diagnose(text string) Diagnosis {
	if len(text) > most {
		text = text[:most]
	}
	// Errors inside of log lines are quoted, some of them twice.
	text = strings.NewReplacer(`\\\"`, `"`, `\"`, `"`, `\n`, "\n").Replace(text)
	var d Diagnosis
	for _, source := range sources {
		if compiled()[source.pattern].MatchString(text) {
			d.Sources = append(d.Sources, source)
		}
	}
	left := []byte(text)
	for _, symptom := range table {
		pattern := compiled()[symptom.pattern]
		matches := pattern.FindAllSubmatchIndex(left, -1)
		if len(matches) == 0 {
			continue
		}
		last := matches[len(matches)-1] // kubectl tells its attempts first, and then what came of them
		found := Finding{Symptom: symptom, Found: strings.TrimSpace(string(left[last[0]:last[1]])), Values: map[string]string{}}
		for i, name := range pattern.SubexpNames() {
			if name != "" && last[2*i] >= 0 {
				found.Values[name] = string(left[last[2*i]:last[2*i+1]])
			}
		}
		found.fill()
		d.Findings = append(d.Findings, found)
		// What was found is not looked at again: it may be a general error inside of a particular one.
		for _, match := range matches {
			for i := match[0]; i < match[1]; i++ {
				left[i] = 0
			}
		}
	}
	return d
}

var valueName = regexp.MustCompile(`\{[a-z]+\}`)

// fill puts the values in the place of their names. In commands they are quoted: they come from whoever wrote the text.
func (f *Finding) fill() {
	words, quoted := make([]string, 0, 2*len(f.Values)), make([]string, 0, 2*len(f.Values))
	for name, value := range f.Values {
		words = append(words, "{"+name+"}", value)
		quoted = append(quoted, "{"+name+"}", shellword.Quote(value))
	}
	inWords, inCommands := strings.NewReplacer(words...), strings.NewReplacer(quoted...)
	upper := func(s string) string {
		return valueName.ReplaceAllStringFunc(s, func(name string) string { return strings.ToUpper(name[1 : len(name)-1]) })
	}
	f.Meaning = upper(inWords.Replace(f.Meaning))
	causes := make([]Cause, len(f.Causes))
	for i, c := range f.Causes {
		causes[i] = Cause{upper(inWords.Replace(c.Cause)), upper(inWords.Replace(c.Check)), upper(inWords.Replace(c.Remedy))}
	}
	f.Causes = causes
	next := make([]string, len(f.Next))
	for i, command := range f.Next {
		next[i] = upper(inCommands.Replace(command))
	}
	f.Next = next
}
