package shell

import (
	"archive/tar"
	"bytes"
	"strconv"
	"strings"
	"testing"
)

// TestRelativeLinks writes through links with relative targets. A target begins at the directory that has the link,
// even if the path leads there through another link.
func TestRelativeLinks(t *testing.T) {
	for _, test := range []struct{ name, script, stdout, stderr string }{
		{"new file", `mkdir -p /a/b /y/deep; ln -s /a/b /l; ln -s ../y /a/b/x; echo kept > /y/deep/file; ` +
			`echo new > /l/x; cat /y/deep/file /a/y`, "kept\nnew\n", ""},
		{"new file through two links", `mkdir -p /a/b; ln -s /a/b /l; ln -s ../l/z /a/x; ln -s ../x /a/b/y; ` +
			`echo new > /l/y; cat /a/b/z`, "new\n", ""},
		{"real path", `mkdir -p /p/q; echo ok > /p/z; ln -s /p/q /m; ln -s ../z /p/q/w; readlink -f /m/w; cat /m/w`,
			"/p/z\nok\n", ""},
		{"real path of directories", `ln -s /etc/.. /r; readlink -f /r; readlink -f /r/etc; readlink -f /`,
			"/\n/etc\n/\n", ""},
		{"remove and move", `mkdir -p /a/b /y; ln -s /a/b /l; ln -s ../y /a/b/x; mv /l/x /l/z; ls /a/b; rm /l/z; ` +
			`ls /a/b; ls -d /y`, "z\n/y\n", ""},
		{"move onto a link", `mkdir /d; ln -s d /l; echo a > /f; mv -T /f /l 2> /dev/null || mv /f /l; ls /d`, "f\n", ""},
		{"directory at a link without a file", `ln -s /none /l; mkdir /l; ln -s x /l; mkdir -p /l/x`, "",
			"mkdir: can't create directory '/l': File exists\nln: x: File exists\n" +
				"mkdir: can't create directory '/l/x': File exists\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newContainer(t)
			if got := sh(t, c, test.script); got.stdout != test.stdout || got.stderr != test.stderr {
				t.Errorf("got %q, %q, want %q, %q", got.stdout, got.stderr, test.stdout, test.stderr)
			}
			checkMemory(t, c)
		})
	}
}

// TestMemoryOfNames checks that each name of a file, and the target of each link, counts as used memory.
func TestMemoryOfNames(t *testing.T) {
	c := newContainer(t)
	long := strings.Repeat("n", maxName)
	used := func() int64 { return c.memory.used.Load() }
	before := used()
	for range 3 {
		if got := sh(t, c, "echo > /f; ln /f /"+long+"; ln -s "+strings.Repeat("t", 1000)+" /l"); got.exit != 0 {
			t.Fatalf("%+v", got)
		}
		if grown := used() - before; grown < 2*nodeMemory+3*nameMemory+1000 {
			t.Errorf("three names of two files count %d bytes", grown)
		}
		checkMemory(t, c)
		if got := sh(t, c, "mv /f /g; mv /l /"+long+"; rm /g /"+long); got.exit != 0 || used() != before {
			t.Errorf("%+v; %d bytes count after the names are removed", got, used()-before)
		}
	}

	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for i := range maxFiles {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: strconv.Itoa(i), Linkname: "/etc/passwd"})
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := run(t, c, archive.String(), "tar", "xf", "-", "-C", "/")
	if !strings.Contains(got.stderr, "No space left on device: the container's file system has 10000 files") {
		t.Errorf("%+v", got)
	}
	checkMemory(t, c)
	if got := sh(t, c, "mv /0 /zero; rm /etc/passwd /1; echo > /new"); got.exit != 0 {
		t.Errorf("%+v", got)
	}
	checkMemory(t, c)
}

// TestEditedInPlace checks that sed -i sets the modification time.
func TestEditedInPlace(t *testing.T) {
	c := newContainer(t)
	got := sh(t, c, "sed -i s/hello/bye/ /etc/motd; touch /new; ls -l /etc/motd /new | cut -c 45-56")
	if got.stdout != "Mar  2 14:05\nMar  2 14:05\n" {
		t.Errorf("%+v", got)
	}
}
