package pemfile

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"os"
	"regexp"
	"strings"

	"fauxlet/internal/shellword"
)

// Client has the certificate and key files of a client, as a kubeconfig has them. A field with data comes before the
// field with the path.
type Client struct {
	CertFile, KeyFile, CAFile string
	CertData, KeyData, CAData []byte
}

// Explain adds to an error what is wrong with the files, the CAs first.
func (c Client) Explain(err error) error {
	input := func(field, file string, data []byte) Input {
		if len(data) > 0 {
			return Field(field, data)
		}
		return File(file)
	}
	if explained := ExplainCertificate(err, input("certificate-authority-data", c.CAFile, c.CAData)); explained != err {
		return explained
	}
	return ExplainPair(err, input("client-certificate-data", c.CertFile, c.CertData),
		input("client-key-data", c.KeyFile, c.KeyData))
}

// dataField matches a field with base64 in a kubeconfig, and the lines of its value if it is a block.
var dataField = regexp.MustCompile(`(?m)^([ \t-]*)"?((?:certificate-authority|client-certificate|client-key)-data)"?:` +
	`[ \t]*(.*(?:\r?\n[ \t]*(?:-----|[A-Za-z0-9+/=]+\r?$).*)*)`)

// ExplainKubeconfig adds to an error which field of a kubeconfig is not base64, and what to put there.
func ExplainKubeconfig(err error, file string) error {
	data, readError := os.ReadFile(file)
	if err == nil || readError != nil {
		return err
	}
	for _, at := range dataField.FindAllSubmatchIndex(data, -1) {
		name, value := string(data[at[4]:at[5]]), string(data[at[6]:at[7]])
		value = strings.Trim(strings.TrimSpace(value), `"'|>-+ `)
		line := 1 + bytes.Count(data[:at[4]], []byte("\n"))
		compact := strings.Join(strings.Fields(value), "")
		if _, err := base64.StdEncoding.DecodeString(compact); err == nil && !strings.Contains(value, "BEGIN") {
			continue
		}
		what := "is not base64, or not all of it"
		switch {
		case strings.Contains(value, "BEGIN"):
			what = "contains PEM itself, and must contain its base64"
		case strings.HasPrefix(value, "/") || strings.HasSuffix(value, ".crt") || strings.HasSuffix(value, ".pem") ||
			strings.HasSuffix(value, ".key"):
			path := shellword.Quote(value)
			return fmt.Errorf("%w; line %d of %s: %s contains a path; rename the field to %s, or put there the "+
				"output of base64 -w0 %s", err, line, file, name, strings.TrimSuffix(name, "-data"), path)
		case strings.Contains(value, "-") || strings.Contains(value, "_"):
			what = "is in the URL-safe alphabet of base64 (- and _), and must be in the standard one (+ and /)"
		}
		source := cmp.Or(map[string]string{"client-key-data": "KEY-FILE",
			"certificate-authority-data": "CA-FILE"}[name],
			"CERTIFICATE-FILE")
		return fmt.Errorf("%w; line %d of %s: %s %s; put there the output of base64 -w0 %s", err, line, file, name,
			what,
			source)
	}
	return err
}
