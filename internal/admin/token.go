package admin

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"fauxlet/internal/atomicfile"
	"fauxlet/internal/fileaccess"
)

// bearer precedes the token in a token file that a Server writes. The file is a header that curl can send, with
// curl -H @FILE.
const bearer = "Authorization: Bearer "

// TokenFile returns the file in which a Server that makes its own token keeps the token, so that clients of the same
// user find it. The address is an IP address and a port. A host name has no token file, because it may stand for
// several IP addresses, and a server of another user on one of them must not get the token.
func TokenFile(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "", err
	}
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	name := "admin-" + strings.ReplaceAll(net.JoinHostPort(ip.Unmap().String(), port), ":", "_") + ".token"
	return filepath.Join(folder, "fauxlet", strings.NewReplacer("[", "", "]", "").Replace(name)), nil
}

// ReadToken reads the token in a file: in a file of [TokenFile], or in a file with nothing but the token.
func ReadToken(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token := strings.TrimPrefix(strings.TrimSpace(string(data)), bearer)
	if token == "" {
		return "", fmt.Errorf("%s is empty; make a token with: openssl rand -hex 32", file)
	}
	return token, nil
}

// makeToken makes a token for a listener at the address, and writes it to the listener's token file. If it cannot write
// the file, it returns the token, no file and the error.
func makeToken(address string) (token, file string, err error) {
	token = rand.Text()
	if file, err = TokenFile(address); err != nil {
		return token, "", err
	}
	if err := atomicfile.MkdirAll(filepath.Dir(file)); err != nil {
		return token, "", err
	}
	if err := fileaccess.CheckFolder(filepath.Dir(file)); err != nil {
		return token, "", err
	}
	if err := atomicfile.Write(file, []byte(bearer+token+"\n"), 0o600); err != nil {
		return token, "", err
	}
	return token, file, nil
}

// removeToken removes a token file, unless another Server has replaced it.
func removeToken(file, token string) {
	if current, err := ReadToken(file); err == nil && current == token {
		_ = os.Remove(file)
	}
}

// tokenOf returns the token in the file of a Server that makes its own token. It is empty if there is no such file, if
// this user cannot read it, and if another user can have put it there.
func tokenOf(file string) string {
	token, err := ReadToken(file)
	if err != nil || fileaccess.CheckFolder(filepath.Dir(file)) != nil {
		return ""
	}
	return token
}
