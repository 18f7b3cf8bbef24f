package shell

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// walk is like filesystem.walk, but the argument "root" may be a relative path. The names that are passed to the
// function "do" begin with this path as the user wrote it.
func (p *process) walk(root string, do func(name string, info fileInfo, err error) bool) {
	base := p.path(root)
	p.container.files.walk(base, func(at string, info fileInfo, err error) bool {
		name := root
		if at != base {
			name = strings.TrimSuffix(root, "/") + "/" + strings.TrimPrefix(strings.TrimPrefix(at, base), "/")
		}
		return do(name, info, err)
	})
}

func list(p *process) int {
	names := p.operands
	if len(names) == 0 {
		names = []string{"."}
	}
	var files, dirs []fileInfo
	for _, name := range names {
		info, err := p.lstat(name)
		// ls follows links in its arguments, unless it prints details.
		if followed, errFollowed := p.stat(name); errFollowed == nil && !p.options.has('l') && !p.options.has('d') {
			info = followed
		}
		if info.name = name; err != nil {
			p.fail("%s: %v", name, err)
		} else if info.IsDir() && !p.options.has('d') {
			dirs = append(dirs, info)
		} else {
			files = append(files, info)
		}
	}
	p.listEntries(files)
	for i, dir := range dirs {
		if i > 0 || len(files) > 0 {
			p.print("\n")
		}
		p.listDirectory(dir.name, len(names) > 1 || p.options.has('R'))
	}
	return 0
}

func (p *process) listDirectory(name string, header bool) {
	entries, err := p.container.files.readDir(p.path(name))
	if err != nil {
		p.fail("can't open '%s': %v", name, err)
		return
	}
	before := p.held
	if !p.take(entryMemory * len(entries)) {
		return
	}
	defer p.giveBack(before)
	if header {
		p.print(name + ":\n")
	}
	entries = slices.DeleteFunc(entries, func(e fileInfo) bool {
		return strings.HasPrefix(e.name, ".") && !p.options.has('a') && !p.options.has('A')
	})
	if p.options.has('t') {
		slices.SortStableFunc(entries, func(a, b fileInfo) int { return b.modTime.Compare(a.modTime) })
	}
	if p.options.has('r') {
		slices.Reverse(entries)
	}
	if p.options.has('a') {
		for _, dots := range []string{"..", "."} {
			if info, err := p.stat(name + "/" + dots); err == nil {
				info.name = dots
				entries = slices.Insert(entries, 0, info)
			}
		}
	}
	if p.options.has('l') {
		p.printf("total %d\n", 4*len(entries))
	}
	p.listEntries(entries)
	for _, entry := range entries {
		if p.options.has('R') && entry.IsDir() && entry.name != "." && entry.name != ".." {
			p.print("\n")
			p.listDirectory(strings.TrimSuffix(name, "/")+"/"+entry.name, true)
		}
	}
}

func (p *process) listEntries(entries []fileInfo) {
	for _, e := range entries {
		if !p.options.has('l') {
			p.print(e.name + "\n")
			continue
		}
		at, layout := e.modTime.UTC(), "Jan _2 15:04"
		if age := p.container.now().Sub(at); age > 182*24*time.Hour || age < -time.Hour {
			layout = "Jan _2  2006"
		}
		name := e.name
		if e.target != "" {
			name += " -> " + e.target
		}
		p.printf("%s %4d %-8.8s %-8.8s %9d %s %s\n", modeString(e.mode), e.names+oneIf(e.IsDir()), userName(e.uid),
			groupName(e.gid), e.size, at.Format(layout), name)
	}
}

// modeString formats a mode as in the output of `ls -l`.
func modeString(mode fs.FileMode) string {
	kind := "-"
	switch {
	case mode.IsDir():
		kind = "d"
	case mode&fs.ModeCharDevice != 0:
		kind = "c"
	case mode&fs.ModeSymlink != 0:
		kind = "l"
	}
	text := kind + mode.Perm().String()[1:]
	if mode&fs.ModeSticky != 0 {
		text = text[:9] + "t"
	}
	return text
}

func touch(p *process) int {
	return p.each("%s: %v", func(name string) error {
		err := p.container.files.alter(p.path(name), func(n *node) { n.modTime = p.container.now() })
		switch {
		case err == errNotExist && p.options.has('c'):
			return nil
		case err == errNotExist:
			var file io.Writer
			file, err = p.create(name, openAppend)
			handleOf(file).close()
		}
		return err
	})
}

func makeDirectory(p *process) int {
	mode := fs.FileMode(0o755)
	if text, found := p.options['m']; found {
		var err error
		if mode, err = changedMode(mode, text); err != nil {
			return p.fail("invalid mode '%s'", text)
		}
	}
	return p.each("can't create directory '%s': %v", func(name string) error {
		if p.options.has('p') {
			return p.container.files.mkdirAll(p.path(name), mode)
		}
		return p.container.files.mkdir(p.path(name), mode)
	})
}

func removeDirectory(p *process) int {
	return p.each("'%s': %v", func(name string) error {
		info, err := p.lstat(name)
		if err == nil && !info.IsDir() {
			err = errNotDirectory
		}
		if err == nil {
			err = p.container.files.remove(p.path(name), false)
		}
		return err
	})
}

// link implements ln.
func link(p *process) int {
	files := p.container.files
	if len(p.operands) == 1 {
		p.operands = append(p.operands, path.Base(p.path(p.operands[0])))
	}
	return p.eachTarget("%s: %v", func(name, target string) error {
		var old *node
		if !p.options.has('s') {
			info, err := p.lstat(name)
			if err != nil {
				return err
			}
			old = info.node
		}
		err := files.link(target, name, old)
		if err == errExist && p.options.has('f') {
			if info, _ := files.lstat(target); info.IsDir() || info.node == old {
				return err
			}
			if err = files.remove(target, false); err == nil {
				err = files.link(target, name, old)
			}
		}
		return err
	})
}

// readLink implements readlink. Without -f it prints the target of a link. With -f it follows all links in the path of
// an existing file, and prints the resulting path.
func readLink(p *process) int {
	return p.each("%s: %v", func(name string) error {
		info, err := p.lstat(name)
		switch {
		case p.options.has('f'):
			at, err := p.container.files.realPath(p.path(name))
			if err != nil {
				return err
			}
			p.print(at + "\n")
		case err != nil:
			return err
		case info.target == "":
			return errInvalid
		default:
			p.print(info.target + "\n")
		}
		return nil
	})
}

func removeFiles(p *process) int {
	all := p.options.has('r') || p.options.has('R')
	if p.options.has('f') && len(p.operands) == 0 {
		return 0
	}
	return p.each("can't remove '%s': %v", func(name string) error {
		info, err := p.lstat(name)
		switch {
		case err == errNotExist && p.options.has('f'):
			return nil
		case err != nil:
			return err
		case info.IsDir() && !all:
			return errIsDirectory
		}
		return p.container.files.remove(p.path(name), all)
	})
}

// eachTarget calls the function "do" for each source of cp or mv and its target. The target is the last operand or, if
// the last operand is a directory, a file in that directory.
func (p *process) eachTarget(format string, do func(name, target string) error) int {
	if len(p.operands) < 2 {
		return p.fail("missing file operand")
	}
	last := len(p.operands) - 1
	to := p.path(p.operands[last])
	p.operands = p.operands[:last]
	info, err := p.stat(to)
	isDir := err == nil && info.IsDir()
	if link, err := p.lstat(to); err == nil && link.target != "" && p.options.has('n') {
		isDir = false
	}
	if last > 1 && !isDir {
		return p.fail("target '%s' is not a directory", to)
	}
	return p.each(format, func(name string) error {
		if isDir {
			return do(name, path.Join(to, path.Base(p.path(name))))
		}
		return do(name, to)
	})
}

func copyFiles(p *process) int {
	recursive := p.options.has('r') || p.options.has('R') || p.options.has('a')
	return p.eachTarget("can't copy '%s': %v", func(name, target string) error {
		from := p.path(name)
		info, err := p.lstat(from)
		// cp -r and cp -P copy a link instead of the file to which it leads.
		followed := !recursive && !p.options.has('P') && !p.options.has('d')
		if followed {
			info, err = p.stat(from)
		}
		switch {
		case err != nil:
			return err
		case info.IsDir() && !recursive:
			return errIsDirectory
		}
		return p.copyTree(from, target, info)
	})
}

// copyTree copies a file, or a directory with everything below it. The argument "info" describes it.
func (p *process) copyTree(from, target string, info fileInfo) error {
	if !info.IsDir() {
		return p.copyOne(from, target, info)
	}
	if p.container.files.contains(info.node, target) {
		return errSameFile
	}
	var failed error
	p.container.files.walk(from, func(at string, info fileInfo, err error) bool {
		if err == nil {
			err = p.copyOne(at, path.Join(target, strings.TrimPrefix(at, from)), info)
		}
		failed = errors.Join(failed, err)
		return err == nil && p.ctx.Err() == nil
	})
	return failed
}

func (p *process) copyOne(from, to string, info fileInfo) error {
	files := p.container.files
	switch {
	case info.IsDir():
		return files.mkdirAll(to, info.mode.Perm())
	case info.target != "":
		if old, err := files.lstat(to); err == nil && !old.IsDir() {
			_ = files.remove(to, false)
		}
		return files.link(to, info.target, nil)
	}
	in, err := files.open(from, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.close()
	if old, err := files.stat(to); err == nil && old.node == in.node {
		return errSameFile
	}
	out, err := files.open(to, openNew, info.mode.Perm())
	if err != nil {
		return err
	}
	defer out.close()
	return copyAll(out, &guardedReader{p.ctx, in, p.meter})
}

var errSameFile = errors.New("cannot copy a file or directory to itself")

func move(p *process) int {
	return p.eachTarget("can't rename '%s': %v", func(name, target string) error {
		from := p.path(name)
		err := p.container.files.rename(from, target)
		if err != errCrossDevice {
			return err
		}
		info, err := p.lstat(from)
		if err == nil {
			err = p.copyTree(from, target, info)
		}
		if err == nil {
			err = p.ctx.Err()
		}
		if err != nil {
			return err
		}
		return p.container.files.remove(from, true)
	})
}

func chmod(p *process) int {
	// chmod does not use p.parse, because a mode such as -x would look like an option.
	args, all := p.args[1:], false
	if len(args) > 0 && args[0] == "-R" {
		args, all = args[1:], true
	}
	if len(args) < 2 {
		return p.fail("missing operand")
	}
	if _, err := changedMode(0, args[0]); err != nil {
		return p.fail("invalid mode '%s'", args[0])
	}
	for _, root := range args[1:] {
		p.walk(root, func(name string, info fileInfo, err error) bool {
			if err == nil && (info.target == "" || name == root) {
				err = p.container.files.alter(p.path(name),
					func(n *node) { n.mode, _ = changedMode(n.mode, args[0]) })
			}
			if err != nil {
				p.fail("%s: %v", name, err)
			}
			return all
		})
	}
	return 0
}

// changedMode applies an argument of chmod to a mode. The argument is an octal number, or has the form +x or go-w.
func changedMode(mode fs.FileMode, change string) (fs.FileMode, error) {
	if n, err := strconv.ParseUint(change, 8, 12); err == nil {
		return mode.Type() | fs.FileMode(n&0o777), nil
	}
	masks := map[rune]fs.FileMode{'u': 0o700, 'g': 0o070, 'o': 0o007, 'a': 0o777, 'r': 0o444, 'w': 0o222, 'x': 0o111}
	at := strings.IndexAny(change, "+-")
	if at < 0 || strings.Trim(change[:at], "ugoa") != "" || strings.Trim(change[at+1:], "rwx") != "" {
		return 0, errInvalid
	}
	var who, bits fs.FileMode
	for _, letter := range cmp.Or(change[:at], "a") {
		who |= masks[letter]
	}
	for _, letter := range change[at+1:] {
		bits |= masks[letter]
	}
	if change[at] == '-' {
		return mode &^ (who & bits), nil
	}
	return mode | who&bits, nil
}

func makeTemporary(p *process) int {
	template := "/tmp/tmp.XXXXXX"
	if len(p.operands) > 0 {
		template = p.operands[0]
	}
	stem, ok := strings.CutSuffix(template, "XXXXXX")
	if !ok {
		return p.fail("bad template '%s'", template)
	}
	name := stem + fmt.Sprintf("%06x", p.pid) // a PID is never used again
	var err error
	if p.options.has('d') {
		err = p.container.files.mkdir(p.path(name), 0o700)
	} else {
		var file *handle
		file, err = p.container.files.open(p.path(name), openNew, 0o600)
		file.close()
	}
	if err != nil {
		return p.fail("%s: %v", template, err)
	}
	return p.print(name + "\n")
}

func baseName(p *process) int {
	if len(p.args) < 2 {
		return p.fail("missing operand")
	}
	name := path.Base(p.args[1])
	if name != p.arg(2) {
		name = strings.TrimSuffix(name, p.arg(2))
	}
	return p.print(name + "\n")
}

func find(p *process) int {
	args := p.args[1:]
	var roots []string
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		roots, args = append(roots, args[0]), args[1:]
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	var tests []func(fileInfo) bool
	most := 1 << 30
	for ; len(args) > 0; args = args[1:] {
		test, value := args[0], ""
		if len(args) > 1 && slices.Contains([]string{"-name", "-type", "-maxdepth"}, test) {
			value, args = args[1], args[1:]
		}
		var one func(fileInfo) bool
		switch test {
		case "-name":
			one = func(i fileInfo) bool { ok, _ := path.Match(value, i.name); return ok }
		case "-type":
			one = func(i fileInfo) bool {
				return strings.Trim(modeString(i.mode)[:1], "-") == strings.TrimPrefix(value, "f")
			}
		case "-maxdepth":
			n, err := strconv.Atoi(value)
			if most = n; err != nil {
				return p.fail("invalid number '%s'", value)
			}
			continue
		case "-print":
			continue
		default:
			return p.fail("unrecognized: %s", test)
		}
		tests = append(tests, one)
	}
	for _, root := range roots {
		p.walk(root, func(name string, info fileInfo, err error) bool {
			if err != nil {
				p.fail("%s: %v", name, err)
				return false
			}
			if !slices.ContainsFunc(tests, func(test func(fileInfo) bool) bool { return !test(info) }) {
				p.print(name + "\n")
			}
			below := strings.TrimPrefix(p.path(name), strings.TrimSuffix(p.path(root), "/"))
			return strings.Count(below, "/") < most && p.ctx.Err() == nil
		})
	}
	return 0
}
