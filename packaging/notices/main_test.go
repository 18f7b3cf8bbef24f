package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestKinds(t *testing.T) {
	t.Parallel()
	const apache = "Apache License\n    Version 2.0, January 2004"
	const mit = "Permission is hereby granted, free of charge, to any person obtaining a copy\nof this software"
	for _, tt := range []struct {
		name, text string
		want       []string
		problem    string
	}{
		{name: "one license", text: "MIT License\n\n" + mit, want: []string{"MIT"}},
		{name: "two licenses", text: mit + "\n\n" + apache, want: []string{"Apache-2.0", "MIT"}},
		{name: "a license that demands the sources", text: "Mozilla Public License Version 2.0", problem: "Mozilla"},
		{name: "an allowed license and one that is not", text: apache + "\nGNU Lesser General Public\nLicense",
			problem: `"GNU"`},
		{name: "a condition in another line", text: mit + "\nAll advertising\nmaterials must", problem: "advertising"},
		{name: "only a name", text: "MIT", problem: "not known"},
		{name: "empty", text: "", problem: "not known"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := kinds(tt.text)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if (err != nil) != (tt.problem != "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("error %v, want %q", err, tt.problem)
			}
		})
	}
}

// TestLicensesAbovePackage checks which files of a module are read for a package of it.
func TestLicensesAbovePackage(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	const mit = "Permission is hereby granted, free of charge, to any person obtaining a copy"
	for name, text := range map[string]string{
		"LICENSE": mit, "a/b/LICENSE.txt": mit + "\r\n", "a/NOTICE": "made by A", "a/license.go": "package a",
		"a/c/COPYING": "unknown", "a/b/license/file": "a folder",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := &collector{notices: map[string]*notice{}, licensed: map[string]bool{}, read: map[string]bool{}}
	if err := c.add("example.com/m@v1.0.0", root, filepath.Join(root, "a", "b")); err != nil {
		t.Error(err)
	}
	want := []string{"example.com/m@v1.0.0/a/b/LICENSE.txt", "example.com/m@v1.0.0/LICENSE"}
	got := c.notices[mit]
	if got == nil || !slices.Equal(got.files, want) || !slices.Equal(got.kinds, []string{"MIT"}) {
		t.Errorf("notices: %+v, want %q", got, want)
	}
	if len(c.notices) != 2 || c.notices["made by A"] == nil || !c.licensed["example.com/m@v1.0.0"] {
		t.Errorf("collected: %+v", c)
	}
	if err := c.add("example.com/m@v1.0.0", root, filepath.Join(root, "a", "c")); err == nil ||
		!strings.Contains(err.Error(), "example.com/m@v1.0.0/a/c/COPYING: the license is not known") {
		t.Errorf("error %v", err)
	}
	none := t.TempDir()
	if err := c.add("example.com/none@v1.0.0", none, none); err != nil || c.licensed["example.com/none@v1.0.0"] {
		t.Errorf("a module without a license: %v, licensed: %v", err, c.licensed)
	}
}
