package shell

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

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
				return value == "d" && i.IsDir() || value == "f" && i.mode.IsRegular() || value == "c" &&
					i.mode&fs.ModeCharDevice != 0
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
