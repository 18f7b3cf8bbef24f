package shell

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// FuzzRun runs scripts. A script must not end the process, must not see anything of the host, and must not continue
// after its context has ended.
func FuzzRun(f *testing.F) {
	for _, seed := range []string{
		"", "echo a | cat", "f() { f; }; f", "x=$(ls /); echo ${x##*/}", "cat <<E\n$x\nE",
		"for i in {1..9}; do echo $((i*2)); done", ":(){ :|:& };:",
		"while read x; do echo $x; done < /etc/passwd", "[[ a =~ (b) ]] || test -t 0", "trap 'echo a' EXIT; exit 3",
		"eval 'a=(1 2 3); echo ${a[@]:1}'",
		"printf '%5d|%-*s\\n' 1 2 3", "sed 's/a/b/g;$d' /etc/motd | grep -E '^(a|b)*$' | sort | uniq -c | cut " +
			"-c1-3 | tr a b", "tar cf - /etc | tar tf -",
		"export \"a=~root\" b=${c:=d}; readonly e; set -- \"$@\" x; shift; getopts a: o -a b",
		"case $x in a|b) ;; *) echo ~ ~root \\~;; esac", "cat <(echo) >(cat)",
		"echo ${!x} ${x@Q} ${x:1:2} ${x//a/b} ${#x} $((x[1]++)) ${x^^}", "exec 2>&1 < /dev/zero; head -c 3",
		"((a=1)); let b=a; [ $b -eq 1 ]; ! true &", "cd /tmp; > a; . ./a; rm *",
		"unset 'a[1]'; local x; declare y; command -v z; type f; read -n 2 q <<< ab",
		"date +%s; ls -laR /; find / -name '*o*'; df; ps; kill 1; xargs -n1 echo < /etc/hosts",
	} {
		f.Add(seed)
	}
	f.Setenv("FAUXLET_HOST", "host-secret")
	f.Fuzz(func(t *testing.T, script string) {
		if strings.Contains(script, "host-secret") {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		out := &buffer{left: 1 << 20, full: func() {}}
		// If Run does not return, the panic reports the script.
		watch := time.AfterFunc(time.Minute, func() { panic(fmt.Sprintf("%q goes on", script)) })
		defer watch.Stop()
		_, err := newContainer(t).Run(ctx, []string{"sh", "-c", script},
			Streams{Stdin: strings.NewReader("line\n"), Stdout: out, Stderr: io.Discard})
		if err != nil && err != context.DeadlineExceeded {
			t.Error(err)
		}
		if strings.Contains(out.String(), "host-secret") {
			t.Errorf("the script saw the host: %q", out.String())
		}
	})
}

// FuzzMemory runs generated scripts. While a script runs, it must not take more memory than mostGrowth. After it has
// ended, only its files may still take memory.
func FuzzMemory(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		script := (&generator{rand.New(rand.NewPCG(seed, 0))}).list(4)
		c := newContainer(t)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		grown := growth()
		_, err := c.Run(ctx, []string{"sh", "-c", script}, Streams{Stdin: strings.NewReader("line\n"),
			Stdout: io.Discard,
			Stderr: io.Discard})
		if memory := grown(); memory > mostGrowth {
			t.Errorf("took %d MiB: %s", memory>>20, script)
		}
		if err != nil && err != context.DeadlineExceeded {
			t.Error(err)
		}
		checkMemory(t, c)
	})
}

// generator makes scripts that use much memory.
type generator struct{ *rand.Rand }

func (g *generator) choose(from ...string) string { return from[g.IntN(len(from))] }

func (g *generator) file() string {
	return g.choose("/tmp/a", "/tmp/b", "/tmp/c", "/etc/motd", "/dev/zero")
}

// list returns some commands, with other commands in them up to the given depth.
func (g *generator) list(depth int) string {
	var script strings.Builder
	for range 1 + g.IntN(4) {
		script.WriteString(g.command(depth) + "\n")
	}
	return script.String()
}

func (g *generator) command(depth int) string {
	if depth == 0 {
		return g.choose("tail -c 9000000", "tail -n 100000", "sort", "cat", "tee /tmp/a /tmp/b", "xargs echo",
			"sed 's/x/&&&/g'",
			"sed -i 's/x/y/' /tmp/a", "tr x y", "cut -d x -f 1-", "uniq", "grep -o x", "base64", "yes", "yes $x",
			"seq 1 100000",
			"set -- $x $x", `x="$x$x$x"`, "x=$(cat)", "x=$(seq 1 8000)", "y=${x//1/$y}", "read x", "wait", "sleep 0.01",
			"tar cf - /tmp", "tar xf - -C /tmp", "ls -lR /", "find /", "cp -r /tmp /var", "rm -r /tmp/a",
			"mv /tmp/a /tmp/b",
			`printf "$x"`, `eval "$x"`, "echo {1..2000}$x", "echo /*/*/*", "exec < /tmp/a", "f $x", "local z=$x",
			"head -c "+strconv.Itoa(g.IntN(40_000_000))+" /dev/zero > "+g.file())
	}
	one, other := g.command(depth-1), g.command(depth-1)
	switch g.IntN(10) {
	case 0:
		return one + " | " + other
	case 1:
		return "{ " + g.list(depth-1) + "} < " + g.file()
	case 2:
		return "{ " + g.list(depth-1) + "} > " + g.file()
	case 3:
		return "{ " + g.list(depth-1) + "} &"
	case 4:
		return "x=$(" + g.list(depth-1) + ")"
	case 5:
		return "f() {\n" + g.list(depth-1) + g.choose("f $x\n", "(f)\n", "") + "}; f"
	case 6:
		return "for i in 1 2 3 $x; do\n" + g.list(depth-1) + "done"
	case 7:
		return one + " <<E\n$x$x\nE"
	case 8:
		return "{ " + g.list(depth-1) + "rm -f /tmp/a /tmp/b\n" + other + "\n} < /tmp/a"
	default:
		return "(" + g.list(depth-1) + ")"
	}
}

// FuzzExpression checks that no regular expression of grep or sed causes a panic.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{"a", `\(a\)\{2\}`, "[[:digit:]]*", "^*a$", `[]a]`, `a\|b`, "(", "[", `\`} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, pattern string, extended bool) {
		if re, err := expression(pattern, extended, "s"); err == nil {
			re.MatchString("abc123")
		}
	})
}
