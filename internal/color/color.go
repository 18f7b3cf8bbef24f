// Package color paints text for a terminal, and makes text from outside printable.
package color

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Color is the parameter of an ANSI escape sequence. The empty Color means the terminal's default color.
type Color string

const (
	Bold    Color = "1"
	Dim     Color = "2"
	Red     Color = "31"
	Green   Color = "32"
	Yellow  Color = "33"
	Magenta Color = "35"
)

// Style is true if text is painted in colors, and false if text is left unchanged.
type Style bool

// For returns the Style for text that is written to w. The Style is true if w is a terminal that shows colors and the
// environment variable NO_COLOR is not set (https://no-color.org).
func For(w io.Writer) Style {
	return Style(os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && IsTerminal(w))
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Paint returns the text, with escape sequences for the color if the Style is true.
func (s Style) Paint(color Color, text string) string {
	if !s || color == "" {
		return text
	}
	return "\x1b[" + string(color) + "m" + text + "\x1b[0m"
}
