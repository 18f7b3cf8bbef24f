package shell

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// heap returns how many bytes of the Go heap are in use by objects and by the stacks of goroutines.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() + sample[1].Value.Uint64()
}

// mostGrowth is how many bytes the Go heap and stacks may grow while one script runs.
const mostGrowth = 64 << 20

// TestBombs runs scripts that would exhaust memory, stack or CPU if there were no limits. Each script must end by
// itself or when its context ends, and must use little memory.
func TestBombs(t *testing.T) {
	deep := strings.Repeat
	for _, test := range []struct {
		name, script string
		says         string // in stderr
		endless      bool   // the script ends only when its context ends
	}{
		{"recursion", `f() { f; }; f`, "nested too deeply", false},
		{"recursion with arguments", `f() { f "$@" a; }; f`, "nested too deeply", false},
		{"recursion in a substitution", `f() { echo $(f); }; f`, "nested too deeply", false},
		{"recursion in a subshell", `f() { (f); }; f`, "nested too deeply", false},
		{"recursion in eval", `f() { eval f; }; f`, "nested too deeply", false},
		{"recursion by a script", `echo 'sh /tmp/a' > /tmp/a; sh /tmp/a`, "nested too deeply", false},
		{"recursion by source", `echo '. /tmp/a' > /tmp/a; . /tmp/a`, "nested too deeply", false},
		{"recursion in a pipe", `f() { f | f; }; f`, "", false},
		{"recursion in a here document", "f() { f <<EOF\n$(f)\nEOF\n}; f", "", false},
		{"fork bomb", `f() { f & f & sleep 1000; }; f`, "can't fork", false},
		{"many in the background", `i=0; while [ $i -lt 300 ]; do sleep 1000 & i=$((i+1)); done`, "can't fork", false},
		{"long pipe", "true" + deep(" | true", 400), "can't fork", false},
		{"very long pipe", "true" + deep(" | true", 5000), "can't fork", false},
		{"loop", `while true; do :; done`, "", true},
		{"loop of assignments", `while ((1)); do x=1; done`, "", true},
		{"loop that is nothing", `while :; do continue; done`, "", true},
		{"loop in a pipe", `while :; do :; done | cat`, "", true},
		{"loop in a substitution", `x=$(while :; do :; done)`, "", true},
		{"loop in a trap", `trap 'while :; do :; done' EXIT`, "", true},
		{"parentheses", deep("(", 30000), "nested too deeply", false},
		{"substitutions", "echo " + deep("$(", 30000), "nested too deeply", false},
		{"backquotes", "echo " + deep("`\\", 20000), "", false},
		{"ifs", deep("if ", 20000), "nested too deeply", false},
		{"negations", "echo $((" + deep("!", 30000) + "1))", "nested too deeply", false},
		{"tests", "[[ " + deep("! ", 30000) + "a ]]", "nested too deeply", false},
		{"test arguments", "set -- " + deep("! ", 30000) + "; [ \"$@\" a ]", "", false},
		{"and", "true" + deep(" && true", 6000), "nested too deeply", false},
		{"defaults", "x=${a:-" + deep("${a:-", 10000), "nested too deeply", false},
		{"braces", `echo {1..1000000000}`, "braces", false},
		{"braces of braces", `echo {1..100}{1..100}{1..100}`, "braces", false},
		{"many braces", "echo" + deep(" {1..4000}", 3000), "braces", false},
		{"long braces", "echo {1..4000}" + deep("x", 40000), "braces", false},
		{"doubling", `x=aaaaaaaa; while :; do x=$x$x; done`, "out of memory", false},
		{"doubling without a command", "x=aaaaaaaa\n" + deep("x=$x$x\n", 64), "out of memory", false},
		{"doubling by arithmetic loops", `x=aaaa; while ((1)); do x="$x$x"; done`, "out of memory", false},
		{"doubling by tests", `x=aaaa; while [[ 1 ]]; do x="$x$x"; done`, "out of memory", false},
		{"doubling by +=", `x=aaaa; while :; do x+=$x; done`, "out of memory", false},
		{"doubling by defaults", `x=aaaa; while [[ ${y:=$x$x} ]]; do x=$y; unset y; done`, "out of memory", false},
		{"doubling by defaults at once",
			`x=` + deep("a", 10000) + `; : ${a:=$x$x$x$x} ${b:=$a$a$a$a} ${c:=$b$b$b$b} ${d:=$c$c$c$c}`,
			"out of memory", false},
		{"doubling by parameters", `set -- a b c d; while set -- "$@" "$@"; do :; done`, "out of memory",
			false},
		{"doubling by functions", `f() { f "$1$1"; }; f aaaaaaaa`, "Argument list too long", false},
		{"doubling by export", `x=aaaa; while :; do export "x=$x$x"; done`, "out of memory", false},
		{"doubling by read", `x=aaaa; while :; do read x <<< "$x$x"; done`, "out of memory", false},
		{"doubling in the environment",
			`while :; do export A$((i=i+1))=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done`, "out of memory",
			false},
		{"doubling in a for", `x=aaaaaa; ` +
			`for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; ` +
			`do x=$x$x; done`, "out of memory", false},
		{"many variables", `while :; do eval "x$((i=i+1))=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"; done`,
			"out of memory", false},
		{"replacement", `x=` + deep("a", 60000) + `; y=${x//a/$x}; echo ${#y}`, "out of memory", false},
		{"long replacement", `x=` + deep("a", 30000) + `; while :; do x=${x//a/aaaaaaaaaaaaaaaa}; done`,
			"out of memory", false},
		{"many expansions", `x=` + deep("a", 30000) + `; y="` + deep("$x", 10000) + `"`, "out of memory", false},
		{"many fields", `x=$(seq 1 10000); y=` + deep("a", 10) + `; echo` + deep(" $x", 32) + ` | wc -c`,
			"out of memory", false},
		{"printf", `printf '%1000000000d' 1; printf '%.1000000000d' 1; printf '%*d' 1000000000 1`, "invalid format",
			false},
		{"captured sequence", `x=$(seq 1 1000000000000)`, "out of memory", false},
		{"captured builtins", `x=$(while :; do type cd; done)`, "out of memory", false},
		{"captured zeros", `x=$(cat /dev/zero)`, "out of memory", false},
		{"captured file", `x=$(< /dev/zero)`, "out of memory", false},
		{"endless line", `read x < /dev/zero`, "out of memory", false},
		{"endless input", `cat /dev/zero | tail; cat /dev/zero | sort; cat /dev/zero | grep a; ` +
			`sed p /dev/zero; cut -c 1 /dev/zero; xargs < /dev/zero; uniq /dev/zero; ` +
			`head -n 1 /dev/zero | wc -c`, "out of memory", false},
		{"endless line of a command", `grep a /dev/zero; cut -c 1 /dev/zero; head -n 1 /dev/zero`, "too long", false},
		{"endless lines", `yes | tail | head -n 1 > /tmp/x`, "", true},
		{"many empty lines", `head -c 8000000 /dev/zero | tr '\0' '\n' > /tmp/x; tail -n 7000000 /tmp/x; sort /tmp/x`,
			"out of memory", false},
		{"many sorted files", `head -c 7000000 /dev/zero > /tmp/x; sort` + deep(" /tmp/x", 50), "too long", false},
		{"functions", `while :; do eval "f$((i=i+1))() { :; }"; done`, "out of memory", false},
		{"many groups", `head -c 250000 /dev/zero | tr '\0' a > /tmp/x; sed -E 's/` + deep("()", 450) + `/b/g' /tmp/x`,
			"", false},
		{"long sed", `head -c 250000 /dev/zero | tr '\0' a > /tmp/x; sed 's/.*/` + deep("&", 3000) +
			`/' /tmp/x | wc -c >&2`, "250000", false},
		{"long functions", "while :; do eval \"f$((i=i+1))() { cat <<E; }\n" + deep("x", 5000) + "\nE\n\"; done",
			"out of memory", false},
		{"endless sort", `yes | sort > /tmp/x`, "out of memory", false},
		{"open files that are removed", `f() { [ $1 = 0 ] && return; head -c 30000000 /dev/zero > /tmp/x; ` +
			`{ rm /tmp/x; f $(($1-1)); } < /tmp/x; }; f 30`, "No space left on device", false},
		{"open files in the background", `i=0; while [ $i -lt 25 ]; do i=$((i+1)); ` +
			`head -c 30000000 /dev/zero > /tmp/x; { sleep 3; } < /tmp/x & rm /tmp/x; done`,
			"No space left on device", false},
		{"files that are replaced", `f() { [ $1 = 0 ] && return; head -c 30000000 /dev/zero > /tmp/x; : > /tmp/y; ` +
			`{ mv /tmp/y /tmp/x; f $(($1-1)); } < /tmp/x; }; f 30`, "No space left on device", false},
		{"files of exec", `while :; do exec < /etc/motd; exec > /tmp/x; done`, "", true},
		{"here-documents in functions", "x=$(head -c 60000 /dev/zero | tr '\\0' x); f() { f <<E\n$x$x$x\nE\n}; f",
			"out of memory", false},
		{"parameters in functions", `x=$(seq 1 10000); f() { set -- $x; f; }; f`, "out of memory", false},
		{"parameters in functions with scripts",
			`echo 'set --' > /tmp/s; x=$(seq 1 10000); f() { set -- $x; . /tmp/s a; f; }; f`, "out of memory", false},
		{"locals in functions", `x=$(head -c 50000 /dev/zero | tr '\0' x); f() { local x=$x$1; f $1; }; f`,
			"out of memory", false},
		{"scripts in functions", `x=$(yes : | head -n 15000 | tr '\n' ';'); f() { eval "$x f"; }; f`,
			"out of memory", false},
		{"large words", `yes '{}' | head -n 20000 | tr -d '\n' > /tmp/x; ` +
			`yes y | head -c 100000 | tr -d '\n' | xargs -I {} echo $(cat /tmp/x)`, "Argument list too long", false},
		{"large numbers", `printf "$(yes %999d | head -n 10000)" > /dev/null`, "", false},
		{"large translation", `tr "$(yes '\0-\377' | head -n 8000 | tr -d '\n')" x < /etc/motd`, "", false},
		{"repeated expressions", `grep -E "$(yes 'a{1000}' | head -n 3000 | tr -d '\n')" /etc/motd`, "bad regex",
			false},
		{"jobs", `while :; do : & wait; done`, "", true},
		{"endless output", `yes > /dev/null`, "", true},
		{"endless file", `yes > /tmp/x; ls /tmp; cat /dev/zero > /tmp/y`, "No space left on device", false},
		{"many files", `i=0; while [ $i -lt 12000 ]; do i=$((i+1)); : > /tmp/$i; done 2> /dev/null; ` +
			`ls /tmp | wc -l | grep 999 >&2`, "999", false},
		{"globs", `mkdir /tmp/d; cd /tmp/d; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); mkdir $i; ` +
			`done; echo */../*/../* > /dev/null`, "out of memory", false},
		{"globs of root", `x='/*/..'; echo $x$x$x$x$x$x$x$x$x$x/* > /dev/null`, "out of memory", false},
		{"globstar", `set -o nope; echo /**/**/**/**/**/**/** > /dev/null`, "", false},
		{"case that continues", `case a in a) echo 1;& b) echo 2;; esac`, "not supported", false},
		{"select", `select x in a b; do echo $x; done`, "not supported", false},
		{"regular expressions", `echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | grep -E '((((a+)+)+)+)+b'; ` +
			`echo | grep -E 'a{1000}{1000}{1000}'; [[ a =~ (((a{100}){100}){100}) ]]`, "", false},
		{"panic", `echo $((a[1]++)); ((a[0]=1))`, "bad variable name", false},
		{"long names", `mkdir ` + deep("a", 300) + `; mkdir -p ` + deep("a/", 600), "File name too long", false},
		{"very long names", `while [ $((i=i+1)) -lt 50 ]; do mkdir -p ` + deep("a/", 20000) + `; done`,
			"File name too long", false},
		{"deep trees", `mkdir -p ` + deep("a/", 400) + `; for i in 1 2 3; do mkdir -p b/` + deep("c/", 100) +
			`; mv a b/` + deep("c/", 100) + `; mv b a; done`, "mv: can't rename 'a': File name too long", false},
		{"links to deep directories", `d=/tmp; for i in 1 2 3; do mkdir -p $d/` + deep("d/", 300) + `; ln -s $d/` +
			deep("d/", 300) + ` /tmp/l$i; d=/tmp/l$i; done`, "File name too long", false},
		{"subshells", deep("( ", 900) + "true" + deep(" )", 900), "", false},
		{"archives", `dd if=/dev/zero; tar cf - / | tar xf - -C /tmp; tar cf /tmp/t.tar /tmp; ` +
			`base64 /dev/zero > /tmp/z; sha256sum /dev/null`, "No space left on device", false},
		{"endless digest", `sha256sum /dev/zero`, "", true},
		{"endless count", `wc /dev/zero; wc < /dev/zero; cat /dev/zero | wc`, "", true},
		{"endless translation", `tr a b < /dev/zero | sha256sum`, "", true},
		{"endless search", `tail -n +5 /dev/zero; tail -c +100000000000 /dev/zero`, "", true},
		{"large regular expressions",
			`head -c 200000 /dev/zero | tr '\0' a > /tmp/x; for i in 1 2; ` +
				`do grep -E '(a?){900}(a?){900}b' /tmp/x; sed 's/a*a*a*a*a*a*b/c/' /tmp/x; done | wc -c`, "", false},
		{"large pattern", `x=` + deep("a", 30000) + `; y=` + deep("*a", 15000) + `b; case $x in $y) ;; esac`,
			"pattern is too long", false},
		{"large pattern to remove", `x=` + deep("a", 30000) + `; y=` + deep("*a", 15000) + `b; echo ${x#$y}`,
			"out of memory", false},
		{"large quoted pattern", `x=` + deep("a", 30000) + `; y=` + deep("*a", 15000) + `b; [[ $x == "$y"* ]]`,
			"pattern is too long", false},
		{"large pattern that is written", `x=` + deep("a", 30000) + `; echo ${x%` + deep("*a", 15000) + `}`,
			"pattern is too long", false},
		{"many patterns", `x=` + deep("a", 30000) + `; y=` + deep("*a", 100) + `; echo ${x%` + deep("$y", 10) + `}`,
			"out of memory", false},
		{"large regular expression",
			`x=` + deep("a", 30000) + `; [[ $x =~ (a?){1000}(a?){1000}(a?){1000}b ]]; echo $? >&2`, "2\n", false},
		{"large glob", `cd /tmp; i=0; while [ $i -lt 500 ]; do i=$((i+1)); : > ` + deep("a", 240) + `$i; done; x=` +
			deep("*a", 15000) + `; echo ${x}b ${x}c ${x}d`, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			grown := growth()
			limit := 60 * time.Second
			if test.endless {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			stderr := &buffer{left: 1 << 20, full: func() {}}
			begin := time.Now()
			c := newContainer(t)
			defer checkMemory(t, c)
			_, err := c.Run(ctx, []string{"sh", "-c", test.script},
				Streams{Stdout: io.Discard, Stderr: stderr})
			took := time.Since(begin)
			memory := grown()
			if (err != nil) != test.endless {
				t.Errorf("error %v after %v; stderr %.200q", err, took, stderr.String())
			}
			if test.endless && took > limit+time.Minute {
				t.Errorf("it continued for %v after the end of its context", took-limit)
			}
			if !strings.Contains(stderr.String(), test.says) {
				t.Errorf("stderr %.300q has no %q", stderr.String(), test.says)
			}
			if memory > mostGrowth {
				t.Errorf("took %d MiB", memory>>20)
			}
			t.Logf("%v, %d MiB: %.100s", took.Round(time.Millisecond), memory>>20,
				strings.TrimSpace(stderr.String()))
		})
	}
}

// growth starts to measure memory. The returned function stops the measurement. It returns the largest growth of memory
// since the start, in bytes. So that little garbage counts, the garbage collector works harder during the measurement
// while the process uses half of mostGrowth, or more.
func growth() func() int64 {
	debug.FreeOSMemory()
	before, peak := heap(), uint64(0)
	mapped := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(mapped)
	limit := debug.SetMemoryLimit(int64(mapped[0].Value.Uint64()-mapped[1].Value.Uint64()) + mostGrowth/2)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				peak = max(peak, heap())
			case <-stop:
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-stopped
		debug.SetMemoryLimit(limit)
		return int64(peak) - int64(before)
	}
}

// checkMemory checks that no command runs, no file is open, and only files take memory.
func checkMemory(t *testing.T, c *container) {
	t.Helper()
	c.files.lock.Lock()
	defer c.files.lock.Unlock()
	bytes, memory, names, seen := 0, 0, -1, map[*node]bool{} // the root has no name
	c.files.root.each("/", func(name string, n *node) {
		if n.handles != 0 {
			t.Errorf("%s is open", name)
		}
		names++
		if seen[n] {
			return
		}
		seen[n] = true
		names -= n.free
		bytes += n.counted
		if n.inode {
			memory += nodeMemory + len(n.target)
		}
	})
	memory += bytes + names*nameMemory
	if c.files.bytes != bytes || c.files.files != names {
		t.Errorf("%d bytes and %d names count, but the tree has %d and %d", c.files.bytes, c.files.files, bytes, names)
	}
	if used := c.memory.used.Load(); used != int64(memory) {
		t.Errorf("%d bytes of memory count, but the files have %d", used, memory)
	}
}

// TestMemoryOfSubshells checks that a background command gives back no memory that its shell still uses.
func TestMemoryOfSubshells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContainer(t)
		defer checkMemory(t, c)
		used := func(removed string) (bytes int64) {
			var run sync.WaitGroup
			run.Go(func() {
				got := sh(t, c, "f() { : "+strings.Repeat("x", 50000)+"; }; { "+removed+"sleep 2; } & wait; unset -f f")
				if got != (result{}) {
					t.Errorf("%+v", got)
				}
			})
			time.Sleep(time.Second)
			bytes = c.memory.used.Load()
			run.Wait()
			return bytes
		}
		if all, rest := used(""), used("unset -f f; "); rest < all {
			t.Errorf("%d bytes, but %d while the background command has removed its function", all, rest)
		}
	})
}

// TestMemoryOfInputs checks that a command releases the memory of an input when the next one begins.
func TestMemoryOfInputs(t *testing.T) {
	c := newContainer(t)
	got := sh(t, c, `head -c 200000 /dev/zero | tr '\0' a > /tmp/x; `+
		`x='/tmp/x /tmp/x /tmp/x /tmp/x /tmp/x /tmp/x /tmp/x'; `+
		`grep -c b $x $x | sort -u | head -n 1; i=0; while [ $((i=i+1)) -lt 2000 ]; do : > /data/$i; done; `+
		`x='/data /data /data /data /data /data /data'; x="$x $x $x $x $x $x $x"; ls $x $x $x | grep -c a.txt`)
	if want := (result{stdout: "/tmp/x:0\n147\n", exit: 0}); got != want {
		t.Errorf("%+v", got)
	}
	checkMemory(t, c)
}

// TestMemoryOfLateOutput checks that no memory is kept for output that a background command writes after the $( ) that
// started it has ended.
func TestMemoryOfLateOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContainer(t)
		var out bytes.Buffer
		exit, err := c.Run(t.Context(), []string{"sh", "-c", `i=0; while [ $i -lt 350 ]; do i=$((i+1)); ` +
			`x=$( { sleep 0.01; head -c 60000 /dev/zero; } & ); sleep 0.5; done; echo end`},
			Streams{Stdout: &out, Stderr: &out})
		if exit != 0 || err != nil || out.String() != "end\n" {
			t.Errorf("exit code %d, %v, %q", exit, err, out.String())
		}
		checkMemory(t, c)
	})
}

// TestMemoryOfRemovedContainers checks that the files of a container stop counting towards the memory limit of the
// process when the container no longer exists.
func TestMemoryOfRemovedContainers(t *testing.T) {
	before := memoryOfProcess.used.Load()
	sh(t, newContainer(t), "head -c 20000000 /dev/zero > /tmp/x")
	for memoryOfProcess.used.Load() >= before+20_000_000 { // until the garbage collector has found the container
		runtime.GC()
		runtime.Gosched()
	}
}

// TestFilesLeaveMemoryForCommands checks that commands still run, and can remove files, when the files of all
// containers use as much memory as they may.
func TestFilesLeaveMemoryForCommands(t *testing.T) {
	other, c := newContainer(t), newContainer(t)
	rest := processFiles - int(filesOfProcess.used.Load()) - 1<<20
	for _, account := range []*account{memoryOfProcess, filesOfProcess} { // as the files of other containers would
		if err := account.take(rest); err != nil {
			t.Fatal(err)
		}
		defer account.give(rest)
	}
	sh(t, other, "head -c 500000 /dev/zero > /tmp/x")
	got := sh(t, c, `head -c 1000000 /dev/zero > /tmp/x; seq 1 100000 | sort -n | tail -n 1; rm /tmp/x; echo $?`)
	want := result{stdout: "100000\n0\n",
		stderr: "head: write error: No space left on device: the files of all containers use more than 384 MiB\n"}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestNothingAfterTheEnd checks that background commands write nothing after Run has returned.
func TestNothingAfterTheEnd(t *testing.T) {
	for range 20 {
		var stderr bytes.Buffer
		if _, err := newContainer(t).Run(t.Context(),
			[]string{"sh", "-c", `i=0; while [ $i -lt 150 ]; do sleep 1000 & i=$((i+1)); done`},
			Streams{Stderr: &stderr}); err != nil {
			t.Fatal(err)
		}
		// If a Write were still running here, the race detector would report it.
		stderr.Reset()
		runtime.Gosched()
		if stderr.Len() > 0 {
			t.Fatalf("written after the end: %.200q", stderr.String())
		}
	}
}

// TestConcurrentReads checks, with the race detector, that subshells can read a file while its mode changes.
func TestConcurrentReads(t *testing.T) {
	got := sh(t, newContainer(t), `seq 1 2000 > /tmp/f
for i in 1 2 3; do
	{ while read x; do :; done < /tmp/f; cat /dev/random | head -c 1000 > /dev/null; } & chmod 600 /tmp/f
done
{ cat & cat & cat & wait; } < /tmp/f > /dev/null; wait`)
	if got != (result{}) {
		t.Errorf("%+v", got)
	}
}

// TestRemovedFilesFreeSpace checks that removed files no longer count towards the quota.
func TestRemovedFilesFreeSpace(t *testing.T) {
	c := newContainer(t)
	for i := range 2 { // the second run fails if the first one has not freed its space
		got := sh(t, c, `head -c 20000000 /dev/zero > /tmp/x && cp /tmp/x /tmp/y; `+
			`rm -rf /tmp/x /tmp/y; mkdir -p /tmp/a/b/c; echo x > /tmp/a/b/c/d; rm -r /tmp/a; `+
			`echo a > /tmp/x; echo b > /tmp/y; mv /tmp/x /tmp/y; rm /tmp/y; ls /tmp`)
		if want := (result{stderr: "cp: can't copy '/tmp/x': No space left on device: the container's " +
			"file system has 32 MiB\n"}); got != want {
			t.Errorf("%d: %+v", i, got)
		}
	}
	c.files.lock.Lock()
	defer c.files.lock.Unlock()
	given := len("hello\n") + len("one\ntwo\nthree\n") + len("1\n2\n3\n")
	if c.files.bytes != given || c.files.files != 4 {
		t.Errorf("%d bytes and %d files are left", c.files.bytes, c.files.files)
	}
}
