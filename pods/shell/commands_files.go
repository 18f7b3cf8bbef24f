package shell

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

func list(_ context.Context, p *process) int {
	o, names, ok := p.parse("laA1RdhtrSFC", map[string]rune{"color": 0, "all": 'a'})
	if !ok {
		return 1
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	out := p.buffered()
	exit := 0
	l := &lister{process: p, options: o, out: out}
	var files, dirs []fileInfo
	for _, name := range names {
		info, err := p.container.files.stat(p.user(), p.path(name))
		if err != nil {
			exit = p.fail("%s: %v", name, err)
			continue
		}
		if info.name = name; info.IsDir() && !o.has('d') {
			dirs = append(dirs, info)
		} else {
			files = append(files, info)
		}
	}
	l.order(files)
	l.print(files, false)
	for i, dir := range dirs {
		if i > 0 || len(files) > 0 {
			_, _ = out.WriteString("\n")
		}
		if !l.directory(dir.name, len(names) > 1 || o.has('R')) {
			exit = 1
		}
	}
	return p.finish(out, exit)
}

type lister struct {
	*process
	options
	out interface {
		io.Writer
		Flush() error
	}
}

func (l *lister) directory(name string, header bool) bool {
	entries, err := l.container.files.readDir(l.user(), l.path(name))
	if err != nil {
		_ = l.out.Flush()
		l.fail("can't open '%s': %v", name, err)
		return false
	}
	entries = slices.DeleteFunc(entries, func(e fileInfo) bool {
		return strings.HasPrefix(e.name, ".") && !l.has('a') && !l.has('A')
	})
	if l.has('a') {
		for _, dots := range []string{"..", "."} {
			if info, err := l.container.files.stat(l.user(), path.Join(l.path(name), dots)); err == nil {
				info.name = dots
				entries = slices.Insert(entries, 0, info)
			}
		}
	}
	l.order(entries)
	if header {
		fmt.Fprintf(l.out, "%s:\n", name)
	}
	l.print(entries, true)
	good := true
	if l.has('R') {
		for _, entry := range entries {
			if entry.IsDir() && entry.name != "." && entry.name != ".." {
				_, _ = io.WriteString(l.out, "\n")
				good = l.directory(strings.TrimSuffix(name, "/")+"/"+entry.name, true) && good
			}
		}
	}
	return good
}

func (l *lister) order(entries []fileInfo) {
	slices.SortStableFunc(entries, func(a, b fileInfo) int {
		switch {
		case l.has('t'):
			return b.modTime.Compare(a.modTime)
		case l.has('S'):
			return int(b.size - a.size)
		}
		return strings.Compare(a.name, b.name)
	})
	if l.has('r') {
		slices.Reverse(entries)
	}
}

func (l *lister) print(entries []fileInfo, total bool) {
	if l.has('l') {
		if total {
			blocks := int64(0)
			for _, e := range entries {
				blocks += (e.size + 4095) / 4096 * 4
			}
			fmt.Fprintf(l.out, "total %d\n", blocks)
		}
		for _, e := range entries {
			size := strconv.FormatInt(e.size, 10)
			if l.has('h') {
				size = humanSize(e.size)
			}
			fmt.Fprintf(l.out, "%s %4d %-8.8s %-8.8s %9s %s %s%s\n", modeString(e.mode), links(e), l.container.userName(e.uid), l.container.groupName(e.gid),
				size, l.when(e.modTime), e.name, l.suffix(e))
		}
		return
	}
	width := 0
	if l.session.terminal != nil && isScreen(l.stdout, l.session.stdout) && !l.has('1') {
		width = 80
	}
	column := 0
	for _, e := range entries {
		column = max(column, len(e.name)+3)
	}
	perLine := 1
	if width > 0 && column > 0 {
		perLine = max(1, width/column)
	}
	for i, e := range entries {
		name := e.name + l.suffix(e)
		if (i+1)%perLine == 0 || i == len(entries)-1 {
			fmt.Fprintln(l.out, name)
		} else {
			fmt.Fprintf(l.out, "%-*s", column, name)
		}
	}
}

// isScreen says whether a process writes to the terminal itself.
func isScreen(to, screen io.Writer) bool {
	for {
		guarded, ok := to.(*guardedWriter)
		if !ok {
			return to == screen
		}
		to = guarded.to
	}
}

func (l *lister) suffix(e fileInfo) string {
	switch {
	case !l.has('F'):
		return ""
	case e.IsDir():
		return "/"
	case e.mode.IsRegular() && e.mode&0o111 != 0:
		return "*"
	}
	return ""
}

// when is a file's time as ls has it: with the year if it is not of the last half year.
func (l *lister) when(at time.Time) string {
	at = at.UTC()
	if age := l.container.config.Now().Sub(at); age > 182*24*time.Hour || age < -time.Hour {
		return at.Format("Jan _2  2006")
	}
	return at.Format("Jan _2 15:04")
}

func links(e fileInfo) int {
	if e.IsDir() {
		return 2
	}
	return 1
}

func humanSize(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10)
	}
	value := float64(n)
	for _, unit := range []string{"K", "M", "G", "T"} {
		if value /= 1024; value < 1024 {
			return fmt.Sprintf("%.1f%s", value, unit)
		}
	}
	return fmt.Sprintf("%.1fP", value/1024)
}

// modeString is a mode as ls has it.
func modeString(mode fs.FileMode) string {
	kind := "-"
	switch {
	case mode.IsDir():
		kind = "d"
	case mode&fs.ModeCharDevice != 0:
		kind = "c"
	}
	text := []byte(kind + mode.Perm().String()[1:])
	if mode&fs.ModeSticky != 0 {
		text[9] = 't'
	}
	return string(text)
}

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

// onlyReader and onlyWriter keep io.Copy from looking for faster ways, which pass by what ends it.
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

// makeDirectories makes a directory and, with all, those above; one that is there is good then.
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

// target gives where a file goes: to a name, or into a directory.
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
	// A mode may begin with a minus, as an option does.
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

// changedMode gives what chmod makes of a mode: by an octal number, or by the likes of u+x,go-w.
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

func describeFile(_ context.Context, p *process) int {
	o, names, ok := p.parse("c:tL", nil)
	if !ok {
		return 1
	}
	exit := 0
	for _, name := range names {
		info, err := p.container.files.stat(p.user(), p.path(name))
		if err != nil {
			exit = p.fail("can't stat '%s': %v", name, err)
			continue
		}
		kind := "regular file"
		switch {
		case info.IsDir():
			kind = "directory"
		case info.mode&fs.ModeDevice != 0:
			kind = "character special file"
		case info.size == 0:
			kind = "regular empty file"
		}
		owner, group := p.container.userName(info.uid), p.container.groupName(info.gid)
		octal := strconv.FormatUint(uint64(info.mode.Perm()), 8)
		if format, found := o.value['c']; found {
			p.print(strings.NewReplacer("%n", name, "%s", strconv.FormatInt(info.size, 10), "%a", octal, "%A", modeString(info.mode),
				"%U", owner, "%u", strconv.FormatInt(info.uid, 10), "%G", group, "%g", strconv.FormatInt(info.gid, 10), "%F", kind,
				"%Y", strconv.FormatInt(info.modTime.Unix(), 10), "%y", info.modTime.UTC().Format("2006-01-02 15:04:05.000000000"), "%%", "%").Replace(format) + "\n")
			continue
		}
		p.print(fmt.Sprintf("  File: %s\n  Size: %d\tBlocks: %d\tIO Block: 4096   %s\nAccess: (0%s/%s)  Uid: (%5d/%8s)   Gid: (%5d/%8s)\nModify: %s\n",
			name, info.size, (info.size+511)/512, kind, octal, modeString(info.mode), info.uid, owner, info.gid, group, info.modTime.UTC().Format("2006-01-02 15:04:05.000000000 -0700")))
	}
	return exit
}

func readLink(_ context.Context, p *process) int {
	o, names, ok := p.parse("fnemqsz", nil)
	if !ok {
		return 1
	}
	exit := 0
	for _, name := range names {
		_, err := p.container.files.stat(p.user(), p.path(name))
		switch {
		case path.Base(p.args[0]) == "readlink" && !o.has('f') && !o.has('e'):
			exit = 1 // there are no links
		case err != nil && !o.has('f') && !o.has('m'):
			exit = p.fail("%s: %v", name, err)
		default:
			p.print(p.path(name) + "\n")
		}
	}
	return exit
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

func find(ctx context.Context, p *process) int {
	args := p.args[1:]
	var roots []string
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "!" && args[0] != "(" {
		roots, args = append(roots, args[0]), args[1:]
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	var tests []func(string, fileInfo) bool
	most, least, end, remove, negate := 1<<30, 0, "\n", false, false
	for len(args) > 0 {
		test := args[0]
		if args = args[1:]; test == "!" || test == "-not" {
			negate = true
			continue
		}
		value := ""
		switch test {
		case "-name", "-iname", "-path", "-type", "-maxdepth", "-mindepth", "-size":
			if len(args) == 0 {
				return p.fail("%s: argument expected", test)
			}
			value, args = args[0], args[1:]
		}
		var one func(string, fileInfo) bool
		switch test {
		case "-name":
			one = func(_ string, i fileInfo) bool { return matches(value, i.name) }
		case "-iname":
			one = func(_ string, i fileInfo) bool { return matches(strings.ToLower(value), strings.ToLower(i.name)) }
		case "-path":
			one = func(name string, _ fileInfo) bool {
				return matches(strings.ReplaceAll(value, "/", "\x01"), strings.ReplaceAll(name, "/", "\x01"))
			}
		case "-type":
			one = func(_ string, i fileInfo) bool {
				return value == "d" && i.IsDir() || value == "f" && i.mode.IsRegular() || value == "c" && i.mode&fs.ModeCharDevice != 0
			}
		case "-empty":
			one = func(_ string, i fileInfo) bool {
				return !i.IsDir() && i.size == 0 || i.IsDir() && len(i.node.children) == 0
			}
		case "-maxdepth", "-mindepth":
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				return p.fail("invalid number '%s'", value)
			}
			if test == "-maxdepth" {
				most = n
			} else {
				least = n
			}
			continue
		case "-print":
			continue
		case "-print0":
			end = "\x00"
			continue
		case "-delete":
			remove = true
			continue
		default:
			return p.fail("unrecognized: %s", test)
		}
		if negate {
			positive := one
			one, negate = func(name string, i fileInfo) bool { return !positive(name, i) }, false
		}
		tests = append(tests, one)
	}
	out := p.buffered()
	exit := 0
	var found []string
	for _, root := range roots {
		base := p.path(root)
		p.container.files.walk(p.user(), base, func(at string, info fileInfo, err error) bool {
			name := root + strings.TrimPrefix(at, strings.TrimSuffix(base, "/"))
			if at == base {
				name = root
			} else if strings.HasSuffix(root, "/") {
				name = root + strings.TrimPrefix(at, strings.TrimSuffix(base, "/")+"/")
			}
			if err != nil {
				_ = out.Flush()
				exit = p.fail("%s: %v", name, err)
				return false
			}
			depth := strings.Count(strings.TrimPrefix(at, strings.TrimSuffix(base, "/")), "/")
			good := depth >= least && depth <= most
			for _, test := range tests {
				good = good && test(name, info)
			}
			switch {
			case good && remove:
				found = append(found, at)
			case good:
				if _, err := out.WriteString(name + end); err != nil {
					return false
				}
			}
			return depth < most && ctx.Err() == nil
		})
	}
	for _, name := range slices.Backward(found) {
		if err := p.container.files.remove(p.user(), name, false); err != nil {
			exit = p.fail("%s: %v", name, err)
		}
	}
	return p.finish(out, exit)
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

func diskUsage(_ context.Context, p *process) int {
	o, names, ok := p.parse("shkamd:", nil)
	if !ok {
		return 1
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	exit := 0
	for _, name := range names {
		var usage func(at, shown string) int64
		usage = func(at, shown string) int64 {
			info, err := p.container.files.stat(p.user(), at)
			if err != nil {
				exit = p.fail("%s: %v", shown, err)
				return 0
			}
			sum := (info.size + 4095) / 4096 * 4
			if info.IsDir() {
				entries, _ := p.container.files.readDir(p.user(), at)
				for _, entry := range entries {
					sum += usage(path.Join(at, entry.name), strings.TrimSuffix(shown, "/")+"/"+entry.name)
				}
			}
			if top := at == p.path(name); top || info.IsDir() && !o.has('s') || o.has('a') {
				size := strconv.FormatInt(sum, 10)
				if o.has('h') {
					size = humanSize(sum << 10)
				}
				p.print(size + "\t" + shown + "\n")
			}
			return sum
		}
		usage(p.path(name), name)
	}
	return exit
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
