package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// pace waits for the reader between scenes.
type pace struct {
	lines <-chan string // closed at the end of the input; nil if the tour does not wait
}

// errQuit is returned by wait when the reader ends the tour.
var errQuit = errors.New("the reader ended the tour")

// newPace reads lines from in. With a nil in, the tour does not wait.
func newPace(in io.Reader) *pace {
	if in == nil {
		return &pace{}
	}
	lines := make(chan string)
	// Go cannot cancel a read from a terminal, so this goroutine may live as long as the process.
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return &pace{lines}
}

// wait returns when the reader presses Enter. It returns errQuit if the reader enters "q".
func (p *pace) wait(ctx context.Context, out io.Writer) error {
	if p.lines == nil {
		return nil
	}
	fmt.Fprint(out, "\n[Enter: next scene; q and Enter: quit] ")
	select {
	case line, ok := <-p.lines:
		switch {
		case !ok:
			return errors.New("standard input has ended: use --yes, which does not wait for Enter")
		case strings.TrimSpace(line) == "q":
			return errQuit
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
