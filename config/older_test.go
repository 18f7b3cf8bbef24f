package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

var update = flag.Bool("update", false, "rewrite versions.json")

// olderFacts has the facts of the kubelet of an older minor version. "make record" writes them with that kubelet's own
// code. The state of a feature gate is written as in "on locked BETA".
type olderFacts struct {
	Defaults, Legacy json.RawMessage
	Paths            []string
	EvictionHard     map[string]string
	Fields           []string
	Gates            map[string]string
	Dependencies     map[string][]string
	Flags            []flagFact
}

// factsOf reads the facts of an emulated version.
func factsOf(t *testing.T, v Version) olderFacts {
	t.Helper()
	if v == (Version{}) {
		return olderFacts{Gates: gatesOfNewest(), Flags: facts().Flags, Dependencies: facts().Dependencies,
			Fields: fieldPaths(), Paths: facts().Paths, EvictionHard: facts().EvictionHard}
	}
	name := "testdata/older/" + v.String() + ".json"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var f olderFacts
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

func gatesOfNewest() map[string]string {
	gates := map[string]string{}
	for _, gate := range facts().Gates {
		gates[gate.Name] = gate.String()
	}
	return gates
}

func (s gateStage) String() string {
	words := map[bool]string{false: "off", true: "on"}[s.Default]
	if s.Locked {
		words += " locked"
	}
	return strings.TrimSpace(words + " " + s.Stage)
}

func parseStage(text string) (s gateStage) {
	for _, word := range strings.Fields(text) {
		switch word {
		case "on", "off":
			s.Default = word == "on"
		case "locked":
			s.Locked = true
		default:
			s.Stage = word
		}
	}
	return s
}

// TestVersionFacts makes versions.json of the facts of all emulated versions, and compares it with the committed file.
func TestVersionFacts(t *testing.T) {
	made := versionFacts{Fields: map[string]string{}, Gates: map[string][]gateChange{},
		Dependencies: map[string]map[string][]string{}}
	flags := map[string]*versionFlag{}
	var before olderFacts
	for i, v := range Versions() {
		f := factsOf(t, v)
		for name, state := range f.Gates {
			if before.Gates[name] != state {
				made.Gates[name] = append(made.Gates[name], gateChange{Since: v.String(), gateStage: parseStage(state)})
			}
		}
		for name := range before.Gates {
			if f.Gates[name] == "" {
				made.Gates[name] = append(made.Gates[name], gateChange{Since: v.String(), Removed: true})
			}
		}
		for _, field := range f.Fields {
			parent, _, nested := strings.Cut(field, ".")
			switch {
			case i == 0 || slices.Contains(before.Fields, field) || nested && made.Fields[parent] != "":
			case nested:
				t.Errorf("%s is new in %s; the code knows only new fields that are not nested", field, v)
			default:
				made.Fields[field] = v.String()
			}
		}
		gone := func(field string) bool { return !slices.Contains(f.Fields, field) }
		if i := slices.IndexFunc(before.Fields, gone); i >= 0 {
			t.Errorf("%s does not have the field %s; the code expects that no field is removed", v, before.Fields[i])
		}
		if v != (Version{}) && len(f.Dependencies) > 0 {
			made.Dependencies[v.String()] = f.Dependencies
		}
		has := map[string]bool{}
		for _, flag := range f.Flags {
			has[flag.Name] = true
			if flags[flag.Name] == nil {
				flags[flag.Name] = &versionFlag{}
				if i > 0 {
					flags[flag.Name].Since = v.String()
				}
			}
			flags[flag.Name].flagFact = flag
			if flags[flag.Name].Until != "" {
				t.Errorf("--%s was gone in %s, and is there in %s", flag.Name, flags[flag.Name].Until, v)
			}
		}
		for _, flag := range flags {
			if !has[flag.Name] && flag.Until == "" {
				flag.Until = v.String()
			}
		}
		before = f
	}
	for _, flag := range flags {
		if flag.Since != "" || flag.Until != "" {
			made.Flags = append(made.Flags, *flag)
		}
	}
	slices.SortFunc(made.Flags, func(a, b versionFlag) int { return strings.Compare(a.Name, b.Name) })

	got, err := json.MarshalIndent(made, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile("versions.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, versionsJSON) {
		t.Error("versions.json is out of date: run go test ./config -run TestVersionFacts -update")
	}
}

// TestOlderDefaults compares the feature gates and the defaults of each older version with the facts of its kubelet.
func TestOlderDefaults(t *testing.T) {
	for _, v := range Versions()[:len(Versions())-1] {
		t.Run(v.String(), func(t *testing.T) {
			want := factsOf(t, v)
			gates, known := newGates(v), map[string]string{}
			for name, spec := range gates.GetAll() {
				stage := gateStage{Default: spec.Default, Locked: spec.LockToDefault, Stage: string(spec.PreRelease)}
				known[string(name)] = stage.String()
			}
			if d := cmp.Diff(want.Gates, known); d != "" {
				t.Errorf("feature gates, - kubelet, + fauxlet:\n%s", d)
			}
			withFile := defaultsOf(v, gates)
			setDefaults(withFile, v, gates)
			compareDefaults(t, v, want.Defaults, withFile)
			legacy, err := jsonpatch.MergePatch(want.Defaults, want.Legacy)
			if err != nil {
				t.Fatal(err)
			}
			compareDefaults(t, v, legacy, legacyConfiguration(v, gates))
			if d := cmp.Diff(want.Paths, facts().Paths); d != "" {
				t.Errorf("paths, - kubelet, + fauxlet:\n%s", d)
			}
			if d := cmp.Diff(want.EvictionHard, facts().EvictionHard); d != "" {
				t.Errorf("evictionHard, - kubelet, + fauxlet:\n%s", d)
			}
		})
	}
}

func compareDefaults(t *testing.T, v Version, want json.RawMessage, got *kubeletConfiguration) {
	t.Helper()
	v.removeNewerFields(got)
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(plain(t, []byte(want)), plain(t, v.withoutNewerStructs(text))); d != "" {
		t.Errorf("defaults, - kubelet, + fauxlet:\n%s", d)
	}
}

// texts lists the cases that older kubelets up to 1.31 refuse with another text: they decode drop-ins into a type whose
// fields have other names.
var texts = []string{"drop-in of another type", "drop-in of a gate not a bool", "drop-in of a number as a string",
	"drop-in with a list for a map"}

// panics lists the cases of testdata/loads.json that make older kubelets panic. Fauxlet has the errors of newer
// kubelets.
var panics = []string{"log flush negative"}

// TestOlderLoads loads the command lines and files of testdata/loads.json in each older version. The errors must be the
// errors of the kubelet of that version.
func TestOlderLoads(t *testing.T) {
	all, names := readLoads(t, "testdata/loads.json"), map[string]bool{}
	for _, c := range all {
		names[c.Name] = true
	}
	older := map[Version]map[string]measuredLoad{}
	for _, v := range Versions()[:len(Versions())-1] {
		older[v] = map[string]measuredLoad{}
		for _, c := range readLoads(t, "testdata/older/"+v.String()+"-loads.json") {
			older[v][c.Name] = c
			if !names[c.Name] { // a case of a flag that the newest version does not have
				all, names[c.Name] = append(all, measuredLoad{Name: c.Name, Args: c.Args}), true
			}
		}
	}
	compared := map[Version]int{}
	for _, newest := range all {
		if slices.Contains(panics, newest.Name) || deliberate[newest.Name] != "" {
			continue
		}
		t.Run(newest.Name, func(t *testing.T) {
			f, dir, parseErr := parseIn(t, newest.Args, newest.Files)
			for v, cases := range older {
				c, ok := cases[newest.Name]
				if !ok {
					continue // a case of a flag that this version does not have
				}
				compared[v]++
				if slices.Contains(texts, c.Name) && !v.Has(GatedDefaults) {
					c.Error = newest.Error
				}
				t.Log(v)
				l, err := (*loader)(nil), parseErr
				if err == nil {
					f.Version = v
					_, l, err = effectiveIn(t, f, dir)
				}
				if !checkError(t, &c, err) {
					checkLenient(t, &c, l)
				}
			}
		})
	}
	for v := range older {
		if compared[v] < 350 {
			t.Errorf("%s: %d results compared, want 350 or more", v, compared[v])
		}
	}
}
