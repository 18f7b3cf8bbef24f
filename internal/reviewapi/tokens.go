package reviewapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Tokens are the tokens of a file in the format of kube-apiserver's --token-auth-file: CSV lines with a token, a user
// name, a user UID and, optionally, the groups in one quoted column.
//
//	31ada4fd-adec-460c,alice,1001,"dev,ops"
//
// The user of a service account's token is system:serviceaccount:NAMESPACE:NAME. Its line must list the groups
// system:serviceaccounts and system:serviceaccounts:NAMESPACE: they are not added.
type Tokens struct {
	authenticator *tokenfile.TokenAuthenticator
	users         []*user.DefaultInfo // in the order of the lines
	count         int
	// Warnings describe lines that a kube-apiserver accepts, but that are probably mistakes. They contain no tokens,
	// only fingerprints.
	Warnings []string
}

// LoadTokens reads a token file. It accepts what a kube-apiserver accepts. If a token occurs twice, its last line
// takes effect. Errors name the file and the line. (k8s.io/apiserver: pkg/authentication/token/tokenfile)
func LoadTokens(path string) (*Tokens, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("token file: %w", err)
	}
	return parseTokens(file{name: path, data: data})
}

// NewTokens returns tokens with their users. The caller must not change the map afterwards.
func NewTokens(users map[string]*user.DefaultInfo) *Tokens {
	return &Tokens{authenticator: tokenfile.New(users), users: slices.Collect(maps.Values(users)), count: len(users)}
}

func parseTokens(f file) (*Tokens, error) {
	tokens := &Tokens{}
	users, lines := map[string]*user.DefaultInfo{}, map[string]int{}
	reader := csv.NewReader(bytes.NewReader(f.data))
	reader.FieldsPerRecord = -1
	for {
		record, err := reader.Read()
		if err == io.EOF {
			tokens.authenticator, tokens.count = tokenfile.New(users), len(users)
			return tokens, nil
		}
		if err != nil {
			return nil, fmt.Errorf("token file %s: %w", f.name, csvError(err))
		}
		line, _ := reader.FieldPos(0)
		if len(record) < 3 {
			return nil, fmt.Errorf(`token file %s: line %d: %s, at least 3 are needed: token,user,uid and optionally "group1,group2"`, f.name, line, count(len(record), "column"))
		}
		token := record[0]
		if token == "" {
			tokens.warn("%s: line %d: the token is empty; the line is ignored", f.name, line)
			continue
		}
		tokens.check(f.name, line, record)
		if before, twice := lines[token]; twice {
			tokens.warn("%s: line %d: token %s is also in line %d; the later line counts", f.name, line,
				Fingerprint(token), before)
		}
		lines[token] = line
		users[token] = &user.DefaultInfo{Name: record[1], UID: record[2]}
		if len(record) > 3 {
			users[token].Groups = strings.Split(record[3], ",")
		}
		tokens.users = append(tokens.users, users[token])
	}
}

// csvError returns the position and kind of a mistake, without any text of the file, which may contain tokens.
func csvError(err error) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return fmt.Errorf("line %d, column %d: %w", parse.Line, parse.Column, parse.Err)
	}
	return err
}

// check warns about a line that is probably a mistake.
func (t *Tokens) check(name string, line int, record []string) {
	switch {
	case strings.HasPrefix(record[0], "#"):
		t.warn("%s: line %d: `#` begins no comment here: the line defines a token; remove it", name, line)
	case record[1] == "":
		t.warn("%s: line %d: the user name is empty", name, line)
	case len(record) > 4:
		t.warn("%s: line %d: %d columns: only the 4th holds groups, the rest is ignored; quote the groups: "+
			"\"group1,group2\"", name, line, len(record))
	}
	for _, column := range record {
		if column != strings.TrimSpace(column) {
			t.warn("%s: line %d: spaces around a column are part of it; remove them", name, line)
			return
		}
	}
}

func (t *Tokens) warn(format string, args ...any) {
	t.Warnings = append(t.Warnings, "token file "+fmt.Sprintf(format, args...))
}

// AuthenticateToken returns the user of a token. For an unknown token it returns false and no error.
func (t *Tokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	return t.authenticator.AuthenticateToken(ctx, token)
}

// User returns the user with the given name, with the UID and groups in the first line for that name. The caller
// must not change it.
func (t *Tokens) User(name string) (user.Info, bool) {
	for _, u := range t.users {
		if u.Name == name {
			return u, true
		}
	}
	return nil, false
}

// Summary returns the number of tokens, as in `2 tokens`.
func (t *Tokens) Summary() string { return count(t.count, "token") }

// Fingerprint returns the first 8 hexadecimal digits of a token's SHA-256, by which records and warnings name the
// token.
func Fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:4])
}
