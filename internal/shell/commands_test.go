package shell

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCommands checks the output of the commands, called without a shell.
func TestCommands(t *testing.T) {
	for _, test := range []struct {
		command string // split at blanks; _ stands for a blank, and ^ for an empty argument
		stdin   string
		stdout  string
		stderr  string
		exit    int
	}{
		{"echo a b", "", "a b\n", "", 0},
		{`echo -e a\tb\x41\0102\c no`, "", "a\tbAB", "", 0},
		{"echo -n -x", "", "-x", "", 0},
		{`printf %s-%5d|%-5s|%05.1f|%x\n a 7 b 3.14159 255`, "", "a-    7|b    |003.1|ff\n", "", 0},
		{`printf %s\n a b c`, "", "a\nb\nc\n", "", 0},
		{`printf %d x`, "", "0", "printf: invalid number 'x'\n", 1},
		{`printf a%%\101\x42%b\n c\td`, "", "a%ABc\td\n", "", 0},
		{"cat /data/a.txt -", "in\n", "one\ntwo\nthree\nin\n", "", 0},
		{"cat /nope /data", "", "",
			"cat: can't open '/nope': No such file or directory\ncat: can't open '/data': Is a directory\n", 1},
		{"ls /data", "", "a.txt\nb.txt\n", "", 0},
		{"ls -a /data", "", ".\n..\na.txt\nb.txt\n", "", 0},
		{"ls -l /data", "", "total 8\n-rw-r--r--    1 root     root            14 Mar  1 12:00 a.txt\n-rw-r--r--   " +
			" 1 root     root             6 Mar  1 12:00 b.txt\n", "", 0},
		{"ls -ld /data", "", "drwxr-xr-x    2 root     root          4096 Mar  1 12:00 /data\n", "", 0},
		{"ls -R /data /etc/motd", "", "/etc/motd\n\n/data:\na.txt\nb.txt\n", "", 0},
		{"ls -A -r /data", "", "b.txt\na.txt\n", "", 0},
		{"df", "", "Filesystem           1K-blocks      Used Available Use% Mounted on\n" +
			"overlay                  32768         0     32768   0% /\n", "", 0},
		{"nproc", "", "4\n", "", 0},
		{"fgrep -x a.", "a.\na.b\nab\n", "a.\n", "", 0},
		{"egrep -x a|ab", "a.\na\nab\n", "a\nab\n", "", 0},
		{"grep -H o -", "one\n", "-:one\n", "", 0},
		{"sort -f", "b\nA\nC\n", "A\nb\nC\n", "", 0},
		{"uniq -u", "a\na\nb\n", "b\n", "", 0},
		{"ls /nope", "", "", "ls: /nope: No such file or directory\n", 1},
		{"ls -Z", "", "", "ls: unrecognized option: Z\n", 1},
		{"env", "", "COLOUR=blue\nEMPTY=\nPATH=" + defaultPath + "\nHOSTNAME=web-0\nHOME=/root\n", "", 0},
		{"env PATH=/nope env", "", "", "env: can't execute 'env': No such file or directory\n", 127},
		{"env -i PATH=/bin A=1 env", "", "PATH=/bin\nA=1\n", "", 0},
		{"printenv COLOUR NOPE", "", "blue\n", "", 1},
		{"hostname", "", "web-0\n", "", 0},
		{"id", "", "uid=0(root) gid=0(root) groups=0(root)\n", "", 0},
		{"id -un", "", "root\n", "", 0},
		{"whoami", "", "root\n", "", 0},
		{"pwd", "", "/\n", "", 0},
		{"ps", "", "PID   USER     TIME  COMMAND\n    1 root      0:00 nginx -g daemon off;\n    2 root      0:00 ps\n",
			"", 0},
		{"date -u", "", "Mon Mar  2 14:05:00 UTC 2026\n", "", 0},
		{"date +%Y-%m-%dT%H:%M:%S%z_%s_%j_%%", "", "2026-03-02T14:05:00+0000 1772460300 061 %\n", "", 0},
		{"sleep 0.001", "", "", "", 0},
		{"sleep x", "", "", "sleep: invalid number 'x'\n", 1},
		{"true", "", "", "", 0},
		{"false", "", "", "", 1},
		{"seq 3", "", "1\n2\n3\n", "", 0},
		{"seq -s , 1 2 6", "", "1,3,5\n", "", 0},
		{"head -n 2 /data/a.txt", "", "one\ntwo\n", "", 0},
		{"head -1 /data/a.txt /data/b.txt", "", "==> /data/a.txt <==\none\n\n==> /data/b.txt <==\n1\n", "", 0},
		{"head -c 5", "abcdefgh", "abcde", "", 0},
		{"tail -n 1 /data/a.txt", "", "three\n", "", 0},
		{"tail -n +2 /data/a.txt", "", "two\nthree\n", "", 0},
		{"tail -c+5", "abcdefgh", "efgh", "", 0},
		{"tail -c 3", "abcdefgh", "fgh", "", 0},
		{"tail -2", "a\nb\nc", "b\nc", "", 0},
		{"grep -n t /data/a.txt", "", "2:two\n3:three\n", "", 0},
		{"grep -vc t /data/a.txt", "", "1\n", "", 0},
		{"grep -i ^O /data/a.txt /data/b.txt", "", "/data/a.txt:one\n", "", 0},
		{"grep -rl two /data", "", "/data/a.txt\n", "", 0},
		{"grep -r two /data", "", "/data/a.txt:two\n", "", 0},
		{"grep -q nope /data/a.txt", "", "", "", 1},
		{"grep a /nope", "", "", "grep: can't open '/nope': No such file or directory\n", 2},
		{`grep -E ^(one|two)$ /data/a.txt`, "", "one\ntwo\n", "", 0},
		{`grep a\{2\}\|b+ -`, "aa\nb+\nbb\n", "aa\nb+\n", "", 0},
		{`grep -F a.c`, "abc\na.c\n", "a.c\n", "", 0},
		{`grep -o [0-9]*x`, "12x34x\n", "12x\n34x\n", "", 0},
		{`grep -w two`, "two\ntwos\n", "two\n", "", 0},
		{`grep [[:digit:]]`, "a\n1\n", "1\n", "", 0},
		{`grep [`, "", "", "grep: bad regex '[': Invalid regexp\n", 2},
		{"wc /data/a.txt", "", "        3         3        14 /data/a.txt\n", "", 0},
		{"wc -l", "a\nb\n", "2\n", "", 0},
		{"sort", "b\na\nc\n", "a\nb\nc\n", "", 0},
		{"sort -rn", "2\n10\n1\n", "10\n2\n1\n", "", 0},
		{"sort -u", "b\na\nb\n", "a\nb\n", "", 0},
		{"sort -t: -k2n", "a:10\nb:9\n", "b:9\na:10\n", "", 0},
		{"uniq -c", "a\na\nb\n", "      2 a\n      1 b\n", "", 0},
		{"uniq -d", "a\na\nb\n", "a\n", "", 0},
		{"cut -d: -f1,3", "a:b:c\nd\n", "a:c\nd\n", "", 0},
		{"cut -c2-3", "abcd\n", "bc\n", "", 0},
		{"cut -f x", "", "", "cut: invalid range 'x'\n", 1},
		{"tr a-c A-C", "abcd", "ABCd", "", 0},
		{"tr -d [:space:]", "a b\n", "ab", "", 0},
		{"tr -s a", "aab", "ab", "", 0},
		{`tr : \n`, "a:b", "a\nb", "", 0},
		{"tee /tmp/t /dev/stdout", "x", "xx", "", 0},
		{"mkdir /data", "", "", "mkdir: can't create directory '/data': File exists\n", 1},
		{"mkdir -p /data/x/y /data", "", "", "", 0},
		{"mkdir /a/b", "", "", "mkdir: can't create directory '/a/b': No such file or directory\n", 1},
		{"rm /data", "", "", "rm: can't remove '/data': Is a directory\n", 1},
		{"rm /nope", "", "", "rm: can't remove '/nope': No such file or directory\n", 1},
		{"rm -f /nope", "", "", "", 0},
		{"rm -rf /", "", "", "rm: can't remove '/': Device or resource busy\n", 1},
		{"rmdir /data", "", "", "rmdir: '/data': Directory not empty\n", 1},
		{"cp /data /tmp", "", "", "cp: can't copy '/data': Is a directory\n", 1},
		{"cp -r /data /data/x", "", "", "cp: can't copy '/data': cannot copy a file or directory to itself\n", 1},
		{"mv /data /data/x", "", "", "mv: can't rename '/data': Invalid argument\n", 1},
		{"mv /nope /x", "", "", "mv: can't rename '/nope': No such file or directory\n", 1},
		{"uname", "", "Linux\n", "", 0},
		{"uname -nm", "", "web-0 x86_64\n", "", 0},
		{"which ls nope", "", "/bin/ls\n", "", 1},
		{"basename /a/b.txt .txt", "", "b\n", "", 0},
		{"dirname /a/b/ /x", "", "/a\n", "", 0},
		{"kill 99", "", "", "kill: can't kill pid 99: No such process\n", 1},
		{"kill 1", "", "", "", 0},
		{"sha256sum", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  -\n", "", 0},
		{"md5sum /etc/motd", "", "b1946ac92492d2347c6235b4d2611184  /etc/motd\n", "", 0},
		{"base64", "hello", "aGVsbG8=\n", "", 0},
		{"base64 -d", "aGVs\nbG8=\n", "hello", "", 0},
		{"test -d /data", "", "", "", 0},
		{"test -d /data/a.txt", "", "", "", 1},
		{"[ a = a ]", "", "", "", 0},
		{"find /data -name *.txt -type f", "", "/data/a.txt\n/data/b.txt\n", "", 0},
		{"find /data -maxdepth 0", "", "/data\n", "", 0},
		{"find . -name motd", "", "./etc/motd\n", "", 0},
		{"find /nope", "", "", "find: /nope: No such file or directory\n", 1},
		{"xargs -n 2 echo x", "a b c\n", "x a b\nx c\n", "", 0},
		{"xargs -I {} echo {}-{}", "a\nb\n", "a-a\nb-b\n", "", 0},
		{"xargs -0 -n 1 echo", "a b\x00\x00c", "a b\nc\n", "", 0},
		{"xargs cat", "/data/a.txt", "one\ntwo\nthree\n", "", 0},
		{"xargs", "", "\n", "", 0},
		{"xargs -r echo a", "", "", "", 0},
		{"xargs -n 1 cat -", "a b", "", "cat: can't open 'a': No such file or directory\n" +
			"cat: can't open 'b': No such file or directory\n", 123},
		{"xargs nope", "a\n", "", "xargs: can't execute 'nope': No such file or directory\n", 127},
		{"sed s/o/0/g", "foo\nbar\n", "f00\nbar\n", "", 0},
		{"sed -n 2p", "a\nb\nc\n", "b\n", "", 0},
		{"sed -n /b/,$p", "a\nb\nc\n", "b\nc\n", "", 0},
		{"sed 1d;s/c/&&/", "a\nb\nc\n", "b\ncc\n", "", 0},
		{`sed -E s/(a)(b)/\2\1/`, "ab\n", "ba\n", "", 0},
		{"sed $d", "a\nb\n", "a\n", "", 0},
		{"sed 2q", "a\nb\nc\n", "a\nb\n", "", 0},
		{"sed y/a/b/", "", "", "sed: unsupported command y/a/b/\n", 1},
		{"timeout 0.01 sleep 100", "", "", "", 143},
		{"timeout 10 echo a", "", "a\n", "", 0},
		{"tty", "", "not a tty\n", "", 1},
		{"tar tf -", "", "", "", 0},
		{"tar cf - /nope", "", strings.Repeat("\x00", 1024), "tar: /nope: No such file or directory\n", 1},
		{"sh -c exit_3", "", "", "", 3},
		{"sh -c", "", "", "sh: -c: option requires an argument\n", 2},
		{"sh /nope", "", "", "sh: can't open '/nope': No such file or directory\n", 2},
		{"sh -ec false;echo_no", "", "", "", 1},
		{"sh", "echo a\necho 'b\nc'\nread x\nline\necho \"<$x>\" \\\n  d\nexit 4\necho no\n", "a\nb\nc\n<line> d\n", "",
			4},
		{"sh -s p", "echo $1; cat\nrest\n", "p\nrest\n", "", 0},
		{"sh", "trap 'echo bye' EXIT\necho hi", "hi\nbye\n", "", 0},
		{"sh", "if true\n", "", "sh: line 1: syntax error: `if <cond>` must be followed by `then`\n", 2},
		{"bash -lc echo_$0", "", "bash\n", "", 0},
		{"/bin/echo a", "", "a\n", "", 0},
		{"head -n 1 /proc/version", "",
			"Linux version 6.12.48-fauxlet (build@fauxlet) #1 SMP PREEMPT_DYNAMIC 6.12.48-1 (2025-09-20)\n", "", 0},
		{"cat /proc/1/cmdline", "", "nginx\x00-g\x00daemon off;\x00", "", 0},
	} {
		t.Run(test.command, func(t *testing.T) {
			argv := strings.Split(test.command, " ")
			for i := range argv {
				argv[i] = strings.ReplaceAll(argv[i], "_", " ")
			}
			got := run(t, newContainer(t), test.stdin, argv...)
			if want := (result{test.stdout, test.stderr, test.exit}); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestStartErrors checks runc's messages for commands that cannot be started.
func TestStartErrors(t *testing.T) {
	c := newContainer(t, func(config *Config) {
		config.Files["/etc/script"], config.WorkingDir = "#!/bin/sh\necho $0 $1\n", "/srv/app"
	})
	sh(t, c, "cp /etc/script /bin/script; chmod +x /bin/script; cp /bin/ls /tmp/mine; printf '\\177ELF' > "+
		"/bin/binary; chmod 755 /bin/binary; echo '#!/usr/bin/python' > /bin/python; chmod +x /bin/python")
	const words = "OCI runtime exec failed: exec failed: unable to start container process: exec: "
	for _, test := range []struct {
		argv []string
		want result
	}{
		{[]string{"nope"}, result{"", words + `"nope": executable file not found in $PATH`, 127}},
		{[]string{"/bin/nope", "a"}, result{"", words + `"/bin/nope": stat /bin/nope: no such file or directory`, 127}},
		{[]string{"./nope"}, result{"", words + `"./nope": stat ./nope: no such file or directory`, 127}},
		{[]string{"/etc"}, result{"", words + `"/etc": is a directory`, 126}},
		{[]string{"/etc/motd"}, result{"", words + `"/etc/motd": permission denied`, 126}},
		{[]string{"/etc/motd/x"}, result{"", words + `"/etc/motd/x": stat /etc/motd/x: not a directory`, 127}},
		{[]string{""}, result{"", words + `"": executable file not found in $PATH`, 127}},
		{nil, result{"", words + `"": executable file not found in $PATH`, 127}},
		{[]string{"ls -l"}, result{"", words + `"ls -l": executable file not found in $PATH`, 127}},
		{[]string{"script", "one"}, result{"/bin/script one\n", "", 0}},
		{[]string{"/tmp/mine", "-d", "/tmp"}, result{"/tmp\n", "", 0}},
		{[]string{"/bin/python"}, result{"", "exec /bin/python: no such file or directory\n", 255}},
		{[]string{"binary"}, result{"", "exec /bin/binary: exec format error\n", 255}},
		{[]string{"sh", "-c", "python; binary"},
			result{"", "sh: python: not found\nsh: binary: Exec format error\n", 126}},
		{[]string{"pwd"}, result{"/srv/app\n", "", 0}},
	} {
		if got := run(t, c, "", test.argv...); got != test.want {
			t.Errorf("%q\ngot  %+v\nwant %+v", test.argv, got, test.want)
		}
	}
}

// TestConfigErrors checks that errors name the field of Config.
func TestConfigErrors(t *testing.T) {
	const path = ": must be the absolute path of a file, as in /etc/motd"
	for want, config := range map[string]Config{
		`files["etc/motd"]` + path: {Files: map[string]string{"etc/motd": ""}},
		`files["/a/../b"]` + path:  {Files: map[string]string{"/a/../b": ""}},
		`files["/a/b"]: Not a directory`: {Files: map[string]string{"/a": "",
			"/a/b": ""}},
		`files["/big"]: No space left on device: the container's file system has 32 ` +
			`MiB`: {Files: map[string]string{"/big": strings.Repeat("x",
			defaultDisk+1)}},
		`workingDir: "/etc/passwd/x": Not a directory`: {WorkingDir: "/etc/passwd/x"},
	} {
		if _, err := containerOf(config, time.Now); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// TestOrdinaryUser checks that files belong to the user of the container.
func TestOrdinaryUser(t *testing.T) {
	c := newContainer(t, func(config *Config) { config.UID, config.GID = 1000, 1000 })
	got := sh(t, c, `id; whoami; echo $HOME; echo hi > /tmp/mine && ls -l /tmp; cat /tmp/mine`)
	want := result{"uid=1000(1000) gid=1000(1000) groups=1000(1000)\n1000\n/\ntotal 4\n" +
		"-rw-r--r--    1 1000     1000             3 Mar  2 14:05 mine\nhi\n", "", 0}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestCopy checks the commands of kubectl cp in both directions.
func TestCopy(t *testing.T) {
	c := newContainer(t)
	if got := run(t, c, "", "test", "-d", "/tmp"); got.exit != 0 {
		t.Fatal(got)
	}
	var sent bytes.Buffer
	w := tar.NewWriter(&sent)
	for name, content := range map[string]string{"dir/a": "A", "dir/sub/b": strings.Repeat("b", 100_000),
		"../evil": "x"} {
		if err := w.WriteHeader(
			&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o640, ModTime: started}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := run(t, c, sent.String(), "tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-", "-C", "/tmp")
	if want := (result{"", "tar: name with '..' skipped: '../evil'\n", 1}); got != want {
		t.Errorf("got %+v", got)
	}
	for _, command := range [][]string{{"tar", "cf", "-", "/tmp/dir"}, {"sh", "-c", "tar cf - /tmp/dir | tail -c+1"},
		{"sh", "-c", "cd /tmp; tar cf x.tar dir; cat x.tar"}} {
		got = run(t, c, "", command...)
		if got.exit != 0 {
			t.Fatalf("%q: %q", command, got.stderr)
		}
		received := map[string]int64{}
		r := tar.NewReader(strings.NewReader(got.stdout))
		for {
			header, err := r.Next()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			received[strings.TrimPrefix(header.Name, "tmp/")] = header.Size
		}
		if want := map[string]int64{"dir/": 0, "dir/a": 1, "dir/sub/": 0, "dir/sub/b": 100_000}; !maps.Equal(received,
			want) {
			t.Errorf("%q: got %v", command, received)
		}
	}
}

// TestEveryCommandRuns checks that no command panics when its arguments are wrong or missing.
func TestEveryCommandRuns(t *testing.T) {
	c := newContainer(t)
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		if name == "yes" {
			continue
		}
		for _, argv := range [][]string{{name}, {name, "--nope"}, {name, "-\xff"}, {name, "", "", ""},
			{name, "/nope", "/nope"}, {name, "/data", "/tmp/x"}} {
			if got := run(t, c, "a\n", argv...); strings.Contains(got.stderr, "internal error") {
				t.Errorf("%q: %+v", argv, got)
			}
		}
	}
	for _, absent := range []string{"curl", "wget", "nc", "nslookup", "ssh", "ping", "telnet", "dig"} {
		if got := run(t, c, "", absent); got.exit != 127 {
			t.Errorf("%s: %+v", absent, got)
		}
	}
}
