package pods

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

func runEcho(_ context.Context, _ *simpleEnvironment, args []string, s *simpleStreams) int {
	end := "\n"
	if len(args) > 0 && args[0] == "-n" {
		args, end = args[1:], ""
	}
	_, _ = io.WriteString(s.stdout, strings.Join(args, " ")+end)
	return 0
}

func runCat(_ context.Context, e *simpleEnvironment, args []string, s *simpleStreams) int {
	if len(args) == 0 {
		args = []string{"-"}
	}
	code := 0
	for _, arg := range args {
		if arg == "-" {
			_, _ = io.Copy(s.stdout, s.stdin)
			continue
		}
		name := e.absolute(arg)
		content, found := e.files[name]
		switch {
		case found:
			_, _ = io.WriteString(s.stdout, content)
		case e.isDir(name):
			code = s.fail("cat: read error: Is a directory")
		default:
			code = s.fail("cat: can't open '%s': No such file or directory", arg)
		}
	}
	return code
}

func runLs(_ context.Context, e *simpleEnvironment, args []string, s *simpleStreams) int {
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return strings.HasPrefix(arg, "-") })
	if len(args) == 0 {
		args = []string{"."}
	}
	code := 0
	for i, arg := range args {
		name := e.absolute(arg)
		if _, found := e.files[name]; found {
			fmt.Fprintln(s.stdout, arg)
			continue
		}
		if !e.isDir(name) {
			code = s.fail("ls: %s: No such file or directory", arg)
			continue
		}
		if len(args) > 1 {
			fmt.Fprintf(s.stdout, "%s%s:\n", map[bool]string{true: "\n"}[i > 0], arg)
		}
		for _, entry := range e.entries(name) {
			fmt.Fprintln(s.stdout, entry)
		}
	}
	return code
}

// absolute returns the absolute path of a file name.
func (e *simpleEnvironment) absolute(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(cmp.Or(e.config.WorkingDir, "/"), name)
}

// isDir reports whether a directory exists. The working directory exists, and so does every directory that contains
// a file at any depth.
func (e *simpleEnvironment) isDir(name string) bool {
	return name == "/" || name == path.Clean(cmp.Or(e.config.WorkingDir, "/")) || len(e.entries(name)) > 0
}

// entries returns the sorted names of the files and directories in a directory.
func (e *simpleEnvironment) entries(dir string) []string {
	var names []string
	for file := range e.files {
		if rest, below := strings.CutPrefix(file, strings.TrimSuffix(dir, "/")+"/"); below {
			name, _, _ := strings.Cut(rest, "/")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func runEnv(_ context.Context, e *simpleEnvironment, _ []string, s *simpleStreams) int {
	for _, variable := range e.env {
		fmt.Fprintln(s.stdout, variable)
	}
	return 0
}

func runHostname(_ context.Context, e *simpleEnvironment, _ []string, s *simpleStreams) int {
	fmt.Fprintln(s.stdout, e.config.Hostname)
	return 0
}

func runID(_ context.Context, e *simpleEnvironment, args []string, s *simpleStreams) int {
	name := func(id int64) string {
		if id == 0 {
			return "0(root)"
		}
		return strconv.FormatInt(id, 10)
	}
	switch strings.Join(args, " ") {
	case "-u":
		fmt.Fprintln(s.stdout, e.config.UID)
	case "-g":
		fmt.Fprintln(s.stdout, e.config.GID)
	default:
		fmt.Fprintf(s.stdout, "uid=%s gid=%s groups=%s\n", name(e.config.UID), name(e.config.GID), name(e.config.GID))
	}
	return 0
}

func runDate(_ context.Context, _ *simpleEnvironment, _ []string, s *simpleStreams) int {
	fmt.Fprintln(s.stdout, time.Now().UTC().Format("Mon Jan _2 15:04:05 UTC 2006"))
	return 0
}

func runSleep(ctx context.Context, _ *simpleEnvironment, args []string, s *simpleStreams) int {
	if len(args) != 1 {
		return s.fail("sleep: one time is required")
	}
	text := args[0]
	if strings.TrimLeft(text, "0123456789.") == "" {
		text += "s"
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		return s.fail("sleep: invalid number '%s'", args[0])
	}
	if sleep(ctx, duration) != nil {
		return killedCode
	}
	return 0
}
