// Package pemfile finds out what is wrong with a certificate file or a key file that cannot be used, and which command
// mends it. It does not replace the parsers of the libraries: they decide whether a file can be used, and this package
// completes their errors.
package pemfile

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"fauxlet/internal/shellword"
)

// Input is the content of a file, or of a field of a kubeconfig.
type Input struct {
	name  string // a path, or the name of the field
	data  []byte
	field bool
}

// File reads a file. If that is impossible, or if the path is not a regular file, the Input is empty, and nothing is
// found in it.
func File(path string) Input {
	in := Input{name: path}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		in.data, _ = os.ReadFile(path)
		if in.data == nil {
			in.data = []byte{}
		}
	}
	return in
}

// FileWith is a file whose content has been read already.
func FileWith(path string, data []byte) Input { return Input{path, data, false} }

// Field is a field of a kubeconfig that contains the data of a file. The data is decoded from base64.
func Field(name string, data []byte) Input { return Input{name, data, true} }

// ExplainCertificate adds to an error what is wrong with a file of certificates, such as a file of CAs. If nothing is
// found, it returns the error unchanged.
func ExplainCertificate(err error, file Input) error {
	if what := inspect(file, certificate); err != nil && what != "" {
		return fmt.Errorf("%w; %s", err, what)
	}
	return err
}

// ExplainPair adds to an error what is wrong with a certificate file and the file of its private key. Both may be the
// same file. If nothing is found, it returns the error unchanged. The result never contains data of a key.
func ExplainPair(err error, certFile, keyFile Input) error {
	if err == nil {
		return nil
	}
	what := inspect(certFile, certificate)
	if what == "" {
		what = inspect(keyFile, key)
	}
	if what == "" {
		what = Mismatch(certFile, keyFile)
	}
	if what == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, what)
}

// Unread returns a description of certificates in a file that Go skips without an error, such as the first one in a
// file with a byte-order mark. It returns "" if there are none.
func Unread(file Input) string {
	if certificates(file.data) == nil {
		return ""
	}
	if _, skipped := blocks(file.data); skipped == nil {
		return ""
	}
	return inspect(file, certificate)
}

// kind is what a file should contain.
type kind string

const (
	certificate kind = "certificate"
	key         kind = "private key"
)

// finding is a description of a file and a shell command that mends it. In the command, FILE is the file, and the
// command writes its result to NEW. If NEW does not occur, the command prints or does something else.
type finding struct{ what, command string }

// inspect returns a sentence about what is wrong with a file, and the command that mends it. It returns "" if nothing
// is found.
func inspect(file Input, want kind) string {
	if file.data == nil {
		return ""
	}
	found := find(file.data, want)
	if found.what == "" {
		return ""
	}
	text := file.name + " " + found.what
	switch {
	case found.command == "":
	case file.field:
		text += fmt.Sprintf("; save the decoded field as FILE, mend it with %s, and encode it again with base64 -w0 "+
			"FILE",
			command(found.command, "FILE", want))
	default:
		text += "; mend it with: " + command(found.command, file.name, want)
	}
	return text
}

// The function "command" completes the command of a finding. The new file of a private key is readable by its owner
// only.
func command(template, file string, want kind) string {
	if !strings.Contains(template, "NEW") {
		return strings.ReplaceAll(template, "FILE", shellword.Quote(file))
	}
	text := strings.NewReplacer("FILE", shellword.Quote(file), "NEW", shellword.Quote(file+".new")).
		Replace(template + " && mv NEW FILE")
	if want == key {
		return "(umask 077; " + text + ")"
	}
	return text
}

// find examines the content of a file.
func find(data []byte, want kind) finding {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return finding{what: "is empty"}
	case isUTF16(data):
		return finding{"is encoded in UTF-16, as PowerShell writes text by default, and PEM must be " +
			"ASCII", utf16Command(data)}
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return finding{"begins with a byte-order mark (UTF-8 with BOM), so its first line is not recognized",
			"tail -c +4 FILE > NEW"}
	case isDER(data):
		return findDER(data, want)
	case bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}):
		return finding{"is a Java keystore (JKS), and must be PEM", "keytool -importkeystore -srckeystore FILE " +
			"-destkeystore FILE.p12 -deststoretype PKCS12"}
	case !bytes.Contains(data, []byte("-BEGIN ")):
		return findText(data, want)
	}
	if found, ok := findSkipped(data); ok {
		return found
	}
	return findBlocks(data, want)
}

func isUTF16(data []byte) bool {
	return bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) ||
		bytes.Contains(data, []byte("-\x00-\x00-")) || bytes.Contains(data, []byte("\x00-\x00-\x00-"))
}

// isDER reports whether the data begins with a complete DER sequence, as certificates and keys do.
func isDER(data []byte) bool {
	var sequence asn1.RawValue
	_, err := asn1.Unmarshal(data, &sequence)
	return err == nil && sequence.Class == asn1.ClassUniversal && sequence.Tag == asn1.TagSequence
}

// utf16Command names the byte order if the file has no byte-order mark.
func utf16Command(data []byte) string {
	encoding := "UTF-16"
	switch {
	case data[0] >= 0xfe:
	case data[0] == 0:
		encoding = "UTF-16BE"
	default:
		encoding = "UTF-16LE"
	}
	return "iconv -f " + encoding + " -t UTF-8 FILE > NEW"
}

// The function "blocks" returns the PEM blocks of a file. If Go skips a block, "skipped" is the data from the line of
// its beginning on.
func blocks(data []byte) (all []*pem.Block, skipped []byte) {
	rest := data
	for {
		block, next := pem.Decode(rest)
		consumed := rest[:len(rest)-len(next)]
		if block == nil {
			consumed = rest
		}
		// pem.Decode skips every beginning before the one that it decodes.
		marks := bytes.Count(consumed, beginning)
		if skipped == nil && (block == nil && marks > 0 || marks > 1) {
			skipped = consumed[bytes.Index(consumed, beginning):]
		}
		if block == nil {
			return all, skipped
		}
		all, rest = append(all, block), next
	}
}

var beginning = []byte("-----BEGIN ")

// certificates returns the certificates that Go reads from a file.
func certificates(data []byte) (all []*x509.Certificate) {
	found, _ := blocks(data)
	for _, block := range found {
		if block.Type == "CERTIFICATE" && len(block.Headers) == 0 {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil {
				all = append(all, c)
			}
		}
	}
	return all
}
