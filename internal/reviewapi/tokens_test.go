package reviewapi

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
)

func TestLoadTokens(t *testing.T) {
	for name, test := range map[string]struct {
		csv, token string
		user       *user.DefaultInfo
		warnings   []string
	}{
		"two groups": {`secret,alice,7,"dev,ops"`, "secret",
			&user.DefaultInfo{Name: "alice", UID: "7", Groups: []string{"dev", "ops"}}, nil},
		"no groups": {"secret,bob,8", "secret", &user.DefaultInfo{Name: "bob", UID: "8"}, nil},
		"empty groups": {`secret,bob,8,""`, "secret",
			&user.DefaultInfo{Name: "bob", UID: "8", Groups: []string{""}}, nil},
		"unknown":    {"secret,bob,8", "other", nil, nil},
		"empty file": {"", "secret", nil, nil},
		"later line counts": {"secret,a,1\n\nsecret,b,2\n", "secret", &user.DefaultInfo{Name: "b", UID: "2"},
			[]string{"line 3: token 2bb80d53 is also in line 1"}},
		"twice, with spaces": {"secret,a,1\nsecret, b,2\n", "secret", &user.DefaultInfo{Name: " b", UID: "2"},
			[]string{"line 2: spaces around a column", "line 2: token 2bb80d53 is also in line 1"}},
		"twice, with unquoted groups": {"secret,a,1\nsecret,b,2,dev,ops\n", "secret",
			&user.DefaultInfo{Name: "b", UID: "2", Groups: []string{"dev"}},
			[]string{"line 2: 5 columns", "line 2: token 2bb80d53 is also in line 1"}},
		"unquoted groups with spaces": {"secret,a,1,dev, ops\n", "secret",
			&user.DefaultInfo{Name: "a", UID: "1", Groups: []string{"dev"}},
			[]string{"line 1: 5 columns", "line 1: spaces around a column"}},
		"no token": {",a,1\nsecret,b,2", "secret", &user.DefaultInfo{Name: "b", UID: "2"},
			[]string{"line 1: the token is empty"}},
		"unquoted groups": {"secret,a,1,dev,ops", "secret",
			&user.DefaultInfo{Name: "a", UID: "1", Groups: []string{"dev"}},
			[]string{"line 1: 5 columns: only the 4th holds groups"}},
		"a comment is none": {"#secret,a,1", "#secret", &user.DefaultInfo{Name: "a", UID: "1"},
			[]string{"line 1: `#` begins no comment"}},
		"no user name": {"secret,,1", "secret", &user.DefaultInfo{UID: "1"},
			[]string{"line 1: the user name is empty"}},
		"spaces are not cut": {"secret, a,1", "secret", &user.DefaultInfo{Name: " a", UID: "1"},
			[]string{"line 1: spaces around a column"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens.csv")
			write(t, path, test.csv)
			tokens, err := LoadTokens(path)
			if err != nil {
				t.Fatal(err)
			}
			response, ok, err := tokens.AuthenticateToken(t.Context(), test.token)
			if err != nil || ok != (test.user != nil) {
				t.Fatalf("authenticated %v, error %v", ok, err)
			}
			if ok {
				got := response.User
				if got.GetName() != test.user.Name || got.GetUID() != test.user.UID ||
					!slices.Equal(got.GetGroups(), test.user.Groups) {
					t.Errorf("user %+v, want %+v", got, test.user)
				}
			}
			if len(tokens.warnings) != len(test.warnings) {
				t.Fatalf("warnings %q, want %q", tokens.warnings, test.warnings)
			}
			for i, want := range test.warnings {
				if !strings.Contains(tokens.warnings[i], path+": "+want) ||
					strings.Contains(tokens.warnings[i], "secret") {
					t.Errorf("warning %q, want %q", tokens.warnings[i], want)
				}
			}
		})
	}
}

func TestLoadTokensRefuses(t *testing.T) {
	for name, test := range map[string]struct{ csv, want string }{
		"two columns":        {"ok,a,1\nsecret,a", `line 2: 2 columns, at least 3 are needed: token,user,uid`},
		"one column":         {"secret", "line 1: 1 column, at least 3"},
		"after a long line":  {"ok,\"a\nb\",1\nsecret,b", "line 3: 2 columns"},
		"a quote inside":     {`secret"x,a,1`, `line 1, column 7: bare " in non-quoted-field`},
		"an unclosed quote":  {`secret,a,1,"dev`, "line 1, column 16: extraneous or missing"},
		"text after a quote": {`"secret"x,a,1`, "line 1, column 8: extraneous or missing"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens.csv")
			write(t, path, test.csv)
			_, err := LoadTokens(path)
			if err == nil || !strings.Contains(err.Error(), "token file "+path+": "+test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error contains a token: %v", err)
			}
		})
	}
	if _, err := LoadTokens(filepath.Join(t.TempDir(), "gone.csv")); err == nil ||
		!strings.Contains(err.Error(), "gone.csv") {
		t.Errorf("no such file: %v", err)
	}
}
