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

// Tokens are the tokens of a file in the format of kube-apiserver's `--token-auth-file`: CSV lines of token, user name,
// user uid and, optionally, the groups in one quoted column.
//
//	31ada4fd-adec-460c,alice,1001,"dev,ops"
//
// A service account's token is a line like any other, for the user system:serviceaccount:NAMESPACE:NAME; its groups
// system:serviceaccounts and system:serviceaccounts:NAMESPACE are not added by themselves.
type Tokens struct {
	authenticator *tokenfile.TokenAuthenticator
	users         []*user.DefaultInfo // in the order of the lines
	count         int
	// Warnings say what a kube-apiserver accepts and the file's author hardly meant. They show tokens as fingerprints.
	Warnings []string
}

// LoadTokens reads a token file. It accepts what a kube-apiserver accepts, last line first where a token is there
// twice; errors name the file and the line. (k8s.io/apiserver: pkg/authentication/token/tokenfile, which does the same
// without lines, and tells of duplicates in the log only)
func LoadTokens(path string) (*Tokens, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("token file: %w", err)
	}
	return parseTokens(file{name: path, data: data})
}

// NewTokens are tokens with their users. The map is not to be changed any more.
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
			tokens.warn("%s: line %d: no token in it: the line is passed over", f.name, line)
			continue
		}
		tokens.judge(f.name, line, record)
		if before, twice := lines[token]; twice {
			tokens.warn("%s: line %d: token %s is in line %d too: this line counts", f.name, line, Fingerprint(token), before)
		}
		lines[token] = line
		users[token] = &user.DefaultInfo{Name: record[1], UID: record[2]}
		if len(record) > 3 {
			users[token].Groups = strings.Split(record[3], ",")
		}
		tokens.users = append(tokens.users, users[token])
	}
}

// csvError keeps the place and the kind of mistake, and leaves out anything else that the error may come to quote.
func csvError(err error) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return fmt.Errorf("line %d, column %d: %w", parse.Line, parse.Column, parse.Err)
	}
	return err
}

// judge warns of lines that mean something else than they look like.
func (t *Tokens) judge(name string, line int, record []string) {
	switch {
	case strings.HasPrefix(record[0], "#"):
		t.warn("%s: line %d: `#` begins no comment here: the line defines a token; remove it", name, line)
	case record[1] == "":
		t.warn("%s: line %d: the user name is empty", name, line)
	case len(record) > 4:
		t.warn("%s: line %d: %d columns: only the 4th holds groups, the rest is ignored; quote the groups: \"group1,group2\"", name, line, len(record))
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

// AuthenticateToken finds the user of a token. An unknown token is no error: the answer is false.
func (t *Tokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	return t.authenticator.AuthenticateToken(ctx, token)
}

// User gives the user of that name, as the first line about it has it, with uid and groups. It is not to be changed.
func (t *Tokens) User(name string) (user.Info, bool) {
	for _, u := range t.users {
		if u.Name == name {
			return u, true
		}
	}
	return nil, false
}

// Summary says how many tokens there are: `2 tokens`.
func (t *Tokens) Summary() string { return count(t.count, "token") }

// Fingerprint is how a token is shown: the first 8 hexadecimal digits of its SHA-256.
func Fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:4])
}
