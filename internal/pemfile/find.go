package pemfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"

	"fauxlet/internal/shellword"
)

// findDER examines a file that begins like binary DER.
func findDER(data []byte, want kind) finding {
	if _, err := x509.ParseCertificates(data); err == nil {
		if want == key {
			return finding{what: "contains a certificate in DER, and must be a private key in PEM"}
		}
		return finding{"is a certificate in binary DER, and must be PEM", "openssl x509 -inform DER -in FILE -out NEW"}
	}
	var encrypted struct {
		Algorithm struct {
			ID         asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Data []byte
	}
	var content struct {
		ID      asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"optional"`
	}
	var keystore struct {
		Version int
		Content asn1.RawValue
		MAC     asn1.RawValue `asn1:"optional"`
	}
	parses := func(v any) bool { rest, err := asn1.Unmarshal(data, v); return err == nil && len(rest) == 0 }
	_, keyError := parseKey(data)
	_, requestError := x509.ParseCertificateRequest(data)
	switch {
	case keyError == nil && want == certificate:
		return finding{what: "contains a private key in DER, and must be a certificate in PEM"}
	case keyError == nil:
		return finding{"is a private key in binary DER, and must be PEM", "openssl pkey -inform DER -in FILE -out NEW"}
	case requestError == nil:
		return finding{what: aRequest}
	case parses(&content) && content.ID.String() == "1.2.840.113549.1.7.2" && want == certificate:
		return finding{"is a PKCS #7 file in binary DER, and must be PEM",
			"openssl pkcs7 -inform DER -print_certs -in FILE -out NEW"}
	case parses(&encrypted) && want == key:
		return finding{"is an encrypted private key in binary DER, and must be PEM without a passphrase",
			"openssl pkey -inform DER -in FILE -out NEW"}
	case parses(&keystore) && keystore.Version == 3 && want == certificate:
		return finding{"is a PKCS #12 file (.p12, .pfx), and must be PEM", "openssl pkcs12 -nokeys -in FILE -out NEW"}
	case parses(&keystore) && keystore.Version == 3:
		return finding{"is a PKCS #12 file (.p12, .pfx), and must be PEM", "openssl pkcs12 -nocerts -nodes -in FILE " +
			"-out NEW"}
	}
	return finding{what: fmt.Sprintf("is binary data, and must be a %s in PEM", want)}
}

const aRequest = "is a certificate signing request, and no certificate: give it to a CA, and use the certificate " +
	"that the CA returns"

// findText examines a file in which no PEM block begins.
func findText(data []byte, want kind) finding {
	text := strings.TrimSpace(string(data))
	compact := strings.Join(strings.Fields(text), "")
	if decoded, err := decodeBase64(compact); err == nil && len(compact) > 40 {
		again := strings.Join(strings.Fields(string(decoded)), "")
		twice, errTwice := decodeBase64(again)
		switch {
		case bytes.Contains(decoded, beginning):
			return finding{"is the base64 of a PEM file, as it stands in a kubeconfig or a Secret",
				"base64 -d FILE > NEW"}
		case errTwice == nil && len(again) > 40 && bytes.Contains(twice, beginning):
			return finding{"is a PEM file that was encoded in base64 twice", "base64 -d FILE | base64 -d > NEW"}
		case isDER(decoded):
			der := findDER(decoded, want)
			if der.command == "" {
				return finding{what: strings.Replace(der.what, " in DER", " in base64 without PEM lines", 1)}
			}
			what := "is " + string(want) + " data in base64, without the lines BEGIN and END of PEM"
			return finding{what, "base64 -d FILE | " + strings.Replace(der.command, "-in FILE ", "", 1)}
		}
	}
	lower := strings.ToLower(text)
	switch {
	case strings.Contains(text, "BEGIN CERTIFICATE") || strings.Contains(text, "PRIVATE KEY"):
		return finding{what: "has no line that begins with exactly five hyphens and BEGIN: a word processor or a " +
			"copy changed them; copy the file again as plain text"}
	case strings.HasPrefix(text, "apiVersion:") || strings.Contains(text,
		"\napiVersion:") || strings.HasPrefix(text, "{"):
		return finding{what: fmt.Sprintf("is YAML or JSON, and must be a %s in PEM", want)}
	case strings.HasPrefix(text, "Certificate:"):
		return finding{what: "is the description of a certificate (openssl x509 -text -noout), without the " +
			"certificate; copy the certificate itself, in PEM"}
	case strings.HasPrefix(text, "ssh-") || strings.HasPrefix(text, "ecdsa-sha2-"):
		return finding{what: fmt.Sprintf("is a public key of SSH, and must be a %s in PEM", want)}
	case strings.HasPrefix(lower, "<!doctype") || strings.HasPrefix(lower, "<html"):
		return finding{what: fmt.Sprintf("is an HTML page, and must be a %s in PEM", want)}
	}
	return finding{what: fmt.Sprintf("contains no PEM block, and must be a %s in PEM", want)}
}

func decodeBase64(text string) ([]byte, error) {
	if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
		return decoded, nil
	}
	return base64.RawStdEncoding.DecodeString(text)
}

// oneLine is a command that begins each PEM block, and the data in it, on a line of its own. It removes spaces and the
// two characters \n from the data.
const oneLine = `sed -E 's/-----(BEGIN|END) [A-Z0-9 ]+-----/\n&\n/g' FILE | sed -E ` +
	`'/-----/!s/[[:space:]]|\\[nrt]|"//g' | sed '/^$/d' | fold -w 64 > NEW`

var (
	lineOfBlock = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]+-----[^\r\n \t]|-----BEGIN [A-Z0-9 ]+-----[ \t]+\S`)
	glued       = regexp.MustCompile(`-----END [A-Z0-9 ]+----------BEGIN `)
	prefixed    = regexp.MustCompile(`(?m)^[^\n]*[^\s\n][^\n]*-----BEGIN `)
	indented    = regexp.MustCompile(`(?m)^[ \t]+-----BEGIN `)
)

// findSkipped examines a file with a PEM block that Go skips.
func findSkipped(data []byte) (finding, bool) {
	decoded, skipped := blocks(data)
	if skipped == nil {
		return finding{}, false
	}
	number := 1 + bytes.Count(data[:len(data)-len(afterSkipped(data, skipped))], []byte("\n"))
	block := fmt.Sprintf("has a PEM block that cannot be read, in line %d", number)
	if len(decoded) > 0 {
		block = fmt.Sprintf("has a PEM block that cannot be read, in line %d, and the other blocks are used without it",
			number)
	}
	end := regexp.MustCompile(`-----END [A-Z0-9 ]+-----`).FindIndex(skipped)
	next := bytes.Index(skipped[len(beginning):], beginning)
	switch {
	case lineOfBlock.Match(skipped):
		return finding{block + ": it is all in one line, and the lines BEGIN and END must be lines of their own",
			oneLine}, true
	case glued.Match(data):
		return finding{block + ": the line END of a block and the line BEGIN of the next one are in one line, as if " +
			"a file without a newline at its end was copied before another one", oneLine}, true
	case prefixed.Match(data):
		return finding{block + ": there is other text before BEGIN in the same line", oneLine}, true
	case indented.Match(data):
		return finding{block + ": its lines are indented, as in YAML", "sed -E 's/^[[:space:]]+//' FILE > NEW"}, true
	case end == nil || next >= 0 && next+len(beginning) < end[0]:
		return finding{what: block + ": it has no line END, so the file is cut off; copy it again"}, true
	}
	return finding{what: block + ": its base64 is damaged, or its lines BEGIN and END differ; copy it again"}, true
}

func afterSkipped(data, skipped []byte) []byte { return data[bytes.Index(data, skipped):] }

// findBlocks examines a file whose PEM blocks can all be read.
func findBlocks(data []byte, want kind) finding {
	all, _ := blocks(data)
	var types []string
	for _, block := range all {
		types = append(types, block.Type)
		isKey := block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY")
		switch {
		case want == certificate && block.Type == "CERTIFICATE" && len(block.Headers) > 0:
			return finding{"has a certificate with header lines inside the PEM block, which Go skips",
				`sed '/^[A-Za-z-]*: /d' FILE > NEW`}
		case want == certificate && block.Type == "CERTIFICATE":
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return finding{what: fmt.Sprintf("has a certificate that Go cannot read (block %d of the file: %s); "+
					"issue it again",
					len(types), strings.TrimPrefix(err.Error(), "x509: "))}
			}
		case want == key && isKey:
			return findKey(block)
		}
	}
	has := "other PEM blocks"
	if known := regexp.MustCompile(`^[A-Z0-9 ,]{1,60}$`); known.MatchString(strings.Join(types, ", ")) {
		has = "a PEM block of the type " + strings.Join(types, ", ")
	}
	is := func(suffix string) bool { return len(types) > 0 && strings.HasSuffix(types[len(types)-1], suffix) }
	switch {
	case want == certificate && certificates(data) != nil:
		return finding{}
	case is("CERTIFICATE REQUEST"):
		return finding{what: aRequest}
	case want == certificate && (is("TRUSTED CERTIFICATE") || is("X509 CERTIFICATE")):
		return finding{"has " + has + ", a format of OpenSSL, and Go reads only the type CERTIFICATE",
			"openssl x509 -in FILE -out NEW"}
	case want == certificate && (is("PKCS7") || is("CMS")):
		return finding{"is a PKCS #7 file (" + has + "), and Go reads only the type CERTIFICATE",
			"openssl pkcs7 -print_certs -in FILE -out NEW"}
	case want == certificate && is("PRIVATE KEY"):
		return finding{what: "contains a private key and no certificate; give the file of the certificate"}
	case want == key && is("CERTIFICATE"):
		return finding{what: "contains a certificate and no private key; give the file of the key"}
	case is("PUBLIC KEY"):
		return finding{what: fmt.Sprintf("contains a public key, and no %s", want)}
	}
	return finding{what: fmt.Sprintf("contains %s, and no %s", has, want)}
}

// findKey examines a PEM block with a private key.
func findKey(block *pem.Block) finding {
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return finding{"contains a private key that is encrypted with a passphrase, which a kubelet and " +
			"kube-apiserver cannot enter", "openssl pkey -in FILE -out NEW"}
	case block.Type == "OPENSSH PRIVATE KEY":
		return finding{`contains a private key in the format of OpenSSH, which TLS programs do not read`,
			`ssh-keygen -p -P "" -N "" -m PEM -f FILE`}
	}
	switch parsed, err := parseKey(block.Bytes); {
	case err != nil:
		return finding{what: "contains a private key of a kind that Go cannot read (Go reads RSA, ECDSA on P-256, " +
			"P-384 and P-521, and Ed25519); make a new key, and request a certificate for it"}
	default:
		if key, ok := parsed.(*rsa.PrivateKey); ok && key.N.BitLen() < 1024 {
			return finding{what: fmt.Sprintf("contains an RSA key of %d bits, and Go refuses keys of fewer than 1024 "+
				"bits; make a new key of 2048 bits or more, and request a certificate for it", key.N.BitLen())}
		}
	}
	return finding{}
}

// parseKey parses a private key in DER, in the order of crypto/tls.
func parseKey(der []byte) (any, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		switch key.(type) {
		case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
			return key, nil
		}
		return nil, fmt.Errorf("a key of the type %T", key)
	}
	return x509.ParseECPrivateKey(der)
}

// Mismatch states to which certificate a private key belongs, if it is not the first one of the file.
func Mismatch(certFile, keyFile Input) string {
	all, keys := certificates(certFile.data), keyFile.data
	found, _ := blocks(keys)
	for _, block := range found {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		parsed, err := parseKey(block.Bytes)
		signer, ok := parsed.(crypto.Signer)
		if err != nil || !ok || len(all) == 0 {
			return ""
		}
		public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
		for i, c := range all {
			switch {
			case !ok || !public.Equal(c.PublicKey):
			case i == 0:
				return ""
			default:
				return fmt.Sprintf("the key belongs to certificate %d in %s, %q, and that must be the first "+
					"one%s", i+1, certFile.name,
					c.Subject, reorder(certFile, i+1))
			}
		}
		which := fmt.Sprintf("the certificate in %s, %q", certFile.name, all[0].Subject)
		if len(all) > 1 {
			which = fmt.Sprintf("any of the %d certificates in %s, the first of which is %q", len(all), certFile.name,
				all[0].Subject)
		}
		return fmt.Sprintf("the key in %s does not belong to %s: the files are of two pairs, or the certificate was "+
			"issued for another key%s", keyFile.name, which, compare(certFile, keyFile))
	}
	return ""
}

func reorder(file Input, position int) string {
	if file.field {
		return ""
	}
	return "; mend it with: " + Reorder(file.name, position)
}

// Reorder returns a command that makes the certificate at a position the first one in a PEM file.
func Reorder(file string, position int) string {
	return command(fmt.Sprintf(`awk '/^-----BEGIN C/{i++} i==%d{first=first $0 ORS; next} {rest=rest $0 ORS} `+
		`END{printf "%%s%%s", first, rest}' FILE > NEW`, position), file, certificate)
}

func compare(certFile, keyFile Input) string {
	if certFile.field || keyFile.field {
		return ""
	}
	return fmt.Sprintf("; compare the output of openssl x509 -noout -pubkey -in %s with that of openssl pkey -pubout "+
		"-in %s",
		shellword.Quote(certFile.name), shellword.Quote(keyFile.name))
}
