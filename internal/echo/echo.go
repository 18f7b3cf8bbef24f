// Package echo finds texts of an API server that repeat a token. An API server, or a proxy in front of it, receives the
// tokens of its clients, and could repeat them in errors and warnings.
//
// Begin with [Repeats]. [Transport] applies it to the responses of an API server.
package echo

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// minEcho is a number of letters and digits. A text repeats a token if it contains this many consecutive letters and
// digits of the token. A shorter match does not reveal the token, because many tokens have some letters in common: all
// JSON Web Tokens begin alike.
const minEcho = 16

// Repeats reports whether one of the texts contains the token or at least minEcho consecutive letters and digits of it.
// It also finds the token in base64, hexadecimal or percent encoding. The comparison ignores upper and lower case, and
// all characters that are neither letters nor digits.
func Repeats(token string, texts ...string) bool {
	encoded := encodings(token)
	contains := func(text string) bool {
		text = alphanumeric(text)
		return slices.ContainsFunc(encoded, func(e string) bool { return share(text, e) })
	}
	return slices.ContainsFunc(texts, func(text string) bool {
		decoded, err := url.PathUnescape(text)
		return contains(text) || err == nil && decoded != text && contains(decoded)
	})
}

// encodings returns a token unchanged, in hexadecimal and in base64. All results are in lower case and contain only
// letters and digits. There are up to three results in base64, because the base64 form of a token depends on how many
// bytes precede it in the encoded data.
func encodings(token string) []string {
	all := []string{alphanumeric(token), hex.EncodeToString([]byte(token))}
	for skipped := range min(3, len(token)) {
		whole := token[skipped:]
		if whole = whole[:len(whole)/3*3]; len(whole) > 3 {
			all = append(all, alphanumeric(base64.StdEncoding.EncodeToString([]byte(whole))))
		}
	}
	return all
}

// share reports whether a text contains minEcho consecutive bytes of an encoding. If the encoding is not longer than
// minEcho bytes, the text must contain all of it.
func share(text, encoding string) bool {
	if len(encoding) <= minEcho {
		return encoding != "" && strings.Contains(text, encoding)
	}
	// A quick test comes first. Any minEcho consecutive bytes of the encoding include step+1 bytes that begin at a
	// multiple of step. If the text contains none of these pieces, it cannot contain minEcho bytes of the encoding
	// either.
	const step = minEcho / 2
	for i := 0; i+step < len(encoding); i += step {
		if strings.Contains(text, encoding[i:i+step+1]) {
			return shareAnywhere(text, encoding)
		}
	}
	return false
}

func shareAnywhere(text, encoding string) bool {
	for i := 0; i+minEcho <= len(text); i++ {
		if strings.Contains(encoding, text[i:i+minEcho]) {
			return true
		}
	}
	return false
}

// alphanumeric returns the letters and digits of a text, in lower case.
func alphanumeric(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}
