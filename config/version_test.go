package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]string{"1.30": "v1.30.14", "v1.33": "v1.33.13", "1.31.5": "v1.31.5",
		"v1.36.0": "v1.36.0", "1.37": "v1.37.2", "1.37.2": "v1.37.2", "1.37.9": "v1.37.9",
		"v1.33.5-gke.100": "v1.33.5", "v1.33.5+k3s1": "v1.33.5", "v1.31.5-eks-1234": "v1.31.5"} {
		v, err := ParseVersion(text)
		if err != nil || v.GitVersion() != want {
			t.Errorf("%s: %s, %v; want %s", text, v.GitVersion(), err, want)
		}
	}
	for _, text := range []string{"1.37", "1.37.2", "v1.37.2"} {
		if v, _ := ParseVersion(text); v != (Version{}) {
			t.Errorf("%s: %+v, want the zero value", text, v)
		}
	}
	for text, want := range map[string]string{"": "is not a version", "1": "want one from 1.30 to 1.37",
		"1.29": "want one from 1.30 to 1.37", "1.38": "want one from 1.30 to 1.37", "2.33": "want one from",
		"1.33.1.1": "want one from", "1.x": "is not a version", "1.+33": "is not a version",
		"1.-33": "is not a version", "1.33.": "is not a version", "latest": "for example 1.37"} {
		if v, err := ParseVersion(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", text, v, err, want)
		}
	}
}

// TestBehaviors checks that each behaviour has exactly one row in the table, and that it begins with the version of the
// row.
func TestBehaviors(t *testing.T) {
	rows := map[Behavior]int{}
	for _, c := range changes {
		rows[c.behavior]++
		since, err := ParseVersion(c.Since)
		if err != nil || c.What == "" || c.Source == "" || c.Subject == "" {
			t.Errorf("the row %+v is not complete: %v", c, err)
		}
		for _, v := range Versions() {
			if c.behavior == 0 || len(c.Backports) > 0 {
				continue
			}
			if got, want := v.Has(c.behavior), v.full().minor >= since.full().minor; got != want {
				t.Errorf("%s has %q: %v, want %v", v, c.What, got, want)
			}
		}
	}
	for b := SubresourceList; b <= NoStaticPodReferences; b++ {
		if rows[b] != 1 {
			t.Errorf("behavior %d has %d rows, want 1", b, rows[b])
		}
	}
	for text, want := range map[string]bool{"1.30.9": false, "1.30.10": true, "1.31.5": false, "1.31.6": true,
		"1.32.1": false, "1.32.2": true, "1.33.0": true, "1.37": true} {
		if v, _ := ParseVersion(text); v.Has(ProtectedCheckpoint) != want {
			t.Errorf("%s has a protected /checkpoint: %v, want %v", text, !want, want)
		}
	}
}

// loadFor loads a configuration file for a version.
func loadFor(t *testing.T, version, fields string, strict bool, drop string) (*Config, error) {
	t.Helper()
	const header = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
	dir := t.TempDir()
	write := func(name, fields string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(header+fields), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	f := NewFlags()
	f.Strict = strict
	for _, err := range []error{f.Version.Set(version), f.Set("config", write("kubelet.yaml", fields)),
		f.Set("hostname-override", "node-1")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if drop != "" {
		write("1.conf", drop)
		if err := f.Set("config-dir", dir); err != nil {
			t.Fatal(err)
		}
	}
	return f.Load()
}

// TestGatesOfVersions checks the feature gates against kubelets of these versions: whether the gate is known, its
// default, and whether it is locked. The errors are the kubelets'.
func TestGatesOfVersions(t *testing.T) {
	for _, test := range []struct{ version, set, want string }{
		{"1.31", "KubeletFineGrainedAuthz: false", "unrecognized feature gate: KubeletFineGrainedAuthz"},
		{"1.32", "", "off"},
		{"1.32", "KubeletFineGrainedAuthz: true", "on"},
		{"1.33", "", "on"},
		{"1.35", "KubeletFineGrainedAuthz: false", "off"},
		{"1.36", "KubeletFineGrainedAuthz: false",
			"cannot set feature gate KubeletFineGrainedAuthz to false, feature is locked to true"},
		{"1.36", "KubeletFineGrainedAuthz: true", "on"},
		{"1.37", "KubeletFineGrainedAuthz: false", "feature is locked to true"},
		{"1.31", "", "off"},
	} {
		file := ""
		if test.set != "" {
			file = "featureGates: {\"" + strings.Replace(test.set, ":", "\":", 1) + "}\n"
		}
		c, err := loadFor(t, test.version, file, true, "")
		got := "off"
		switch {
		case err != nil:
			got = err.Error()
		case c.Enabled("KubeletFineGrainedAuthz"):
			got = "on"
		}
		if !strings.Contains(got, test.want) {
			t.Errorf("%s, %q: %s; want %s", test.version, test.set, got, test.want)
		}
	}
}

// TestFieldsOfVersions checks fields that older kubelets do not know, and defaults that have changed.
func TestFieldsOfVersions(t *testing.T) {
	const field = "tlsCurvePreferences: [29]\nsingleProcessOOMKill: true\n"
	const want = `unknown field "tlsCurvePreferences" (kubelets have it since 1.36; the emulated version is 1.33)`
	if _, err := loadFor(t, "1.33", field, true, ""); err == nil || !strings.Contains(err.Error(), want) ||
		strings.Contains(err.Error(), "singleProcess") {
		t.Errorf("strict: %v, want %s", err, want)
	}
	if _, err := loadFor(t, "1.33", "", true, field); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("strict, in a drop-in: %v, want %s", err, want)
	}
	for name, load := range map[string]func() (*Config, error){
		"file":    func() (*Config, error) { return loadFor(t, "1.33", field, false, "") },
		"drop-in": func() (*Config, error) { return loadFor(t, "1.33", "", false, field) },
	} {
		c, err := load()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], want) || len(c.Kubelet.TLSCurvePreferences) > 0 {
			t.Errorf("%s: warnings %q, tlsCurvePreferences %v; want one warning and no value", name, c.Warnings,
				c.Kubelet.TLSCurvePreferences)
		}
	}
	// A kubelet ignores an unknown field, so it does not validate its value either.
	if _, err := loadFor(t, "1.31", "crashLoopBackOff: {maxContainerRestartPeriod: 10s}\n", false,
		"crashLoopBackOff: {maxContainerRestartPeriod: 11s}\n"); err != nil {
		t.Error(err)
	}
	fields := []string{"failCgroupV1", "memoryThrottlingFactor", "mergeDefaultEvictionSettings", "userNamespaces"}
	for version, want := range map[string]string{
		"1.30": "none 0.9 none none", "1.31": "false 0.9 none none", "1.34": "false 0.9 false none",
		"1.36": "true 0.9 false none", "1.37": "true none false none",
	} {
		c, err := loadFor(t, version, "", true, "")
		if err != nil {
			t.Fatal(err)
		}
		data, err := c.Configz()
		if err != nil {
			t.Fatal(err)
		}
		if older := version < "1.32"; older == strings.Contains(string(data), "crashLoopBackOff") {
			t.Errorf("%s: crashLoopBackOff in %s", version, data)
		}
		var got []string
		for _, field := range fields {
			value := "none"
			if _, after, ok := strings.Cut(string(data), `"`+field+`":`); ok {
				value = after[:strings.IndexAny(after, ",}")]
			}
			got = append(got, value)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q are %q, want %s", version, fields, got, want)
		}
	}
}

// TestVersionsWithoutFile loads the defaults of each version, without a configuration file.
func TestVersionsWithoutFile(t *testing.T) {
	for _, version := range []string{"1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"} {
		f := NewFlags()
		for _, err := range []error{f.Version.Set(version), f.Set("hostname-override", "node-1")} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := f.Load(); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
}

// TestGateBefore checks a gate that turns off what kubelets did before they had it.
func TestGateBefore(t *testing.T) {
	for version, want := range map[string]bool{"1.30": true, "1.31": false, "1.37": false} {
		c, err := loadFor(t, version, "", true, "")
		if err != nil {
			t.Fatal(err)
		}
		if c.Enabled("AllowDNSOnlyNodeCSR") != want {
			t.Errorf("%s: AllowDNSOnlyNodeCSR is %v, want %v", version, !want, want)
		}
	}
	if _, err := loadFor(t, "1.30", "featureGates: {AllowDNSOnlyNodeCSR: true}\n", true, ""); err == nil ||
		!strings.Contains(err.Error(), "unrecognized feature gate: AllowDNSOnlyNodeCSR") {
		t.Errorf("1.30 with the gate: %v", err)
	}
	// Every change between patch versions of one minor version, and none that the first version has already.
	for _, test := range []struct {
		from, to string
		want     int
	}{{"1.31.5", "1.31.6", 1}, {"1.30.9", "1.30.10", 1}, {"1.31.6", "1.31.14", 0}} {
		from, _ := ParseVersion(test.from)
		to, _ := ParseVersion(test.to)
		if got := Changes(from, to); len(got) != test.want {
			t.Errorf("%s to %s: %+v, want %d changes", test.from, test.to, got, test.want)
		}
	}
	from, _ := ParseVersion("1.32.2")
	for _, c := range Changes(from, Version{}) {
		if c.behavior == ProtectedCheckpoint {
			t.Error("1.32.2 has the protected /checkpoint already")
		}
	}
}
