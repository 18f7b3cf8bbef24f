package shell

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// FuzzRun runs scripts. No script may end the process, see the host, or continue after its context.
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
