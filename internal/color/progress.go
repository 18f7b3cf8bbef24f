package color

import (
	"fmt"
	"io"
	"sync"
)

// Progress shows what a command does: on a terminal in one line, which is overwritten. Its methods are safe for
// concurrent use.
type Progress struct {
	w        io.Writer
	terminal bool

	mu    sync.Mutex
	shown bool // the line is visible
}

// NewProgress returns a Progress that is written to w, usually standard error.
func NewProgress(w io.Writer) *Progress { return &Progress{w: w, terminal: IsTerminal(w)} }

// maxProgress is the number of characters of a progress line, so that it does not fill a terminal of 80 columns, which
// would begin a new line.
const maxProgress = 79

// Show replaces the progress line on a terminal. If the output is no terminal, Show writes the text "otherwise" as a
// line, or nothing if it is empty.
func (p *Progress) Show(text, otherwise string) {
	if !p.terminal {
		if otherwise != "" {
			p.Print(otherwise)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "\r\x1b[K%.*s", maxProgress, Printable(text))
	p.shown = true
}

// Print writes lines that stay visible, above the progress line.
func (p *Progress) Print(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintln(p.w, PrintableLines(text))
}

// Clear removes the progress line.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *Progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}
