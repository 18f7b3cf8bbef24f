package shell

import (
	"context"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
)

func grep(ctx context.Context, p *process) int {
	o, names, ok := p.parse("ivncrREFGqlLoxwhHse:m:A:B:C:", map[string]rune{"color": 0, "line-buffered": 0})
	if !ok {
		return 2
	}
	pattern, found := o.value['e']
	if !found {
		if len(names) == 0 {
			p.fail("usage: grep [-HhnlLoqvsrRiwFEmABC] PATTERN [FILE]...")
			return 2
		}
		pattern, names = names[0], names[1:]
	}
	name := path.Base(p.args[0])
	flags := "s"
	if o.has('i') {
		flags += "i"
	}
	var alternatives []string
	for part := range strings.SplitSeq(pattern, "\n") {
		if o.has('F') || name == "fgrep" {
			part = regexp.QuoteMeta(part)
		} else {
			made, err := expression(part, o.has('E') || name == "egrep", flags)
			if err != nil {
				p.fail("%v", err)
				return 2
			}
			part = made.String()
		}
		switch {
		case o.has('x'):
			part = "^(?:" + part + ")$"
		case o.has('w'):
			part = `\b(?:` + part + `)\b`
		}
		alternatives = append(alternatives, part)
	}
	re, err := compile("(?"+flags+":"+strings.Join(alternatives, "|")+")", pattern)
	if err != nil {
		p.fail("%v", err)
		return 2
	}
	most, good := o.number('m', 1<<30)
	after, good2 := o.number('A', 0)
	before, good3 := o.number('B', 0)
	if around, good4 := o.number('C', 0); !good || !good2 || !good3 || !good4 {
		p.fail("invalid number")
		return 2
	} else if o.has('C') {
		after, before = around, around
	}
	before = min(before, 1000)
	recursive := o.has('r') || o.has('R')
	if recursive && len(names) == 0 {
		names = []string{"."}
	}
	exit := 1
	failed := false
	if recursive {
		var files []string
		for _, root := range names {
			base := p.path(root)
			p.container.files.walk(p.user(), base, func(at string, info fileInfo, err error) bool {
				if err == nil && info.mode.IsRegular() {
					files = append(files, strings.TrimSuffix(root, "/")+strings.TrimPrefix(at, base))
				} else if err != nil && !o.has('s') {
					p.fail("%s: %v", root, err)
					failed = true
				}
				return ctx.Err() == nil && info.Type()&fs.ModeDevice == 0
			})
		}
		if names = files; len(names) == 0 {
			return exit
		}
	}
	withName := (len(names) > 1 || recursive || o.has('H')) && !o.has('h')
	out := p.buffered()
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		shown := name
		if name == "-" {
			shown = "(standard input)"
		}
		label := ""
		if withName {
			label = shown
		}
		write := func(separator string, number int, text string) bool {
			if label != "" {
				_, _ = out.WriteString(label + separator)
			}
			if o.has('n') {
				_, _ = out.WriteString(strconv.Itoa(number) + separator)
			}
			_, err := out.WriteString(text + "\n")
			return err == nil
		}
		number, hits, follow, last := 0, 0, 0, 0
		var earlier []string
		quiet := o.has('c') || o.has('l') || o.has('L') || o.has('q')
		code := p.each([]string{name}, out, func(_, line string) bool {
			line = strings.TrimSuffix(line, "\n")
			number++
			if re.MatchString(line) == o.has('v') {
				switch {
				case quiet:
				case follow > 0:
					follow--
					last = number
					return write("-", number, line)
				case before > 0:
					earlier = append(earlier[max(0, len(earlier)-before+1):], line)
				}
				return true
			}
			hits++
			exit = 0
			switch {
			case o.has('q') || o.has('l') || o.has('L'):
				return false
			case o.has('c'):
			case o.has('o') && !o.has('v'):
				for _, match := range re.FindAllString(line, 1000) {
					if match != "" && !write(":", number, match) {
						return false
					}
				}
			default:
				if (after > 0 || before > 0) && last > 0 && number-len(earlier) > last+1 {
					_, _ = out.WriteString("--\n")
				}
				for i, text := range earlier {
					write("-", number-len(earlier)+i, text)
				}
				earlier, last, follow = nil, number, after
				if !write(":", number, line) {
					return false
				}
			}
			return hits < most
		})
		failed = failed || code != 0
		switch {
		case o.has('q') && hits > 0:
			return 0
		case o.has('l') && hits > 0 || o.has('L') && hits == 0 && code == 0:
			_, _ = out.WriteString(shown + "\n")
		case o.has('c') && !o.has('l') && !o.has('q') && code == 0:
			if label != "" {
				_, _ = out.WriteString(label + ":")
			}
			_, _ = out.WriteString(strconv.Itoa(hits) + "\n")
		}
	}
	if failed && exit != 0 {
		exit = 2
	}
	return p.finish(out, exit)
}
