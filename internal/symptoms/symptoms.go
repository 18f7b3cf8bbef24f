// Package symptoms recognizes errors that occur between kubectl, kube-apiserver, metrics scrapers and kubelets.
// [Diagnose] first reads from a text which program called which, and then looks for known errors. For each error it
// states the meaning, the causes with their checks and remedies, and commands to run. The known errors and programs are
// in the folder catalog, from which the page docs/errors.md is generated.
package symptoms

import (
	"cmp"
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
	// Meaning explains the error. Its first sentence states which program failed to do what. Meaning has no full stop
	// at its end.
	Meaning string `json:"meaning"`
	// Causes are the possible causes of the error. The most likely one is first.
	Causes []Cause `json:"causes"`
	// Next are commands to run. Words in capitals are placeholders. Diagnose replaces names in braces by values that
	// it finds in the text, or by placeholders.
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
	// When restricts the cause to some programs, as Entry.When does for an error.
	When conditions `json:"when,omitempty"`
}

// Finding is a Symptom that was found in a text.
type Finding struct {
	Symptom
	// Facts are what the text states about the failed connection or request.
	Facts Facts `json:"facts"`
	// Found is the part of the text that matches the symptom. If several parts match, it is the last one.
	Found string `json:"found"`
	// Values are the variable parts of Found, such as an address or a user. The keys are the names that stand in braces
	// in Meaning, Causes and Next.
	Values map[string]string `json:"values,omitempty"`
	// Lines is how many lines of the text have this error.
	Lines int `json:"lines"`
	// Unrelated is true if no kubelet is involved in the error.
	Unrelated bool `json:"unrelated,omitempty"`

	at          string // time of the line, in a form that sorts
	consequence bool
	group       int    // of the event
	key         string // findings with the same key are one
}

// Diagnosis is the result of Diagnose. It has no Findings if the text contains no known error.
type Diagnosis struct {
	// Findings are in the order of time if each has a time, and otherwise in the order of the text. Errors that only
	// follow from other errors are last.
	Findings []Finding `json:"findings"`
}

// maxText is how many bytes of a text Diagnose reads. Of a longer text it reads the end, where a log has its newest
// lines.
const maxText = 64 << 10

// Diagnose finds known errors in a text, which can be a single error or a log. Each line has at most one Finding. It
// reports an error that occurs between the same programs in several lines once.
func Diagnose(text string) Diagnosis {
	if len(text) > maxText {
		text = text[len(text)-maxText:]
		_, text, _ = strings.Cut(text, "\n") // the first line is not whole
	}
	var d Diagnosis
	explained := map[int]bool{}   // groups of events with a finding that is no mere consequence
	consequence := map[int]bool{} // groups of events with a finding that is a consequence
	for _, event := range split(plain(text)) {
		if event.joined && explained[event.group] {
			continue
		}
		found, ok := find(&event)
		if !ok || event.joined && found.consequence && consequence[event.group] {
			continue
		}
		if event.joined && consequence[event.group] { // the whole text says more than its lines
			d.Findings = slices.DeleteFunc(d.Findings, func(f Finding) bool { return f.group == event.group })
		}
		explained[event.group] = explained[event.group] || !found.consequence
		consequence[event.group] = consequence[event.group] || found.consequence
		found.group = event.group
		key := found.ID + "\n" + found.Facts.Caller + "\n" + found.Facts.Callee
		if found.consequence {
			key = found.ID
		}
		found.key = key
		if i := slices.IndexFunc(d.Findings, func(f Finding) bool { return f.key == key }); i >= 0 {
			found.Lines += d.Findings[i].Lines
			found.at, found.Facts.Time = d.Findings[i].at, d.Findings[i].Facts.Time
			d.Findings[i] = found // kubectl logs failed attempts before its final error
			continue
		}
		d.Findings = append(d.Findings, found)
	}
	order(d.Findings)
	return d
}

// find returns the first entry of the catalog that matches the event.
func find(e *event) (Finding, bool) {
	table := Table()
	for i := range table {
		entry := &table[i]
		if !entry.applies(&e.facts) {
			continue
		}
		match := entry.Pattern.find(e.text)
		if match == nil {
			continue
		}
		values := map[string]string{}
		for i, name := range entry.Pattern.SubexpNames() {
			if name != "" && match[i] != "" {
				values[name] = match[i]
			}
		}
		facts := e.facts
		setFact(&facts.Address, values["address"])
		forAnyCallee := slices.Contains(entry.When, "callee=*")
		return Finding{
			Symptom: entry.filled(&facts, values, e.text), Facts: facts, Found: strings.TrimSpace(match[0]),
			Values: values, Lines: e.count,
			Unrelated: entry.Unrelated || !forAnyCallee && !facts.concernsKubelet(),
			at:        e.at, consequence: entry.Consequence,
		}, true
	}
	return Finding{}, false
}

// The method "filled" replaces all names in braces: by the values of the pattern's groups, by facts, and by settings of
// the caller. Values and facts come from an untrusted text, so in Next, checks and remedies, which have commands, they
// are quoted for the shell. Causes that the text confirms come first.
func (s *Symptom) filled(facts *Facts, values map[string]string, text string) Symptom {
	plain := facts.values()
	quoted := map[string]string{}
	for name, value := range values {
		plain[name] = value
	}
	for name, value := range plain {
		quoted[name] = shellword.Quote(value)
	}
	plain["caller"], plain["callee"] = facts.callerPhrase(), facts.calleePhrase()
	quoted["caller"], quoted["callee"] = plain["caller"], plain["callee"]
	settings := settingsOf(facts.Caller)
	for name, value := range settings {
		plain[name], quoted[name] = value, value
	}
	result := *s
	result.Meaning = capitalized(fill(s.Meaning, plain))
	result.Causes = nil
	causes := slices.Clone(s.Causes)
	slices.SortStableFunc(causes, func(a, b Cause) int { return cmp.Compare(b.confirmedBy(text), a.confirmedBy(text)) })
	for _, c := range causes {
		if c.When.hold(facts) && !lacksSetting(c, settings) {
			result.Causes = append(result.Causes,
				Cause{Cause: fill(c.Cause, plain), Check: fill(c.Check, quoted), Remedy: fill(c.Remedy, quoted)})
		}
	}
	result.Next = nil
	for _, command := range s.Next {
		if !strings.HasPrefix(command, "fauxlet check ") || facts.mayConcernAPIServer() {
			result.Next = append(result.Next, fill(command, quoted))
		}
	}
	return result
}

// textContains is the beginning of a check that looks for words in the text of the error.
const textContains = "the text contains: "

// confirmedBy returns 1 if the check of the cause names words that the text contains, and otherwise 0. Such a check is
// of the form "the text contains: WORDS, WORDS, or WORDS; other checks".
func (c *Cause) confirmedBy(text string) int {
	words, ok := strings.CutPrefix(c.Check, textContains)
	if !ok {
		return 0
	}
	words, _, _ = strings.Cut(words, ";")
	text = strings.ToLower(text)
	for word := range strings.SplitSeq(strings.ReplaceAll(words, " or ", ","), ",") {
		if word = strings.TrimSpace(word); word != "" && strings.Contains(text, strings.ToLower(word)) {
			return 1
		}
	}
	return 0
}

// lacksSetting reports whether a cause needs a setting that the caller does not have.
func lacksSetting(c Cause, settings map[string]string) bool {
	for _, name := range valueName.FindAllString(c.Cause+c.Check+c.Remedy, -1) {
		name = strings.Trim(name, "{}")
		if settingNames[name] && settings[name] == "" {
			return true
		}
	}
	return false
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
