package shell

import (
	"strings"
	"testing"
)

// TestScripts checks the output of shell scripts.
func TestScripts(t *testing.T) {
	for _, test := range []struct {
		name, script, stdout, stderr string
		exit                         int
	}{
		{"words", `echo a  b "c  d" 'e  f' g\ h`, "a b c  d e  f g h\n", "", 0},
		{"exit", `exit 3`, "", "", 3},
		{"status", `false; echo $?; (exit 7); echo $?`, "1\n7\n", "", 0},
		{"and or", `true && echo yes || echo no; false && echo yes || echo no`, "yes\nno\n", "", 0},
		{"pipe", `cat /data/a.txt | grep t | wc -l`, "2\n", "", 0},
		{"long pipe", `echo x | cat | cat | cat | cat | cat | tr x y`, "y\n", "", 0},
		{"pipe stderr", `ls /nope |& cat`, "ls: /nope: No such file or directory\n", "", 0},
		{"pipefail", `set -o pipefail; false | true`, "", "", 1},
		{"redirects", `echo hi > /tmp/x; echo there >> /tmp/x; cat < /tmp/x; ls /nope 2>/dev/null`, "hi\nthere\n", "",
			1},
		{"both redirected", `{ echo out; echo err >&2; } > /tmp/o 2>&1; cat /tmp/o`, "out\nerr\n", "", 0},
		{"no such input", `cat < /nope`, "", "sh: can't open /nope: No such file or directory\n", 1},
		{"no such directory for output", `echo > /nope/x`, "", "sh: can't create /nope/x: No such file or directory\n",
			1},
		{"here document", "cat <<EOF\na $((1+2)) $COLOUR\nEOF", "a 3 blue\n", "", 0},
		{"quoted here document", "cat <<'EOF'\na $x `y`\nEOF", "a $x `y`\n", "", 0},
		{"here string", `cat <<< "a b"`, "a b\n", "", 0},
		{"substitution", `echo "<$(echo a; echo b)>" $(< /etc/motd)`, "<a\nb> hello\n", "", 0},
		{"backquotes", "echo `echo a`", "a\n", "", 0},
		{"glob", `cd /data; echo *.txt; echo /data/?.txt; echo *.none; echo \*`,
			"a.txt b.txt\n/data/a.txt /data/b.txt\n*.none\n*\n", "", 0},
		{"glob without PWD", `cd /data; unset PWD; echo *; PWD=; echo *.txt`,
			"a.txt b.txt\na.txt b.txt\n", "", 0},
		{"glob with a wrong PWD", `cd /data; PWD=/etc; echo *; PWD=nope; echo *.txt $PWD`,
			"a.txt b.txt\na.txt b.txt nope\n", "", 0},
		{"glob in a removed directory", `mkdir /tmp/d; cd /tmp/d; rm -r /tmp/d; echo * ./*`, "* ./*\n", "", 0},
		{"empty file name", `cd /data; [ -e "" ] || echo none; rm -rf ""; ls; ls ""; mkdir -p ""; cp a.txt ""; cd ` +
			`"" && pwd`,
			"none\na.txt\nb.txt\n/data\n", "ls: : No such file or directory\n" +
				"mkdir: can't create directory '': No such file or directory\n" +
				"cp: can't copy 'a.txt': No such file or directory\n", 0},
		{"copy of the root", `cp -r / /data/x; cp -r /data /tmp; ls /tmp/data`, "a.txt\nb.txt\n",
			"cp: can't copy '/': cannot copy a file or directory to itself\n", 0},
		{"functions", `f() { echo "$1-$#"; return 4; }; f a b; echo $?`, "a-2\n4\n", "", 0},
		{"a function in the place of a builtin",
			`echo() { printf '<%s>\n' "$1"; }; echo a; command echo b; unset -f echo; echo c`, "<a>\nb\nc\n", "", 0},
		{"a function that is called cd", `cd() { command cd "$@" && pwd; }; cd /data`, "/data\n", "", 0},
		{"local", `x=1; f() { local x=2; echo $x; }; f; echo $x`, "2\n1\n", "", 0},
		{"loops", `for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done; i=0; ` +
			`while [ $i -lt 2 ]; do i=$((i+1)); echo $i; done; until true; do :; done`, "1\n3\n1\n2\n", "", 0},
		{"case", `case abc in a*) echo yes;; *) echo no;; esac; case '*' in \*) echo star;; esac`, "yes\nstar\n", "",
			0},
		{"if", `if [ -f /etc/motd ] && [ ! -d /etc/motd ]; then echo file; elif true; then echo no; fi`, "file\n", "",
			0},
		{"test", `[ -t 0 ] || echo no; test -O /etc/motd && echo mine; ` +
			`[ "$x" = -t ] || echo differs; [ -x /bin/ls ] && echo runs; [ ! -e /nope -a 1 -lt 2 ]`,
			"no\nmine\ndiffers\nruns\n", "", 0},
		{"bash test", `[[ abc == a* && -d /data && ! -t 1 ]] && echo yes; ` +
			`[[ a.c =~ ^a\.c$ ]] && echo dot; [[ abc =~ ^a\.c$ ]] || echo none; ` +
			`[[ -O /etc/motd && -G /etc/motd ]] && echo mine`, "yes\ndot\nnone\nmine\n", "", 0},
		{"parameters", `set -- a "b c" d; echo $# $2; shift; echo "$@"; echo "${1%c}" ${9:-none} ${#2} ${x:=y}$x`,
			"3 b c\nb c d\nb  none 1 yy\n", "", 0},
		{"patterns", `x=a/b/c.txt; echo ${x##*/} ${x%%/*} ${x%.txt} ${x#a/} ${x//b/Q}`,
			"c.txt a a/b/c b/c.txt a/Q/c.txt\n", "", 0},
		{"patterns of variables",
			`p='a*'; q=b; x=abc; echo ${x%$q*} ${x%"$q"*} ${x#a} ${x/$q/-}; ` +
				`case $x in $p) echo glob;; esac; case $x in "$p") echo no;; esac; ` +
				`[[ $x == $p && $x != "$p" ]] && echo yes; y=^a.c$; ` +
				`[[ $x =~ $y && $x =~ "^"a'bc' ]] && echo matches; [[ a =~ '(' ]]; echo $?`,
			"a a bc a-c\nglob\nyes\nmatches\n2\n",
			"sh: bad regex '(': Invalid regexp\n", 0},
		{"backslashes in assignments", `x=a\ b; echo "$x"; y=it\'s; echo "$y"; z=\~root; echo $z`, "a b\nit's\n~root\n",
			"", 0},
		{"tilde", `echo ~ ~/x ~root ~root/y ~nobody ~nosuch a~b; x=~/z; echo $x`,
			"/root /root/x /root /root/y ~nobody ~nosuch a~b\n/root/z\n", "", 0},
		{"braces", `echo {1..3} {a,b}c {a,~root}`, "1 2 3 ac bc a ~root\n", "", 0},
		{"arithmetic", `x=3; echo $((x*2+1)) $((x>2)) $((x++)) $x; ((x==4)) && echo four`,
			"7 1 3 4\nfour\n", "", 0},
		{"export", `A=1; export A; export B=2 C; sh -c 'echo $A $B $C.'; export "D=a b"; ` +
			`sh -c 'echo $D'; env | grep -c ^A=`, "1 2 .\na b\n1\n", "", 0},
		{"readonly", `readonly R=1; R=2; echo $R`, "1\n",
			"sh: R: readonly variable\n", 0},
		{"for one command", `X=1 sh -c 'echo $X'; echo ".$X"`, "1\n.\n", "", 0},
		{"eval", `x='echo a | tr a b'; eval "$x"; eval 'y=5' ; echo $y; eval 'f() { echo f; }'; f; ` +
			`for i in 1 2; do eval break; done; echo $i`, "b\n5\nf\n1\n", "", 0},
		{"eval that exits", `eval 'exit 5'; echo no`, "", "", 5},
		{"source", `echo 'x=7; echo "in $1" | cat; return 3' > /tmp/s; . /tmp/s p; echo $? $x; cd /tmp; . ./s`,
			"in p\n3 7\nin \n", "", 3},
		{"parameters of source",
			`echo 'echo $#; set -- c' > /tmp/s; set -- a b; . /tmp/s x; echo $1; . /tmp/s; echo $1`,
			"1\na\n2\nc\n", "", 0},
		{"source of nothing", `. /tmp/nope; echo no`, "no\n",
			"sh: .: can't open '/tmp/nope': No such file or directory\n", 0},
		{"trap", `trap 'echo bye | cat' EXIT INT; echo hi; exit 2`, "hi\nbye\n", "", 2},
		{"read", `printf 'a b c\nd\\n\n' | { read x y; echo "$x,$y"; read -r z; echo "$z"; read w || echo end; }`,
			"a,b c\nd\\n\nend\n", "", 0},
		{"read lines", `while IFS= read -r line; do echo "<$line>"; done < /data/a.txt`, "<one>\n<two>\n<three>\n", "",
			0},
		{"background", `{ sleep 0.01; echo a; } & wait; echo b; sleep 100 &`, "a\nb\n", "", 0},
		{"background status", `(exit 3) & wait $!; echo $?`, "3\n", "", 0},
		{"subshell", `x=1; (x=2; cd /tmp; echo $x $PWD); echo $x $PWD`, "2 /tmp\n1 /\n", "", 0},
		{"errexit", `set -e; false; echo no`, "", "", 1},
		{"nounset", `set -u; echo $nope; echo no`, "", "sh: nope: unbound variable\n", 1},
		{"xtrace", `set -x; echo a`, "a\n", "+ echo a\n", 0},
		{"nothing found", `nope; echo $?`, "127\n", "sh: nope: not found\n", 0},
		{"not executable", `/etc/motd; echo $?; /data; echo $?`, "126\n126\n",
			"sh: /etc/motd: Permission denied\nsh: /data: Permission denied\n", 0},
		{"syntax", `if`, "", "sh: line 1: syntax error: `if` must be followed by a statement list\n", 2},
		{"builtins", `type cd; type ls; type nope 2>&1; command -v ls; command -v cd; ` +
			`command -v nope; type if; f() { :; }; type f`,
			"cd is a shell builtin\nls is /bin/ls\nsh: nope: not found\n/bin/ls\ncd\nif is a shell keyword\n" +
				"f is a shell function\n", "", 0},
		{"cd", `cd /data && pwd; cd - ; cd; pwd; cd /nope; cd /etc/motd`, "/data\n/\n/root\n",
			"sh: cd: can't cd to /nope: No such file or directory\nsh: cd: can't cd to /etc/motd: Not a directory\n",
			2},
		{"exec", `exec > /tmp/out; echo hi; cat /tmp/out >&2; exec sh -c 'exit 6'; echo no`, "", "hi\n", 6},
		{"exec in a branch", `if true; then exec 2>&1; fi; echo err >&2`, "err\n", "", 0},
		{"interpreters of scripts", `for i in '! /bin/sh' '!/usr/bin/env  bash -e' '!ash' ` +
			`'!/bin/fish' '!/usr/bin/env zsh' '!/usr/bin/env' '!'; ` +
			`do printf '#%s\necho $0\n' "$i" > /tmp/x; chmod +x /tmp/x; /tmp/x 2>&1; done`,
			"/tmp/x\n/tmp/x\n/tmp/x\n" + strings.Repeat("sh: /tmp/x: not found\n", 4), "", 127},
		{"large files", `seq 1 100000 > /tmp/a; cd /tmp; cat a a a a a a a a a a a a a a a > x; wc x; tail -n 2 x; ` +
			`tail -n +1500000 x; tail -c 3 x; base64 -w 0 x | base64 -d | tail -n +1500000; ` +
			`seq 1 9 | tail -n +0 | tail -c +3 | tail -n 8 | base64 -w 5`,
			"  1500000   1500000   8833425 x\n99999\n100000\n100000\n00\n100000\nMgozC\njQKNQ\no2Cjc\nKOAo5\nCg==\n",
			"", 0},
		{"names", `echo $0; sh -c 'echo $0 $1' name one`, "sh\nname one\n", "", 0},
		{"missing builtins", `getopts a b; alias a=b; mapfile x; shopt -s extglob; pushd /`, "",
			"sh: getopts: not found\nsh: alias: not found\nsh: mapfile: not found\nsh: shopt: not found\nsh: " +
				"pushd: not found\n", 127},
		{"a pipe that is closed",
			`while true; do echo y; done | head -n 1; yes | head -n 1; cat /dev/zero | head -c 3 | wc -c`, "y\ny\n3\n",
			"", 0},
		{"links", `cd /tmp; ln -s /data/a.txt a; ln -s ../data d; ln a.none b; echo x > f; ln f g; echo y >> g; cat ` +
			`a | head -n 1; ` +
			`ls d; cat d/b.txt | wc -l; cat f; ls -l | sed 's/^total.*//; s/ *root.*:.. / /'; readlink a; readlink ` +
			`-f d/a.txt; ` +
			`readlink f; [ -L a ] && [ -f a ] && [ -d d ] && [ ! -L f ] && echo ok; find . -type l`,
			"one\na.txt\nb.txt\n3\nx\ny\n\nlrwxrwxrwx    1 a -> /data/a.txt\nlrwxrwxrwx    1 d -> ../data\n" +
				"-rw-r--r--    2 f\n-rw-r--r--    2 g\n/data/a.txt\n/data/a.txt\nok\n./a\n./d\n",
			"ln: a.none: No such file or directory\nreadlink: f: Invalid argument\n", 0},
		{"removed links", `cd /tmp; cp -r /data .; ln -s data d; ln -s nope n; rm d; ls data; cat n; echo new > n; ` +
			`cat nope; ` +
			`ln -s loop loop; cat loop; mv n m; readlink m; ln -sf a m; readlink m; ln -s data e; ln -sfn nope e; ` +
			`readlink e; ` +
			`rm -r data; ls`, "a.txt\nb.txt\nnew\nnope\na\nnope\ne\nloop\nm\nnope\n",
			"cat: can't open 'n': No such file or directory\ncat: can't open 'loop': Symbolic link loop\n", 0},
		{"copied links", `cd /tmp; mkdir s; ln -s ../data/x s/l; echo a > x; ln -s x y; cp y c; cp -P y p; cp -r s ` +
			`t; cp -a s u; ` +
			`readlink c; readlink p t/l u/l; cp x y; mkdir a; ln -s a/b/c z; ln -s /tmp/a in; mv a in/b; mkdir -p ` +
			`in/b; cp -r a in; ` +
			`cp -r a b; cp a/b/c b`,
			"x\n../data/x\n../data/x\n", "readlink: c: Invalid argument\ncp: can't copy 'x': cannot copy a file or " +
				"directory to " +
				"itself\nmv: can't rename 'a': Invalid argument\n" +
				"cp: can't copy 'a': cannot copy a file or directory to itself\n" +
				"cp: can't copy 'a/b/c': No such file or directory\n", 1},
		{"archived links", `cd /tmp; mkdir -p s/d; ln -s ../data s/l; ln -s /nope s/d/m; tar cf a.tar s; mkdir o; ` +
			`tar xf a.tar -C o; ` +
			`tar tf a.tar; readlink o/s/l o/s/d/m; tar xf a.tar -C o; find o -type l | wc -l`,
			"s/\ns/d/\ns/d/m\ns/l\n../data\n/nope\n2\n", "", 0},
		{"devices", `echo x > /dev/null; cat /dev/null; head -c 2 /dev/zero | base64; ` +
			`echo x > /dev/full; echo e > /dev/stderr`,
			"AAA=\n", "echo: write error: No space left on device\ne\n", 0},
		{"time", `date +%s > /tmp/t; cat /tmp/t`, "1772460300\n", "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := sh(t, newContainer(t), test.script)
			if want := (result{test.stdout, test.stderr, test.exit}); got != want {
				t.Errorf("%s\ngot  %+v\nwant %+v", test.script, got, want)
			}
		})
	}
}
