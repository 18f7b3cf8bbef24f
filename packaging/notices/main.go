// Command notices prints the licenses of the modules that a release of fauxlet is linked with, on all platforms of a
// release. It fails if one of them is not among the licenses below. These allow distribution in binary form, if their
// texts are distributed too.
//
// A module can contain code of others, with a license in the folder of that code. So notices reads the license files in
// the folder of each package, and in all folders above it up to the module's own.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

// platforms has the operating systems and architectures of a release.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64",
	"windows/arm64"}

// notice is the text of one or more license files, which are equal.
type notice struct {
	files []string // such as k8s.io/api@v0.37.2/LICENSE
	kinds []string
	text  string
}

func run(w io.Writer) error {
	notices, err := collect()
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "Fauxlet contains the software below. These are its licenses and notices. The license of\n"+
		"fauxlet itself is in the file LICENSE.")
	for _, n := range notices {
		fmt.Fprintf(w, "\n%s\n", strings.Repeat("=", 80))
		for _, file := range n.files {
			fmt.Fprintln(w, file)
		}
		if len(n.kinds) > 0 {
			fmt.Fprintln(w, "\nLicense:", strings.Join(n.kinds, ", "))
		}
		fmt.Fprintf(w, "%s\n\n%s\n", strings.Repeat("-", 80), n.text)
	}
	return nil
}

// collector gathers license files.
type collector struct {
	notices  map[string]*notice // by text
	licensed map[string]bool    // modules, and whether a license was found
	read     map[string]bool    // folders
}

// collect returns the notices of all linked packages, in the order of their first files. The error names each file
// whose license is not allowed, and each module that has none.
func collect() ([]*notice, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	goroot := strings.TrimSpace(string(root))
	c := &collector{notices: map[string]*notice{}, licensed: map[string]bool{}, read: map[string]bool{}}
	problems := []error{c.add("go", goroot, goroot)} // the standard library
	for _, platform := range platforms {
		packages, err := linked(platform)
		if err != nil {
			return nil, err
		}
		for _, p := range packages {
			if p.Module != nil && !p.Module.Main {
				problems = append(problems, c.add(p.Module.Path+"@"+p.Module.Version, p.Module.Dir, p.Dir))
			}
		}
	}
	for module, licensed := range c.licensed {
		if !licensed {
			problems = append(problems, fmt.Errorf("%s has no license file, so a release must not contain it", module))
		}
	}
	for _, n := range c.notices {
		slices.Sort(n.files)
	}
	byFile := func(a, b *notice) int { return cmp.Compare(a.files[0], b.files[0]) }
	return slices.SortedFunc(maps.Values(c.notices), byFile), errors.Join(problems...)
}

// add reads the license files of a package in the folder dir, up to the folder of its module.
func (c *collector) add(module, root, dir string) error {
	if _, known := c.licensed[module]; !known {
		c.licensed[module] = false
	}
	var problems []error
	for ; !c.read[dir]; dir = filepath.Dir(dir) {
		c.read[dir] = true
		problems = append(problems, c.readFolder(module, root, dir))
		if dir == root {
			break
		}
	}
	return errors.Join(problems...)
}

type goPackage struct {
	Dir    string
	Module *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// linked lists the packages of other modules that fauxlet is linked with on a platform.
func linked(platform string) ([]goPackage, error) {
	goos, goarch, _ := strings.Cut(platform, "/")
	list := exec.Command("go", "list", "-deps", "-tags", "grpcnotrace", "-json=Dir,Module", "./cmd/fauxlet")
	list.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list for %s: %w", platform, err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); err == io.EOF {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list for %s: %w", platform, err)
		}
		packages = append(packages, p)
	}
}

var (
	licenseFile = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying|copyright)([.-].*)?$`)
	noticeFile  = regexp.MustCompile(`(?i)^(notice|patents)([.-].*)?$`)
)

func (c *collector) readFolder(module, root, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var problems []error
	for _, entry := range entries {
		isLicense := licenseFile.MatchString(entry.Name())
		if !isLicense && !noticeFile.MatchString(entry.Name()) || !entry.Type().IsRegular() ||
			strings.HasSuffix(entry.Name(), ".go") {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		inModule, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name := module + "/" + filepath.ToSlash(inModule)
		text := strings.Trim(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
		if c.notices[text] == nil {
			c.notices[text] = &notice{text: text}
		}
		n := c.notices[text]
		n.files = append(n.files, name)
		if isLicense {
			c.licensed[module] = true
			if n.kinds, err = kinds(text); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	return errors.Join(problems...)
}

// grants has the sentence by which each allowed license grants its rights.
var grants = []struct{ kind, sentence string }{
	{"Apache-2.0", "Apache License Version 2.0, January 2004"},
	{"BSD", "Redistribution and use in source and binary forms, with or without modification, are permitted"},
	{"ISC", "distribute this software for any purpose with or without fee is hereby granted"},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
}

// conditions has words of licenses and conditions that are not allowed, because they demand more than a copy of the
// license.
var conditions = []string{"GNU ", "General Public License", "Mozilla Public License", "Eclipse Public License",
	"Common Development and Distribution", "Server Side Public License", "Business Source License", "Elastic License",
	"Commons Clause", "NonCommercial", "non-commercial", "advertising materials"}

// kinds returns the licenses in a text. It returns an error if there is none that is allowed, or a condition that is
// not.
func kinds(text string) ([]string, error) {
	words := strings.Join(strings.Fields(text), " ")
	for _, condition := range conditions {
		if strings.Contains(words, condition) {
			return nil, fmt.Errorf("the license mentions %q: decide whether a release may contain this module, and add "+
				"the license to packaging/notices, or remove the module", strings.TrimSpace(condition))
		}
	}
	var found []string
	for _, grant := range grants {
		if strings.Contains(words, grant.sentence) {
			found = append(found, grant.kind)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("the license is not known: if it allows distribution, add it to packaging/notices, " +
			"otherwise remove the module")
	}
	return found, nil
}
