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
			fmt.Fprintf(l.out, "%s %4d %-8.8s %-8.8s %9s %s %s%s\n", modeString(e.mode), links(e),
				l.container.userName(e.uid), l.container.groupName(e.gid),
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

// isScreen reports whether a process writes directly to the terminal.
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

// when formats a file's time like ls: with the year if the time is more than half a year ago.
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

// modeString formats a mode like ls.
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
			p.print(strings.NewReplacer("%n", name, "%s", strconv.FormatInt(info.size, 10), "%a", octal, "%A",
				modeString(info.mode),
				"%U", owner, "%u", strconv.FormatInt(info.uid, 10), "%G", group, "%g", strconv.FormatInt(info.gid, 10),
				"%F", kind,
				"%Y", strconv.FormatInt(info.modTime.Unix(), 10), "%y",
				info.modTime.UTC().Format("2006-01-02 15:04:05.000000000"), "%%", "%").Replace(format) + "\n")
			continue
		}
		p.print(fmt.Sprintf("  File: %s\n  Size: %d\tBlocks: %d\tIO Block: 4096   %s\nAccess: (0%s/%s)  Uid: "+
			"(%5d/%8s)   Gid: (%5d/%8s)\nModify: %s\n",
			name, info.size, (info.size+511)/512, kind, octal, modeString(info.mode), info.uid, owner, info.gid, group,
			info.modTime.UTC().Format("2006-01-02 15:04:05.000000000 -0700")))
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
			exit = 1 // there are no symbolic links
		case err != nil && !o.has('f') && !o.has('m'):
			exit = p.fail("%s: %v", name, err)
		default:
			p.print(p.path(name) + "\n")
		}
	}
	return exit
}
