package shell

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"strings"
)

func encodeBase64(_ context.Context, p *process) int {
	o, names, ok := p.parse("diw:", map[string]rune{"decode": 'd'})
	if !ok {
		return 1
	}
	width, good := o.number('w', 76)
	if !good {
		return p.fail("invalid number '%s'", o.value['w'])
	}
	from, err := p.open(orElse(strings.Join(names[:min(1, len(names))], ""), "-"))
	if err != nil {
		return p.fail("%s: %v", names[0], err)
	}
	if o.has('d') {
		_, err = io.Copy(onlyWriter{p.stdout}, base64.NewDecoder(base64.StdEncoding, onlyReader{from}))
		if err != nil && !p.broken.Load() {
			return p.fail("invalid input")
		}
		return 0
	}
	out := p.buffered()
	wrapped := &wrapper{to: out, width: width}
	encoder := base64.NewEncoder(base64.StdEncoding, wrapped)
	if _, err = io.Copy(encoder, onlyReader{from}); err == nil {
		err = encoder.Close()
	}
	if err != nil {
		_ = out.Flush()
		return p.fail("%v", err)
	}
	if wrapped.column > 0 {
		_, _ = out.WriteString("\n")
	}
	return p.finish(out, 0)
}

// wrapper is a writer that breaks lines after a number of bytes.
type wrapper struct {
	to            *bufio.Writer
	width, column int
}

func (w *wrapper) Write(p []byte) (int, error) {
	for _, c := range p {
		if w.width > 0 && w.column == w.width {
			_ = w.to.WriteByte('\n')
			w.column = 0
		}
		if err := w.to.WriteByte(c); err != nil {
			return 0, err
		}
		w.column++
	}
	return len(p), nil
}

func digest(sum func() hash.Hash) func(context.Context, *process) int {
	return func(_ context.Context, p *process) int {
		_, names, ok := p.parse("bt", nil)
		if !ok {
			return 1
		}
		if len(names) == 0 {
			names = []string{"-"}
		}
		exit := 0
		for _, name := range names {
			from, err := p.open(name)
			h := sum()
			if err == nil {
				_, err = io.Copy(h, onlyReader{from})
			}
			if err != nil {
				exit = p.fail("can't open '%s': %v", name, err)
				continue
			}
			p.print(fmt.Sprintf("%x  %s\n", h.Sum(nil), name))
		}
		return exit
	}
}
