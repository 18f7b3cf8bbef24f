package shell

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fauxlet/internal/shellword"
)

// TestHostIsNotReachable runs scripts that would reach the host in an ordinary shell: directly, in a pipe, in a
// background command, in eval, in a substitution, in a trap and in a sourced file.
func TestHostIsNotReachable(t *testing.T) {
	dir := t.TempDir()
	marker := filepath.Join(dir, "marker")
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("echo host-secret\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	// For a process substitution, the interpreter of mvdan.cc/sh would create and open files with such names in TMPDIR.
	fifo := filepath.Join(os.TempDir(), "sh-interp-fauxlet-test")
	if err := os.WriteFile(fifo, []byte("host-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(fifo) })
	t.Setenv("FAUXLET_HOST", "host-secret")
	t.Setenv("TMPDIR", dir)
	inTMPDIR := filepath.Join(dir, "sh-interp-x")
	if err := os.WriteFile(inTMPDIR, []byte("host-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	touch, err := exec.LookPath("touch")
	if err != nil {
		t.Fatal(err)
	}
	scripts := map[string]string{
		"cat": "cat " + secret + "; cat < " + secret + "; echo $(< " + secret +
			"); head " + secret + "; grep . " + secret,
		"read": "read x < " + secret + "; echo $x",
		"write": "echo x > " + marker + "; echo x >> " + marker + "; touch " + marker +
			"; cp /etc/motd " + marker + "; tee " + marker + " < /etc/motd",
		"make":   "mkdir " + marker + "; mkdir -p " + marker + "/x; ln -s / " + marker,
		"remove": "rm -rf " + dir + "; rm -f " + secret + "; mv " + secret + " " + marker,
		"run":    touch + " " + marker + "; exec " + touch + " " + marker,
		"run by command": "command " + touch + " " + marker + "; env " + touch + " " + marker +
			"; echo " + marker + " | xargs " + touch,
		"run in PATH": "PATH=" + filepath.Dir(touch) + ":" + dir + "; touch " + marker +
			"; secret",
		"run a host's script": secret + "; sh " + secret + "; timeout 1 " + secret,
		"source": ". " + secret + "; source " + secret + "; cd " + dir +
			"; . ./secret; PATH=" + dir + "; . secret; command . " + secret + "; builtin source " + secret,
		"source of many": ". /etc/profile; . ~/.profile; . " + home + "/.bashrc",
		"cd": "cd " + dir + " && echo host-secret; pushd " + dir + "; cd " + home +
			"/.. && [ $PWD != / ] && [ " + home + " != /root ] && echo host-secret",
		"pwd -P": "pwd -P; PWD=" + dir + "; pwd -P | grep " + dir + " && echo host-secret",
		"glob": "for f in " + dir +
			"/*; do case $f in *secret|*marker) echo host-secret;; esac; done; echo " + dir +
			"/s?cret | sed 's/cret.*/X/; s/.*sX/host-secret/' | grep -v '?'",
		"test": "test -e " + secret + " && echo host-secret; [ -f " + secret +
			" ] && echo host-secret; [[ -d " + dir + " ]] && echo host-secret; test -O " + secret +
			" && echo host-secret; [[ -O " + secret + " ]] && echo host-secret; [[ -G " + secret +
			" ]] && echo host-secret; test -r " + secret + " && echo host-secret; test -x " + secret +
			" && echo host-secret",
		"test -nt": "[ " + secret + " -nt /nope ] && echo host-secret; [ " + secret + " -ef " +
			secret + " ] && echo host-secret",
		"type": "PATH=" + dir + "; type secret 2>&1 | grep -v 'not found' && echo " +
			"host-secret; command -v secret && echo host-secret; command -V secret 2>&1 | grep -v found && echo " +
			"host-secret; type -p secret && echo host-secret; hash secret; which secret && echo host-secret",
		"environment": "env; set; export -p; printenv; echo $FAUXLET_HOST; sh -c 'echo " +
			"$FAUXLET_HOST'; echo ${!FAUXLET@} ${FAUXLET_HOST:-none}",
		"TMPDIR": "cat < " + fifo + "; cat < " + inTMPDIR + "; echo x > " +
			filepath.Join(dir, "sh-interp-marker") + "; TMPDIR=" + dir + "; cat < " + inTMPDIR + "; sh -c 'cat < " +
			inTMPDIR + "'",
		"process substitution":             "cat <(echo a)",
		"process substitution out":         "echo a > >(cat)",
		"process substitution in an index": "a=(1 2); unset 'a[$(cat <(echo ~games))]'; unset 'a[$(echo ~games >&2)]'",
		"process substitution in eval":     "eval 'cat <(echo a)'; x='<(echo a)'; eval \"cat $x\"",
		"process substitution in trap":     "trap 'cat <(echo a)' EXIT",
		"process substitution in a file": "echo 'cat <(echo a)' > /tmp/s; . /tmp/s; sh /tmp/s; sh < /tmp/s; " +
			"chmod +x /tmp/s; /tmp/s",
		"sockets": "exec 3<>/dev/tcp/127.0.0.1/22; cat < /dev/tcp/127.0.0.1/22; echo > " +
			"/dev/udp/127.0.0.1/53; wget -q http://127.0.0.1; curl http://127.0.0.1; nc 127.0.0.1 22; nslookup " +
			"localhost",
		"users": "echo ~games ~lp ~" + filepath.Base(home) +
			"x; x='y=~games/'; export \"$x\"; echo $y; readonly \"z=~games\"; echo $z; f() { local \"w=~games\"; " +
			"echo $w; }; f; echo {~games,b} ${u:-~games}",
		"users again": "case ~games in /*) echo host-secret;; esac; cat < ~games/x; for i in " +
			"~games; do echo $i; done; [[ ~games == /* ]] && echo host-secret; a=(~games); echo ${a[0]}; " +
			"a[1]=~games; echo ${a[1]}; d=~games; echo $d | cat; (echo ~games) & wait",
		"users after too large expansions": "x=$(head -c 60000 /dev/zero | tr '\\0' x); " +
			"true <<< \"$x$x$x$x$x\" > ~games",
		"archive": "tar cf - " + secret + "; tar cf " + marker +
			" /etc/motd; tar cf /tmp/t /etc/motd; tar xf /tmp/t -C " + dir,
		"proc": "cat /proc/self/environ /proc/1/environ /proc/self/maps /proc/self/root" +
			secret + " /proc/1/root" + secret + " /proc/self/cwd/go.mod",
		"up": "cat ../../../../.." + secret + "; cd /data; cat ../../.." + secret,
	}
	around := map[string]func(string) string{
		"alone":        func(script string) string { return script },
		"in a pipe":    func(script string) string { return "{ " + script + "\n} | cat" },
		"background":   func(script string) string { return "{ " + script + "\n} & wait" },
		"substitution": func(script string) string { return "x=\"$( " + script + "\n)\"; echo \"$x\"" },
		"eval":         func(script string) string { return "eval " + shellword.Quote(script) },
		"trap":         func(script string) string { return "trap " + shellword.Quote(script) + " EXIT" },
		"command eval": func(script string) string {
			return "command eval " + shellword.Quote(script) + "; builtin eval " + shellword.Quote(script)
		},
		"file":     func(script string) string { return "cat > /tmp/file <<'EOF'\n" + script + "\nEOF\n. /tmp/file" },
		"function": func(script string) string { return "f() {\n" + script + "\n}; f" },
	}
	for name, script := range scripts {
		for how, wrap := range around {
			t.Run(name+"/"+how, func(t *testing.T) {
				c := newContainer(t)
				got := sh(t, c, wrap(script))
				all := got.stdout + got.stderr + sh(t, c, "find /usr /var").stdout
				for _, of := range []string{"host-secret", "/usr/games", "/var/spool/lpd", "internal error", "fifo"} {
					if strings.Contains(all, of) {
						t.Errorf("%s\nsaw %q:\n%s", wrap(script), of, all)
					}
				}
				if !strings.Contains(hostname, "web") && strings.Contains(got.stdout, hostname+"\n") {
					t.Errorf("%s\nsaw the host's name", script)
				}
				entries, err := os.ReadDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				if len(entries) != 2 {
					t.Fatalf("%s\nleft on the host: %v", wrap(script), entries)
				}
			})
		}
	}
}

// TestContainerValues checks what scripts see instead of the host's values.
func TestContainerValues(t *testing.T) {
	c := newContainer(t)
	for script, want := range map[string]string{
		"cat /etc/hostname; hostname; hostname -i": "web-0\nweb-0\n10.1.2.3\n",
		"env | sort":            "COLOUR=blue\nEMPTY=\nHOME=/root\nHOSTNAME=web-0\nOLDPWD=\n",
		"tail -n 1 /etc/passwd": "nobody:x:65534:65534:nobody:/:/sbin/nologin\n",
		"echo $UID $HOME":       "0 /root\n",
		"echo $PPID $((PPID)) $((PPID + 1)); [ $$ -lt 100 ] && [ $$ -gt 1 ] && echo small": "0 0 1\nsmall\n",
		"echo ${TMPDIR-none} ${FAUXLET_HOST-none}":                                         "none none\n",
	} {
		if script == "env | sort" {
			got := sh(t, c, script).stdout
			if !strings.Contains(got, "COLOUR=blue\nEMPTY=\nHOME=/root\nHOSTNAME=web-0\n") ||
				strings.Contains(got, "__") {
				t.Errorf("%s: %q", script, got)
			}
			continue
		}
		if got := sh(t, c, script); got.stdout != want {
			t.Errorf("%s\ngot  %+v\nwant %q", script, got, want)
		}
	}
}

// TestImports checks that the package imports nothing that can reach the host. From package os it may use only a few
// constants.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=Imports,GoFiles,Dir", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		Imports, GoFiles []string
		Dir              string
	}
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	for _, imported := range p.Imports {
		switch first, _, _ := strings.Cut(imported, "/"); {
		case imported == "os/exec", imported == "os/user", imported == "os/signal", imported == "syscall",
			imported == "unsafe", imported == "plugin", first == "net",
			strings.HasPrefix(imported, "golang.org/x/sys"), imported == "path/filepath", imported == "io/ioutil",
			imported == "runtime/debug", imported == "reflect", strings.HasSuffix(imported, "/interp"):
			t.Errorf("imports %s", imported)
		}
	}
	allowed := []string{"os.O_APPEND", "os.O_CREATE", "os.O_RDONLY", "os.O_RDWR", "os.O_TRUNC", "os.O_WRONLY"}
	for _, file := range p.GoFiles {
		source, err := os.ReadFile(filepath.Join(p.Dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bos\.[A-Z]\w*`).FindAll(source, -1) {
			if !slices.Contains(allowed, string(name)) {
				t.Errorf("%s uses %s", file, name)
			}
		}
	}
}
