package pemfile_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	certutil "k8s.io/client-go/util/cert"

	"fauxlet/internal/pemfile"
	"fauxlet/testcerts"
)

// brokenFile is a file that Go cannot use.
type brokenFile struct {
	name string
	// The function "make" changes the good file. Its argument is the PEM of a certificate with an intermediate CA, or
	// of a private key.
	make func(t *testing.T, good []byte) []byte
	// says is a part of the description. The command that follows "mend it with:" must mend the file, unless
	// noCommand is true.
	says      string
	noCommand bool
	// skipped is true if Go reads the rest of the file without an error.
	skipped bool
}

// anyFile are the broken files that can be certificates and keys.
var anyFile = []brokenFile{
	{name: "byte-order mark", says: "begins with a byte-order mark (UTF-8 with BOM)", skipped: true,
		make: func(_ *testing.T, good []byte) []byte { return append([]byte("\xef\xbb\xbf"), good...) }},
	{name: "UTF-16 with a byte-order mark", says: "is encoded in UTF-16",
		make: func(_ *testing.T, good []byte) []byte { return append([]byte{0xff, 0xfe}, utf16LE(good)...) }},
	{name: "UTF-16", says: "is encoded in " +
		"UTF-16", make: func(_ *testing.T, good []byte) []byte { return utf16LE(good) }},
	{name: "UTF-16 with CRLF", says: "is encoded in UTF-16", make: func(_ *testing.T, good []byte) []byte {
		return append([]byte{0xff, 0xfe}, utf16LE(bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")))...)
	}},
	{name: "big-endian UTF-16", says: "is encoded in UTF-16", make: func(_ *testing.T, good []byte) []byte {
		data := append([]byte{0xff, 0xfe}, utf16LE(good)...)
		for i := 0; i+1 < len(data); i += 2 {
			data[i], data[i+1] = data[i+1], data[i]
		}
		return data
	}},
	{name: "base64 of PEM", says: "is the base64 of a PEM file", make: func(_ *testing.T, good []byte) []byte {
		return []byte(base64.StdEncoding.EncodeToString(good) + "\n")
	}},
	{name: "base64 of PEM in lines", says: "is the base64 of a PEM file", make: func(_ *testing.T, good []byte) []byte {
		return lines(base64.StdEncoding.EncodeToString(good))
	}},
	{name: "base64 twice", says: "encoded in base64 twice", make: func(_ *testing.T, good []byte) []byte {
		return []byte(base64.StdEncoding.EncodeToString(lines(base64.StdEncoding.EncodeToString(good))))
	}},
	{name: "one line", says: "all in one line", make: func(_ *testing.T, good []byte) []byte {
		return bytes.ReplaceAll(good, []byte("\n"), nil)
	}},
	{name: "one line with spaces", says: "all in one line", make: func(_ *testing.T, good []byte) []byte {
		return bytes.ReplaceAll(good, []byte("\n"), []byte(" "))
	}},
	{name: "one line with backslash and n", says: "all in one line", make: func(_ *testing.T, good []byte) []byte {
		return bytes.ReplaceAll(good, []byte("\n"), []byte(`\n`))
	}},
	{name: "quoted line with backslash and n", says: "line", make: func(_ *testing.T, good []byte) []byte {
		return []byte(fmt.Sprintf("%q\n", good))
	}},
	{name: "indented", says: "indented", make: func(_ *testing.T, good []byte) []byte {
		return append([]byte("    "), bytes.ReplaceAll(bytes.TrimSpace(good), []byte("\n"), []byte("\n    "))...)
	}},
	{name: "empty", says: "is empty", noCommand: true, make: func(*testing.T, []byte) []byte { return []byte("\n") }},
	{name: "cut off", says: "no line END", noCommand: true, make: func(_ *testing.T, good []byte) []byte {
		return good[:len(good)/3]
	}},
	{name: "damaged base64", says: "base64 is damaged", noCommand: true, make: func(_ *testing.T, good []byte) []byte {
		return bytes.ReplaceAll(good, []byte("\nM"), []byte("\n!"))
	}},
	{name: "long dashes", says: "exactly five hyphens", noCommand: true, make: func(_ *testing.T, good []byte) []byte {
		return bytes.ReplaceAll(good, []byte("-----"), []byte("—–"))
	}},
	{name: "YAML", says: "is YAML or JSON", noCommand: true, make: func(*testing.T, []byte) []byte {
		return []byte("apiVersion: v1\nkind: Config\n")
	}},
	{name: "other text", says: "contains no PEM block", noCommand: true, make: func(*testing.T, []byte) []byte {
		return []byte("404 page not found\n")
	}},
}

func utf16LE(text []byte) []byte {
	var data []byte
	for _, unit := range utf16.Encode([]rune(string(text))) {
		data = append(data, byte(unit), byte(unit>>8))
	}
	return data
}

func lines(text string) []byte {
	var b bytes.Buffer
	for len(text) > 76 {
		b.WriteString(text[:76] + "\n")
		text = text[76:]
	}
	b.WriteString(text + "\n")
	return b.Bytes()
}

var certificateFiles = []brokenFile{
	{name: "DER", says: "is a certificate in binary DER", make: func(_ *testing.T, good []byte) []byte {
		block, _ := pem.Decode(good)
		return block.Bytes
	}},
	{name: "base64 of DER", says: "in base64, without the lines BEGIN and END", make: func(_ *testing.T,
		good []byte) []byte {
		block, _ := pem.Decode(good)
		return lines(base64.StdEncoding.EncodeToString(block.Bytes))
	}},
	{name: "glued together", says: "are in one line", make: func(_ *testing.T, good []byte) []byte {
		return bytes.ReplaceAll(good, []byte("-----\n-----BEGIN"), []byte("----------BEGIN"))
	}},
	{name: "format of OpenSSL", says: "a format of OpenSSL", make: func(t *testing.T, good []byte) []byte {
		return openssl(t, good, "x509", "-trustout")
	}},
	{name: "PKCS 7", says: "is a PKCS #7 file", make: func(t *testing.T, good []byte) []byte {
		return openssl(t, nil, "crl2pkcs7", "-nocrl", "-certfile", file(t, good))
	}},
	{name: "PKCS 7 in DER", says: "is a PKCS #7 file in binary DER", make: func(t *testing.T, good []byte) []byte {
		return openssl(t, nil, "crl2pkcs7", "-nocrl", "-outform", "DER", "-certfile", file(t, good))
	}},
	{name: "PKCS 12", says: "is a PKCS #12 file", make: func(t *testing.T, good []byte) []byte {
		return openssl(t, nil, "pkcs12", "-export", "-nokeys", "-passout", "pass:secret", "-in", file(t, good))
	}},
	{name: "request", says: "is a certificate signing " +
		"request", noCommand: true, make: func(t *testing.T, _ []byte) []byte {
		return openssl(t, nil, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
			"-nodes", "-subj", "/CN=a",
			"-keyout", "/dev/null")
	}},
	{name: "text", says: "is the description of a " +
		"certificate", noCommand: true, make: func(t *testing.T, good []byte) []byte {
		return openssl(t, good, "x509", "-noout", "-text")
	}},
	{name: "key", says: "contains a private key and no " +
		"certificate", noCommand: true, make: func(t *testing.T, _ []byte) []byte {
		_, keyPEM := pair(t)
		return keyPEM
	}},
}

var keyFiles = []brokenFile{
	{name: "DER", says: "is a private key in binary DER", make: func(_ *testing.T, good []byte) []byte {
		block, _ := pem.Decode(good)
		return block.Bytes
	}},
	{name: "base64 of DER", says: "in base64, without the lines BEGIN and END", make: func(_ *testing.T,
		good []byte) []byte {
		block, _ := pem.Decode(good)
		return lines(base64.StdEncoding.EncodeToString(block.Bytes))
	}},
	{name: "encrypted", says: "encrypted with a passphrase", make: func(t *testing.T, good []byte) []byte {
		return openssl(t, good, "pkey", "-aes256", "-passout", "pass:secret")
	}},
	{name: "encrypted, the old way", says: "encrypted with a passphrase", make: func(t *testing.T, good []byte) []byte {
		return openssl(t, good, "ec", "-aes256", "-passout", "pass:secret")
	}},
	{name: "encrypted in DER", says: "is an encrypted private key in binary DER", make: func(t *testing.T,
		good []byte) []byte {
		return openssl(t, good, "pkcs8", "-topk8", "-outform", "DER", "-passout", "pass:secret")
	}},
	{name: "unknown curve", says: "of a kind that Go cannot " +
		"read", noCommand: true, make: func(t *testing.T, _ []byte) []byte {
		return openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1")
	}},
	{name: "short RSA key", says: "an RSA key of 512 bits", noCommand: true, make: func(t *testing.T, _ []byte) []byte {
		return openssl(t, nil, "genrsa", "512")
	}},
	{name: "certificate", says: "contains a certificate and no private key", noCommand: true,
		make: func(t *testing.T, _ []byte) []byte {
			certPEM, _ := pair(t)
			return certPEM
		}},
	{name: "public key", says: "contains a public key", noCommand: true, make: func(t *testing.T, good []byte) []byte {
		return openssl(t, good, "pkey", "-pubout")
	}},
}

// pair returns a certificate with an intermediate CA, and its key.
func pair(t *testing.T) (certPEM, keyPEM []byte) {
	t.Helper()
	ca, err := testcerts.NewAuthority("ca")
	check(t, err)
	intermediate, err := ca.Intermediate("intermediate")
	check(t, err)
	p, err := intermediate.Client("client", nil)
	check(t, err)
	return p.CertPEM, p.KeyPEM
}

func file(t *testing.T, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "it's a file")
	check(t, os.WriteFile(name, data, 0o600))
	return name
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openssl(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	command := exec.Command("openssl", args...)
	command.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("openssl %q: %v\n%s; this test needs the package openssl", args, err, &stderr)
	}
	return out
}

// TestCertificateFiles checks the description of certificate files that Go cannot read, and runs the commands that mend
// them.
func TestCertificateFiles(t *testing.T) {
	good, _ := pair(t)
	for _, broken := range append(anyFile, certificateFiles...) {
		t.Run(broken.name, func(t *testing.T) {
			name := file(t, broken.make(t, good))
			all, err := certutil.CertsFromFile(name)
			if broken.skipped {
				if err != nil || len(all) == 2 {
					t.Fatalf("Go reads %d certificates of 2, with the error %v", len(all), err)
				}
				err = errors.New(pemfile.Unread(pemfile.File(name)))
			} else if err == nil {
				t.Fatal("Go reads the file")
			} else {
				err = pemfile.ExplainCertificate(err, pemfile.File(name))
			}
			broken.check(t, err, name)
			if broken.noCommand {
				return
			}
			all, err = certutil.CertsFromFile(name)
			if err != nil || all[0].Subject.CommonName != "client" {
				t.Errorf("after the command Go reads %d certificates, with the error %v", len(all), err)
			}
			if unread := pemfile.Unread(pemfile.File(name)); unread != "" {
				t.Errorf("after the command: %s", unread)
			}
			openssl(t, nil, "x509", "-noout", "-in", name)
		})
	}
}

// TestKeyFiles checks the same for key files. The description never contains data of the key, and the mended file is
// readable by its owner only.
func TestKeyFiles(t *testing.T) {
	certPEM, good := pair(t)
	certFile := file(t, certPEM)
	for _, broken := range append(anyFile, keyFiles...) {
		t.Run(broken.name, func(t *testing.T) {
			name := file(t, broken.make(t, good))
			content, err := os.ReadFile(name)
			check(t, err)
			_, err = tls.LoadX509KeyPair(certFile, name)
			if err == nil {
				t.Fatal("Go reads the file")
			}
			explained := pemfile.ExplainPair(err, pemfile.File(certFile), pemfile.File(name))
			for i := 0; i+16 <= len(content) && len(content) > 100; i += 16 {
				if part := string(content[i : i+16]); strings.Contains(explained.Error(), part) &&
					!strings.Contains(part, "-") {
					t.Errorf("the error contains %q, a part of the key file", part)
				}
			}
			broken.check(t, explained, name)
			if broken.noCommand {
				return
			}
			if _, err := tls.LoadX509KeyPair(certFile, name); err != nil {
				t.Errorf("after the command: %v", err)
			}
			openssl(t, nil, "pkey", "-noout", "-in", name)
			info, err := os.Stat(name)
			check(t, err)
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("the mended key file has the mode %v", info.Mode())
			}
		})
	}
}

// The method "check" checks the description of a broken file, and runs its command. The passphrase is on its standard
// input.
func (broken brokenFile) check(t *testing.T, explained error, name string) {
	t.Helper()
	text := explained.Error()
	if !strings.Contains(text, name+" ") || !strings.Contains(text, broken.says) {
		t.Errorf("the error is %q, want %q", text, broken.says)
	}
	_, command, found := strings.Cut(text, "mend it with: ")
	if found == broken.noCommand {
		t.Errorf("the error is %q, want a command: %v", text, !broken.noCommand)
	}
	if !found {
		return
	}
	// On a terminal, openssl prompts for the passphrase of the file.
	command = `openssl() { case $1 in pkey|pkcs12) set -- "$@" -passin pass:secret;; esac; command openssl "$@"; }` +
		"\n" + command
	if out, err := exec.Command("bash", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// TestMismatch checks pairs of files that can be read, but do not belong together.
func TestMismatch(t *testing.T) {
	certPEM, keyPEM := pair(t)
	_, otherKey := pair(t)
	leaf, intermediate := pem.EncodeToMemory(first(certPEM)), certPEM[len(pem.EncodeToMemory(first(certPEM))):]
	keyFile := file(t, keyPEM)
	t.Run("wrong order", func(t *testing.T) {
		certFile := file(t, append(bytes.Clone(intermediate), leaf...))
		_, err := tls.LoadX509KeyPair(certFile, keyFile)
		broken := brokenFile{says: `the key belongs to certificate 2 in ` + certFile + `, "CN=client", and that must ` +
			`be the first`}
		broken.check(t, pemfile.ExplainPair(err, pemfile.File(certFile), pemfile.File(keyFile)), certFile+",")
	})
	for _, test := range []struct {
		name string
		cert []byte
		want string
	}{
		{"other key", leaf, `does not belong to the certificate in `},
		{"other key, with an intermediate CA", certPEM, `does not belong to any of the 2 certificates in `},
	} {
		t.Run(test.name, func(t *testing.T) {
			certFile, keyFile := file(t, test.cert), file(t, otherKey)
			_, err := tls.LoadX509KeyPair(certFile, keyFile)
			if text := pemfile.ExplainPair(err, pemfile.File(certFile),
				pemfile.File(keyFile)).Error(); !strings.Contains(text,
				test.want+certFile) ||
				!strings.Contains(text, "openssl x509 -noout -pubkey -in ") {
				t.Errorf("error %q, want %q", text, test.want)
			}
		})
	}
}

func first(certPEM []byte) *pem.Block {
	block, _ := pem.Decode(certPEM)
	return block
}

// TestGoodFiles checks that nothing is found in good files, and that an error without a known cause stays as it is.
func TestGoodFiles(t *testing.T) {
	certPEM, keyPEM := pair(t)
	both := file(t, append(bytes.Clone(certPEM), keyPEM...))
	withText := file(t, append([]byte("Bag Attributes\n    friendlyName: x\nsubject=CN = client\n"), certPEM...))
	withCRLF := file(t, bytes.ReplaceAll(certPEM, []byte("\n"), []byte("\r\n")))
	failure := errors.New("some failure")
	for _, name := range []string{both, withText, withCRLF, "/does/not/exist", "/dev/null", t.TempDir()} {
		if err := pemfile.ExplainCertificate(failure, pemfile.File(name)); err != failure ||
			pemfile.Unread(pemfile.File(name)) != "" {
			t.Errorf("%s: %v; %s", name, err, pemfile.Unread(pemfile.File(name)))
		}
	}
	if err := pemfile.ExplainPair(failure, pemfile.File(both), pemfile.File(both)); err != failure {
		t.Error(err)
	}
	if pemfile.ExplainPair(nil, pemfile.File(both), pemfile.File(withText)) != nil || pemfile.ExplainCertificate(nil,
		pemfile.File("")) != nil {
		t.Error("an error without a failure")
	}
}

// TestKubeconfig checks the fields of a kubeconfig that contain something else than base64.
func TestKubeconfig(t *testing.T) {
	certPEM, _ := pair(t)
	block := "|\n      " + strings.ReplaceAll(strings.TrimSpace(string(certPEM)), "\n", "\n      ")
	for _, test := range []struct{ name, value, want string }{
		{"PEM", block, "line 5 of FILE: client-certificate-data contains PEM itself, and must contain its base64; " +
			"put there the output of base64 -w0 CERTIFICATE-FILE"},
		{"path", "/etc/kubernetes/pki/admin.crt", "contains a path; rename the field to client-certificate, or put " +
			"there the output of base64 -w0 /etc/kubernetes/pki/admin.crt"},
		{"URL-safe", "LS0t_S0t", "URL-safe alphabet of base64"},
		{"cut off", "LS0tLS1CR", "is not base64, or not all of it"},
		{"good", base64.StdEncoding.EncodeToString(certPEM), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := file(t, []byte("kind: Config\nusers:\n- name: admin\n  user:\n    "+
				"client-certificate-data: "+test.value+
				"\n    client-key-data: LS0t\n"))
			failure := errors.New("illegal base64 data at input byte 0")
			err := pemfile.ExplainKubeconfig(failure, name)
			if want := strings.ReplaceAll(test.want, "FILE:", name+":"); !strings.Contains(err.Error(), want) ||
				(err == failure) != (want == "") {
				t.Errorf("error %q, want %q", err, want)
			}
		})
	}
	field := pemfile.Client{CertData: lines(base64.StdEncoding.EncodeToString(certPEM)), KeyFile: "/does/not/exist"}
	text := field.Explain(errors.New("failure")).Error()
	if want := "client-certificate-data is the base64 of a PEM file"; !strings.Contains(text, want) {
		t.Errorf("error %q, want %q", text, want)
	}
}

// FuzzInspect checks that no file makes the inspection panic or print long parts of the file.
func FuzzInspect(f *testing.F) {
	for _, seed := range []string{"", "0", "-----BEGIN A-----", "\xff\xfe", "0\x82",
		"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := pemfile.FileWith("file", data)
		err := pemfile.ExplainPair(errors.New("failure"), in, in)
		if unread := pemfile.Unread(in); len(err.Error()) > 2000+3*len(data) || len(unread) > 2000+3*len(data) {
			t.Errorf("%d bytes of error for %d bytes", len(err.Error()), len(data))
		}
		_, _ = x509.ParseCertificate(data)
	})
}
