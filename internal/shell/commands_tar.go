package shell

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// archive implements tar, with the options of kubectl cp and the common ones.
func archive(ctx context.Context, p *process) int {
	args := slices.Clone(p.args)
	if len(args) > 1 && !strings.HasPrefix(args[1], "-") {
		args[1] = "-" + args[1] // tar cf - path
	}
	o, names, ok := (&process{args: args, stderr: p.stderr}).parse("cxtf:C:mpvzohO", map[string]rune{
		"no-same-permissions": 'o', "no-same-owner": 'o', "numeric-owner": 'o', "overwrite": 'o', "create": 'c',
		"extract": 'x', "list": 't', "verbose": 'v', "gzip": 'z',
	})
	if !ok {
		return 1
	}
	t := &tarrer{process: p, options: o, dir: p.path(orElse(o.value['C'], ".")), names: names}
	if info, err := p.container.files.stat(p.user(), t.dir); err != nil || !info.IsDir() {
		return p.fail("can't change directory to '%s': %v", o.value['C'], errNotExist)
	}
	file := orElse(o.value['f'], "-")
	switch {
	case o.has('c') && !o.has('x') && !o.has('t'):
		if len(names) == 0 {
			return p.fail("empty archive")
		}
		to, err := p.stdout, error(nil)
		if file != "-" {
			to, err = p.create(file, openTruncate)
		}
		if err != nil {
			return p.fail("can't open '%s': %v", file, err)
		}
		return t.create(ctx, to)
	case (o.has('x') || o.has('t')) && !o.has('c'):
		from, err := p.open(file)
		if err != nil {
			return p.fail("can't open '%s': %v", file, err)
		}
		return t.extract(ctx, onlyReader{from})
	}
	return p.fail("must specify one of -c, -x and -t")
}

type tarrer struct {
	*process
	options
	dir   string
	names []string
}

func (t *tarrer) absolute(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(t.dir, name)
}

func (t *tarrer) create(ctx context.Context, to io.Writer) int {
	if t.has('z') {
		zipped := gzip.NewWriter(to)
		defer zipped.Close()
		to = zipped
	}
	out := tar.NewWriter(to)
	exit, warned := 0, false
	var failed error
	for _, root := range t.names {
		base := t.absolute(root)
		t.container.files.walk(t.user(), base, func(at string, info fileInfo, err error) bool {
			name := strings.TrimSuffix(root, "/") + strings.TrimPrefix(at, base)
			if err != nil {
				exit = t.fail("%s: %v", name, err)
				return false
			}
			if strings.HasPrefix(name, "/") {
				name = strings.TrimLeft(name, "/")
				if !warned {
					fmt.Fprintln(t.stderr, "tar: removing leading '/' from member names")
					warned = true
				}
			}
			if info.mode&fs.ModeDevice != 0 || name == "" {
				return true
			}
			if t.has('v') {
				fmt.Fprintln(t.stderr, name)
			}
			failed = t.add(out, at, name, info)
			return failed == nil && ctx.Err() == nil
		})
		if failed != nil {
			return t.writeError(failed)
		}
	}
	if err := out.Close(); err != nil {
		return t.writeError(err)
	}
	return exit
}

func (t *tarrer) add(out *tar.Writer, at, name string, info fileInfo) error {
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Mode: int64(info.mode.Perm()), ModTime: info.modTime, Uid: int(info.uid),
		Gid:   int(info.gid),
		Uname: t.container.userName(info.uid), Gname: t.container.groupName(info.gid),
	}
	if info.IsDir() {
		header.Typeflag, header.Name = tar.TypeDir, name+"/"
		return out.WriteHeader(header)
	}
	// Copy the content, because it may change while it is written.
	content, err := t.container.files.content(t.user(), at)
	if err != nil {
		return err
	}
	header.Size = int64(len(content))
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	_, err = out.Write(content)
	return err
}

// extract writes or lists the files of an archive. It refuses a file outside of the directory.
func (t *tarrer) extract(ctx context.Context, from io.Reader) int {
	if t.has('z') {
		zipped, err := gzip.NewReader(from)
		if err != nil {
			return t.fail("invalid magic")
		}
		from = &guardedReader{ctx: ctx, from: zipped}
	}
	in := tar.NewReader(from)
	exit := 0
	for ctx.Err() == nil {
		header, err := in.Next()
		if err == io.EOF {
			// Read to the end, so that the sender does not get a broken pipe.
			_, _ = io.Copy(io.Discard, from)
			return exit
		}
		if err != nil {
			return t.fail("short read")
		}
		name := strings.TrimLeft(path.Clean(header.Name), "/")
		if name == ".." || strings.HasPrefix(name, "../") {
			exit = t.fail("name with '..' skipped: '%s'", header.Name)
			continue
		}
		if len(t.names) > 0 && !slices.ContainsFunc(t.names, func(wanted string) bool {
			wanted = strings.TrimLeft(path.Clean(wanted), "/")
			return name == wanted || strings.HasPrefix(name, wanted+"/")
		}) {
			continue
		}
		if t.has('t') || t.has('v') {
			t.print(header.Name + "\n")
		}
		if t.has('t') {
			continue
		}
		if t.has('O') {
			if _, err := io.Copy(onlyWriter{t.stdout}, in); err != nil {
				return t.writeError(err)
			}
			continue
		}
		if err := t.write(header, path.Join(t.dir, name), in); err != nil {
			exit = t.fail("can't create '%s': %v", header.Name, err)
			if err == errNoSpace {
				return exit
			}
		}
	}
	return 1
}

func (t *tarrer) write(header *tar.Header, to string, in io.Reader) error {
	files := t.container.files
	mode := fs.FileMode(header.Mode).Perm()
	switch header.Typeflag {
	case tar.TypeDir:
		return t.makeDirectories(to, mode|0o700, true)
	case tar.TypeReg:
	default:
		return errNotPermitted
	}
	if err := t.makeDirectories(path.Dir(to), 0o755, true); err != nil {
		return err
	}
	if err := files.remove(t.user(), to, false); err != nil && err != errNotExist {
		return err
	}
	out, err := files.open(t.user(), to, openWrite|openCreate|openTruncate, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if t.has('m') {
		return nil
	}
	return files.alter(t.user(), to, func(n *node) { n.modTime = header.ModTime })
}
