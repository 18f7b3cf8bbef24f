package conformance_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// element describes an XML element in the JUnit schema of Jenkins: its attributes (required ones end with "!"), its
// children, and whether it has text. (github.com/jenkinsci/xunit-plugin: junit-10.xsd)
type element struct {
	attributes, children []string
	text                 bool
}

var junit = map[string]element{
	"testsuites": {
		attributes: []string{"tests", "failures", "errors", "time", "name", "disabled"},
		children:   []string{"testsuite"},
	},
	"testsuite": {
		attributes: []string{
			"name!",
			"tests!",
			"failures",
			"errors",
			"skipped",
			"time",
			"timestamp",
			"hostname",
			"id",
			"package",
			"disabled",
		},
		children: []string{"properties", "testcase", "system-out", "system-err"},
	},
	"testcase": {
		attributes: []string{"name!", "classname", "time", "status", "assertions"},
		children:   []string{"skipped", "error", "failure", "system-out", "system-err"},
	},
	"skipped":    {attributes: []string{"message", "type"}, text: true},
	"error":      {attributes: []string{"message", "type"}, text: true},
	"failure":    {attributes: []string{"message", "type"}, text: true},
	"system-out": {text: true},
}

var (
	number    = regexp.MustCompile(`^\d+(\.\d+)?$`)
	timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$`)
)

// junitError validates a document against the JUnit schema.
func junitError(document string) error {
	decoder := xml.NewDecoder(strings.NewReader(document))
	var open []string
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.StartElement:
			name := token.Name.Local
			allowed, known := junit[name]
			switch {
			case !known:
				return fmt.Errorf("the schema has no element %q", name)
			case len(open) == 0 && name != "testsuites":
				return fmt.Errorf("the root element is %q instead of testsuites", name)
			case len(open) > 0 && !slices.Contains(junit[open[len(open)-1]].children, name):
				return fmt.Errorf("the element %q must not be in the element %q", name, open[len(open)-1])
			}
			given := map[string]string{}
			for _, a := range token.Attr {
				given[a.Name.Local] = a.Value
				if !slices.Contains(allowed.attributes, a.Name.Local) &&
					!slices.Contains(allowed.attributes, a.Name.Local+"!") {
					return fmt.Errorf("the element %q must not have the attribute %q", name, a.Name.Local)
				}
				switch a.Name.Local {
				case "tests", "failures", "errors", "skipped", "time":
					if !number.MatchString(a.Value) {
						return fmt.Errorf("the attribute %s of %q is %q, want a number", a.Name.Local, name, a.Value)
					}
				case "timestamp":
					if !timestamp.MatchString(a.Value) {
						return fmt.Errorf("the attribute timestamp has the wrong format: %q", a.Value)
					}
				}
			}
			for _, a := range allowed.attributes {
				if must, ok := strings.CutSuffix(a, "!"); ok && given[must] == "" {
					return fmt.Errorf("the element %q has no attribute %s", name, must)
				}
			}
			open = append(open, name)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 && !junit[open[len(open)-1]].text && strings.TrimSpace(string(token)) != "" {
				return fmt.Errorf("the element %q must not have text, but has %q", open[len(open)-1], token)
			}
		}
	}
}

func TestJUnit(t *testing.T) {
	text := write(t, example(), "junit")
	if err := junitError(text); err != nil {
		t.Errorf("the report is not valid JUnit XML: %v\n%s", err, text)
	}
	for _, part := range []string{
		`<testsuite name="fauxlet https://192.0.2.1:6443" tests="5" failures="1" errors="1" id="0" skipped="1" ` +
			`time="2.345" timestamp="2026-11-24T11:00:00">`,
		`<testcase name="client.presented" classname="client" time="0.000">`,
		`<failure message="none is presented" type="--kubelet-client-certificate">` +
			`<![CDATA[--kubelet-client-certificate=a.crt`,
		`<skipped message="needs client.presented, which did not pass"></skipped>`,
		`<error message="did not complete: no response"></error>`,
		`warn: insecure`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the report is\n%s\nwant it to contain: %s", text, part)
		}
	}
	if strings.Count(text, "<failure") != 1 || strings.Count(text, "<skipped") != 1 {
		t.Errorf("want exactly one failure and one skipped test in: %s", text)
	}

	// Check that junitError detects invalid documents.
	for name, change := range map[string][2]string{
		"another element":    {"<skipped", "<omitted"},
		"no name":            {`name="client.presented"`, ""},
		"another attribute":  {`classname=`, `class=`},
		"a count of words":   {`tests="5"`, `tests="five"`},
		"text among results": {"<testcase", "words<testcase"},
		"no end":             {"</testsuites>", ""},
	} {
		if changed := strings.Replace(text, change[0], change[1], 1); changed == text || junitError(changed) == nil {
			t.Errorf("junitError accepts an invalid document, or the change had no effect: %s", name)
		}
	}
}
