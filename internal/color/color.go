// Package color paints text for a terminal.
package color

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Color is the parameter of an ANSI escape sequence. The empty Color is the terminal's own.
type Color string

const (
	Bold    Color = "1"
	Dim     Color = "2"
	Red     Color = "31"
	Green   Color = "32"
	Yellow  Color = "33"
	Magenta Color = "35"
)

// Style paints text if it is true and returns it unchanged otherwise.
type Style bool

// For returns the Style for w: true if w is a terminal that shows colors, unless the environment variable NO_COLOR is
// set (https://no-color.org).
func For(w io.Writer) Style {
	file, ok := w.(*os.File)
	return Style(ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd())))
}

// Paint returns text in a color.
func (s Style) Paint(color Color, text string) string {
	if !s || color == "" {
		return text
	}
	return "\x1b[" + string(color) + "m" + text + "\x1b[0m"
}
