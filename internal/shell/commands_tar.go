package shell

import (
	"archive/tar"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// archive implements tar with the options of kubectl cp: c, x, t, f and C. The options that keep or ignore owners and
// modes have no effect.
func archive(p *process) int {
	args := append([]string(nil), p.args[1:]...)
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		args[0] = "-" + args[0] // the old form of options, as in tar cf - path
	}
	if !p.parse("cxtf:C:mpov", args) {
		return 1
	}
	o := p.options
	file := cmp.Or(o['f'], "-")
	if file != "-" {
		file = p.path(file)
	}
	if o.has('C') {
		if p.dir = p.path(o['C']); p.executable(p.dir) != errIsDirectory {
			return p.fail("can't change directory to '%s': %v", o['C'], errNotExist)
		}
	}
	var err error
	switch {
	case o.has('c'):
		var to io.Writer = p.out
		if file != "-" {
			to, err = p.create(file, openNew)
		}
		if err == nil {
			defer handleOf(to).close()
			return p.pack(to)
		}
	case o.has('x') || o.has('t'):
		var from io.Reader
		if from, err = p.open(file); err == nil {
			defer handleOf(from).close()
			return p.unpack(from)
		}
	default:
		return p.fail("must specify one of -c, -x and -t")
	}
	return p.fail("can't open '%s': %v", file, err)
}

// pack writes a tar archive of the files that the operands name.
func (p *process) pack(to io.Writer) int {
	out := tar.NewWriter(to)
	warned := false
	var failed error
	for _, root := range p.operands {
		p.walk(root, func(name string, info fileInfo, err error) bool {
			if err != nil {
				p.fail("%s: %v", name, err)
				return false
			}
			file := p.path(name)
			if strings.HasPrefix(name, "/") && !warned {
				fmt.Fprintln(p.stderr, "tar: removing leading '/' from member names")
				warned = true
			}
			if name = strings.TrimLeft(name, "/"); name != "" && info.mode&fs.ModeDevice == 0 {
				failed = p.packOne(out, file, name, info)
			}
			return failed == nil && p.ctx.Err() == nil
		})
	}
	if failed == nil {
		failed = out.Close()
	}
	if failed != nil {
		return p.writeError(failed)
	}
	return 0
}

func (p *process) packOne(out *tar.Writer, file, name string, info fileInfo) error {
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Mode: int64(info.mode.Perm()), ModTime: info.modTime, Uid: int(info.uid),
		Gid: int(info.gid), Uname: userName(info.uid), Gname: groupName(info.gid),
	}
	if info.IsDir() {
		header.Typeflag, header.Name = tar.TypeDir, name+"/"
		return out.WriteHeader(header)
	}
	if info.target != "" {
		header.Typeflag, header.Linkname = tar.TypeSymlink, info.target
		return out.WriteHeader(header)
	}
	content, err := p.container.files.open(file, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer content.close()
	header.Size = info.size
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	// The file may have become shorter since its size was written to the header. Like GNU tar, fill up with zeros.
	padded := io.LimitReader(io.MultiReader(&guardedReader{p.ctx, content, p.meter}, zeros{}), info.size)
	return copyAll(out, padded)
}

// zeros is an endless reader of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// unpack extracts or lists an archive. It skips files whose names have ".." at the beginning, as in ../file. It follows
// symbolic links in the names of files. If dir is a link to /etc, the file dir/x is therefore written to /etc/x, even
// if the link comes from the same archive.
func (p *process) unpack(from io.Reader) int {
	in := tar.NewReader(struct{ io.Reader }{from})
	for p.ctx.Err() == nil {
		header, err := in.Next()
		if err == io.EOF {
			// Read to the end, so that the sender does not get a broken pipe.
			_ = copyAll(io.Discard, from)
			return 0
		}
		if err != nil {
			return p.fail("short read")
		}
		name := strings.TrimLeft(path.Clean(header.Name), "/")
		switch {
		case name == ".." || strings.HasPrefix(name, "../"):
			p.fail("name with '..' skipped: '%s'", header.Name)
		case p.options.has('t'):
			p.print(header.Name + "\n")
		default:
			if err := p.unpackOne(header, p.path(name), in); err != nil {
				p.fail("can't create '%s': %v", header.Name, err)
				if strings.HasPrefix(err.Error(), string(errNoSpace)) {
					return 1
				}
			}
		}
	}
	return 1
}

func (p *process) unpackOne(header *tar.Header, to string, in io.Reader) error {
	files, mode := p.container.files, fs.FileMode(header.Mode).Perm()
	if header.Typeflag == tar.TypeDir {
		return files.mkdirAll(to, mode|0o700)
	}
	if err := files.mkdirAll(path.Dir(to), 0o755); err != nil {
		return err
	}
	if err := files.remove(to, false); err != nil && err != errNotExist {
		return err
	}
	switch header.Typeflag {
	case tar.TypeReg:
	case tar.TypeSymlink:
		return files.link(to, header.Linkname, nil)
	case tar.TypeLink:
		old, err := files.lstat(p.path(strings.TrimLeft(path.Clean(header.Linkname), "/")))
		if err != nil {
			return err
		}
		return files.link(to, "", old.node)
	default:
		return errInvalid
	}
	out, err := files.open(to, openNew, mode)
	if err != nil {
		return err
	}
	defer out.close()
	_, err = io.Copy(out, in)
	if err != nil || p.options.has('m') {
		return err
	}
	return files.alter(to, func(n *node) { n.modTime = header.ModTime })
}
