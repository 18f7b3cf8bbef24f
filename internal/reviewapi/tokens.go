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
// No groups are added automatically. The line of a service account's token must therefore have the user name
// system:serviceaccount:NAMESPACE:NAME and the groups system:serviceaccounts and system:serviceaccounts:NAMESPACE.
type Tokens struct {
	authenticator *tokenfile.TokenAuthenticator
	users         []*user.DefaultInfo // users are in the order of the lines of the file
	count         int
	// warnings describe probable mistakes that a kube-apiserver accepts. They contain fingerprints in place of tokens.
	warnings []string
}

// LoadTokens reads a token file. It accepts the same files as a kube-apiserver. If two lines have the same token, the
// later line takes effect. (k8s.io/apiserver: pkg/authentication/token/tokenfile)
func LoadTokens(path string) (*Tokens, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("token file: %w", err)
	}
	return parseTokens(file{name: path, data: data})
}

// NewTokens returns Tokens for a map from each token to its user. The caller must not change the map afterwards.
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
			return nil, fmt.Errorf("token file %s: line %d: %s, at least 3 are needed: token,user,uid and optionally "+
				`"group1,group2"`, f.name, line, count(len(record), "column"))
		}
		token := record[0]
		warn := func(format string, args ...any) {
			tokens.warnings = append(tokens.warnings,
				fmt.Sprintf("token file %s: line %d: ", f.name, line)+fmt.Sprintf(format, args...))
		}
		switch {
		case token == "":
			warn("the token is empty; the line is ignored")
			continue
		case strings.HasPrefix(token, "#"):
			warn("`#` begins no comment here: the line defines a token; remove it")
		case record[1] == "":
			warn("the user name is empty")
		case len(record) > 4:
			warn("%d columns: only the 4th holds groups, the rest is ignored; quote the groups: \"group1,group2\"",
				len(record))
		}
		if slices.ContainsFunc(record, func(column string) bool { return column != strings.TrimSpace(column) }) {
			warn("spaces around a column are part of it; remove them")
		}
		if before, twice := lines[token]; twice {
			warn("token %s is also in line %d; the later line counts", fingerprint(token), before)
		}
		lines[token] = line
		users[token] = &user.DefaultInfo{Name: record[1], UID: record[2]}
		if len(record) > 3 {
			users[token].Groups = strings.Split(record[3], ",")
		}
		tokens.users = append(tokens.users, users[token])
	}
}

// csvError reduces a CSV error to the position and kind of the mistake, because the text of the file contains tokens.
func csvError(err error) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return fmt.Errorf("line %d, column %d: %w", parse.Line, parse.Column, parse.Err)
	}
	return err
}

// AuthenticateToken returns the user of a token. For an unknown token it returns false and no error.
func (t *Tokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	return t.authenticator.AuthenticateToken(ctx, token)
}

// User returns the user of the first line with the given user name, or nil. The caller must not change the user.
func (t *Tokens) User(name string) *user.DefaultInfo {
	for _, u := range t.users {
		if u.Name == name {
			return u
		}
	}
	return nil
}

// summary returns the number of tokens, as in `2 tokens`, followed by the warnings about the token file.
func (t *Tokens) summary() string {
	return strings.Join(append([]string{count(t.count, "token")}, t.warnings...), "; ")
}

// fingerprint returns the first 8 hexadecimal digits of a token's SHA-256, for records and warnings.
func fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:4])
}
