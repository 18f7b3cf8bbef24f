package shell

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

func cat(_ context.Context, p *process) int {
	o, names, ok := p.parse("unvetAE", nil)
	if !ok {
		return 1
	}
	if len(names) == 0 {
		names = []string{"-"}
	}
	if o.has('n') {
		line := 0
		out := p.buffered()
		exit := p.each(names, out, func(_, text string) bool {
			line++
			_, err := fmt.Fprintf(out, "%6d\t%s", line, text)
			return err == nil
		})
		return p.finish(out, exit)
	}
	exit := 0
	for _, name := range names {
		from, err := p.open(name)
		if err == nil {
			if _, err = io.Copy(onlyWriter{p.stdout}, onlyReader{from}); p.broken.Load() {
				return 128 + sigPipe
			}
			if err == errIsDirectory {
				exit = p.fail("read error: %v", err)
				continue
			}
			if err != nil {
				return p.writeError(err)
			}
			continue
		}
		exit = p.fail("can't open '%s': %v", name, err)
	}
	return exit
}

// onlyReader and onlyWriter hide other methods from io.Copy. Its faster paths would bypass the checks that end a copy.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

func tee(_ context.Context, p *process) int {
	o, names, ok := p.parse("ai", nil)
	if !ok {
		return 1
	}
	flags := openTruncate
	if o.has('a') {
		flags = openAppend
	}
	to := []io.Writer{p.stdout}
	exit := 0
	for _, name := range names {
		file, err := p.create(name, flags)
		if err != nil {
			exit = p.fail("%s: %v", name, err)
			continue
		}
		to = append(to, file)
	}
	if _, err := io.Copy(io.MultiWriter(to...), onlyReader{p.stdin}); err != nil {
		return p.writeError(err)
	}
	return exit
}

func touch(_ context.Context, p *process) int {
	o, names, ok := p.parse("cmad:t:r:", nil)
	if !ok {
		return 1
	}
	exit := 0
	for _, name := range names {
		err := p.container.files.alter(p.user(), p.path(name), func(n *node) { n.modTime = p.container.config.Now() })
		if err == errNotExist && !o.has('c') {
			_, err = p.container.files.open(p.user(), p.path(name), openWrite|openCreate, 0o644)
		}
		if err != nil && (err != errNotExist || !o.has('c')) {
			exit = p.fail("%s: %v", name, err)
		}
	}
	return exit
}

func makeDirectory(_ context.Context, p *process) int {
	o, names, ok := p.parse("pm:v", nil)
	if !ok {
		return 1
	}
	mode := fs.FileMode(0o755)
	if text, found := o.value['m']; found {
		var err error
		if mode, err = changedMode(0o755, text); err != nil {
			return p.fail("invalid mode '%s'", text)
		}
	}
	exit := 0
	for _, name := range names {
		if err := p.makeDirectories(p.path(name), mode, o.has('p')); err != nil {
			exit = p.fail("can't create directory '%s': %v", name, err)
		}
	}
	return exit
}

// makeDirectories makes a directory. With all it also makes the parents, and an existing directory is not an error.
func (p *process) makeDirectories(name string, mode fs.FileMode, all bool) error {
	if all && name != "/" {
		if err := p.makeDirectories(path.Dir(name), 0o755, true); err != nil {
			return err
		}
	}
	err := p.container.files.mkdir(p.user(), name, mode, p.container.config.Now())
	if info, failed := p.container.files.stat(p.user(), name); all && failed == nil && info.IsDir() {
		return nil
	}
	return err
}

func removeDirectory(_ context.Context, p *process) int {
	o, names, ok := p.parse("p", nil)
	if !ok {
		return 1
	}
	exit := 0
	for _, name := range names {
		for at := p.path(name); at != "/"; at = path.Dir(at) {
			info, err := p.container.files.stat(p.user(), at)
			if err == nil && !info.IsDir() {
				err = errNotDirectory
			}
			if err == nil {
				err = p.container.files.remove(p.user(), at, false)
			}
			if err != nil {
				exit = p.fail("'%s': %v", name, err)
			}
			if err != nil || !o.has('p') {
				break
			}
		}
	}
	return exit
}

func removeFiles(_ context.Context, p *process) int {
	o, names, ok := p.parse("rRfiv", nil)
	if !ok {
		return 1
	}
	all := o.has('r') || o.has('R')
	exit := 0
	for _, name := range names {
		info, err := p.container.files.stat(p.user(), p.path(name))
		switch {
		case err == errNotExist && o.has('f'):
			continue
		case err == nil && info.IsDir() && !all:
			exit = p.fail("'%s' is a directory", name)
			continue
		case err == nil && (path.Base(name) == "." || path.Base(name) == ".."):
			exit = p.fail("can't remove '.' or '..'")
			continue
		case err == nil:
			err = p.container.files.remove(p.user(), p.path(name), all)
		}
		if err != nil {
			exit = p.fail("can't remove '%s': %v", name, err)
		}
	}
	return exit
}

// target returns the destination of a file: the name itself, or a file in the directory of that name.
func (p *process) target(to, from string) string {
	name := p.path(to)
	if info, err := p.container.files.stat(p.user(), name); err == nil && info.IsDir() {
		return path.Join(name, path.Base(p.path(from)))
	}
	return name
}

func copyFiles(ctx context.Context, p *process) int {
	o, names, ok := p.parse("rRapfivdL", nil)
	if !ok {
		return 1
	}
	if len(names) < 2 {
		return p.fail("missing file operand")
	}
	names, to := names[:len(names)-1], names[len(names)-1]
	if info, err := p.container.files.stat(p.user(), p.path(to)); len(names) > 1 && (err != nil || !info.IsDir()) {
		return p.fail("target '%s' is not a directory", to)
	}
	exit := 0
	for _, name := range names {
		from, target := p.path(name), p.target(to, name)
		info, err := p.container.files.stat(p.user(), from)
		switch {
		case err != nil:
			exit = p.fail("can't stat '%s': %v", name, err)
			continue
		case info.IsDir() && !o.has('r') && !o.has('R') && !o.has('a'):
			exit = p.fail("omitting directory '%s'", name)
			continue
		case target == from:
			exit = p.fail("'%s' and '%s' are the same file", name, to)
			continue
		case strings.HasPrefix(target+"/", from+"/"):
			exit = p.fail("can't copy a directory, '%s', into itself, '%s'", name, to)
			continue
		}
		p.container.files.walk(p.user(), from, func(at string, info fileInfo, err error) bool {
			if err == nil {
				err = p.copyOne(at, target+strings.TrimPrefix(at, from), info, o.has('p') || o.has('a'))
			}
			if err != nil {
				exit = p.fail("can't create '%s': %v", target+strings.TrimPrefix(at, from), err)
			}
			return err == nil && ctx.Err() == nil
		})
	}
	return exit
}

func (p *process) copyOne(from, to string, info fileInfo, preserve bool) error {
	files := p.container.files
	if info.IsDir() {
		if err := files.mkdir(p.user(), to, info.mode.Perm(), p.container.config.Now()); err != nil && err != errExist {
			return err
		}
	} else {
		in, err := files.open(p.user(), from, 0, 0)
		if err != nil {
			return err
		}
		if info.mode&fs.ModeDevice != 0 {
			return errNotPermitted
		}
		out, err := files.open(p.user(), to, openWrite|openCreate|openTruncate, info.mode.Perm())
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, onlyReader{in}); err != nil {
			return err
		}
	}
	if preserve {
		return files.alter(p.user(), to, func(n *node) { n.modTime = info.modTime })
	}
	return nil
}

func move(_ context.Context, p *process) int {
	_, names, ok := p.parse("fivn", nil)
	if !ok {
		return 1
	}
	if len(names) < 2 {
		return p.fail("missing file operand")
	}
	names, to := names[:len(names)-1], names[len(names)-1]
	exit := 0
	for _, name := range names {
		if err := p.container.files.rename(p.user(), p.path(name), p.target(to, name)); err != nil {
			exit = p.fail("can't rename '%s': %v", name, err)
		}
	}
	return exit
}

func link(_ context.Context, p *process) int {
	_, names, ok := p.parse("sfnv", nil)
	if !ok {
		return 1
	}
	return p.fail("%s: %v", strings.Join(names, " "), errNotPermitted)
}

func chmod(_ context.Context, p *process) int {
	// A mode may begin with a minus, like an option.
	args, all := p.args[1:], false
	for len(args) > 0 && (args[0] == "-R" || args[0] == "-f" || args[0] == "--") {
		all = all || args[0] == "-R"
		args = args[1:]
	}
	if len(args) < 2 {
		return p.fail("missing operand")
	}
	if _, err := changedMode(0, args[0]); err != nil {
		return p.fail("invalid mode '%s'", args[0])
	}
	exit := 0
	for _, name := range args[1:] {
		p.container.files.walk(p.user(), p.path(name), func(at string, _ fileInfo, err error) bool {
			if err == nil {
				err = p.container.files.alter(p.user(), at, func(n *node) { n.mode, _ = changedMode(n.mode, args[0]) })
			}
			if err != nil {
				exit = p.fail("%s: %v", name, err)
			}
			return all
		})
	}
	return exit
}

// changedMode applies a chmod argument to a mode: an octal number, or symbols like u+x,go-w.
func changedMode(mode fs.FileMode, change string) (fs.FileMode, error) {
	if n, err := strconv.ParseUint(change, 8, 12); err == nil {
		mode = mode.Type()&^fs.ModeSticky | fs.FileMode(n&0o777)
		if n&0o1000 != 0 {
			mode |= fs.ModeSticky
		}
		return mode, nil
	}
	for part := range strings.SplitSeq(change, ",") {
		at := strings.IndexAny(part, "+-=")
		if at < 0 {
			return 0, errInvalid
		}
		who, bits := fs.FileMode(0), fs.FileMode(0)
		for _, c := range part[:at] {
			switch c {
			case 'u':
				who |= 0o700
			case 'g':
				who |= 0o070
			case 'o':
				who |= 0o007
			case 'a':
				who |= 0o777
			default:
				return 0, errInvalid
			}
		}
		if at == 0 {
			who = 0o777
		}
		for _, c := range part[at+1:] {
			switch c {
			case 'r':
				bits |= 0o444
			case 'w':
				bits |= 0o222
			case 'x':
				bits |= 0o111
			case 'X':
				if mode.IsDir() || mode&0o111 != 0 {
					bits |= 0o111
				}
			case 't':
			default:
				return 0, errInvalid
			}
		}
		switch part[at] {
		case '+':
			mode |= bits & who
		case '-':
			mode &^= bits & who
		case '=':
			mode = mode&^who | bits&who
		}
	}
	return mode, nil
}

func makeTemporary(_ context.Context, p *process) int {
	o, names, ok := p.parse("dtp:qu", nil)
	if !ok {
		return 1
	}
	template := orElse(o.value['p'], "/tmp") + "/tmp.XXXXXX"
	if len(names) > 0 {
		template = names[0]
		if o.has('p') || o.has('t') {
			template = orElse(o.value['p'], "/tmp") + "/" + template
		}
	}
	stem := strings.TrimRight(template, "X")
	if len(template)-len(stem) < 6 {
		return p.fail("bad template '%s'", template)
	}
	for attempt := p.container.last(); ; attempt++ {
		name := stem + fmt.Sprintf("%06x", attempt*7919%0xffffff)
		if _, err := p.container.files.stat(p.user(), p.path(name)); err == nil {
			continue
		}
		var err error
		if o.has('d') {
			err = p.container.files.mkdir(p.user(), p.path(name), 0o700, p.container.config.Now())
		} else {
			_, err = p.container.files.open(p.user(), p.path(name), openWrite|openCreate, 0o600)
		}
		if err != nil {
			return p.fail("%s: %v", template, err)
		}
		return p.print(name + "\n")
	}
}

func baseName(_ context.Context, p *process) int {
	if len(p.args) < 2 {
		return p.fail("missing operand")
	}
	name := path.Base(p.args[1])
	if len(p.args) > 2 && name != p.args[2] {
		name = strings.TrimSuffix(name, p.args[2])
	}
	return p.print(name + "\n")
}

func dirName(_ context.Context, p *process) int {
	if len(p.args) < 2 {
		return p.fail("missing operand")
	}
	name := strings.TrimRight(p.args[1], "/")
	if name == "" && p.args[1] != "" {
		return p.print("/\n")
	}
	return p.print(path.Dir(name) + "\n")
}
