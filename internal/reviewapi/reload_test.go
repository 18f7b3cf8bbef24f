package reviewapi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestReload changes a file in each way that editors and Kubernetes use, and waits until the change takes effect.
func TestReload(t *testing.T) {
	const before = "before,alice,1\n"
	const after = "after,bob,2\n"
	for name, change := range map[string]func(t *testing.T, folder, path string){
		"written in place": func(t *testing.T, _, path string) { write(t, path, after) },
		"replaced by a rename": func(t *testing.T, folder, path string) {
			write(t, filepath.Join(folder, "tokens.csv.new"), after)
			rename(t, filepath.Join(folder, "tokens.csv.new"), path)
		},
		"moved away, written anew": func(t *testing.T, _, path string) {
			rename(t, path, path+"~")
			write(t, path, after)
		},
		"removed, written anew": func(t *testing.T, _, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			write(t, path, after)
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "tokens.csv")
			write(t, path, before)
			server, address := start(t, Options{Tokens: path})
			c := client(t, server.RESTConfig(address))
			if review, err := askToken(t, c, "before"); err != nil || !review.Status.Authenticated {
				t.Fatalf("before: %+v, %v", review.Status, err)
			}
			change(t, folder, path)
			eventually(t, "new token", func() bool {
				review, err := askToken(t, c, "after")
				return err == nil && review.Status.Authenticated
			})
			if review, err := askToken(t, c, "before"); err != nil || review.Status.Authenticated {
				t.Errorf("the removed token is still valid: %+v, %v", review.Status, err)
			}
		})
	}
}

// TestReloadThroughLinks imitates a mounted ConfigMap. Its folder contains links to files below `..data`, which is
// itself a link to the folder with the current version. An update of the ConfigMap replaces the link `..data`.
func TestReloadThroughLinks(t *testing.T) {
	folder := t.TempDir()
	version := func(name, csv string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, name, "tokens.csv"), csv)
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "one,alice,1\n")
	link("..1", "..data")
	link("..data/tokens.csv", "tokens.csv")
	server, address := start(t, Options{Tokens: filepath.Join(folder, "tokens.csv")})
	c := client(t, server.RESTConfig(address))
	for _, swap := range []struct{ to, token string }{{"..2", "two"}, {"..3", "three"}} {
		version(swap.to, swap.token+",alice,1\n")
		link(swap.to, "..data_tmp")
		rename(t, filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data"))
		eventually(t, swap.token, func() bool {
			review, err := askToken(t, c, swap.token)
			return err == nil && review.Status.Authenticated
		})
	}

	elsewhere := filepath.Join(t.TempDir(), "target.csv")
	write(t, elsewhere, "four,alice,1\n")
	link(elsewhere, "tokens.new")
	rename(t, filepath.Join(folder, "tokens.new"), filepath.Join(folder, "tokens.csv"))
	eventually(t, "four", func() bool {
		review,
			err := askToken(t, c, "four")
		return err == nil && review.Status.Authenticated
	})
	write(t, elsewhere, "five,alice,1\n")
	eventually(t, "five", func() bool {
		review,
			err := askToken(t, c, "five")
		return err == nil && review.Status.Authenticated
	})
}

// TestReloadKeepsTheLastValidFile checks that the last valid content stays in use when the manifests or the token file
// become invalid, and that the error is reported once. It also checks that, while one of these two is invalid, changes
// of the other still take effect.
func TestReloadKeepsTheLastValidFile(t *testing.T) {
	folder, tokens := t.TempDir(), filepath.Join(t.TempDir(), "tokens.csv")
	roles, bindings := filepath.Join(folder, "a.yaml"), filepath.Join(folder, "b.yaml")
	write(t, tokens, "one,alice,1\n")
	write(t, roles, aRole)
	write(t, bindings, aBinding+"subjects: [{kind: User, name: alice}]\n")
	core, logged := observer.New(zap.InfoLevel)
	server, address := start(t, Options{RBAC: []string{folder}, Tokens: tokens, Logger: zap.New(core)})
	if got, want := server.Summary(), "1 role, 1 binding; 1 token"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	c := client(t, server.RESTConfig(address))
	allowed := func(user string) bool {
		t.Helper()
		review, err := askAccess(t, c, question{user: user, verb: "get", what: "pods"})
		if err != nil {
			t.Fatal(err)
		}
		return review.Status.Allowed
	}
	next := func(wantError, wantSummary string) {
		t.Helper()
		eventually(t, "a log entry", func() bool { return logged.Len() > 0 })
		for _, entry := range logged.TakeAll() {
			fields := entry.ContextMap()
			failed, _ := fields["error"].(string)
			if (failed == "") != (wantError == "") || !strings.Contains(failed, wantError) ||
				fields["inUse"] != wantSummary {
				t.Errorf("logged %v\nwant %q, %q", fields, wantError, wantSummary)
			}
		}
	}
	if !allowed("alice") || allowed("bob") {
		t.Fatal("the policy does not match the files before the change")
	}

	replace(t, bindings, aBinding+"subjects: [{kind: User, nom: bob}]\n")
	next(bindings+`: document 1: ClusterRoleBinding: strict decoding error: unknown field "subjects[0].nom"`,
		"1 role, 1 binding")
	if !allowed("alice") || allowed("bob") {
		t.Error("an invalid file changed the policy")
	}

	replace(t, tokens, "one,alice,1\nsec'ret,x\n")
	next("token file "+tokens+": line 2: 2 columns", "1 token")
	replace(t, tokens, "one,alice,1\ntwo,bob,2\n#,x,3\n")
	next("", "3 tokens; token file "+tokens+": line 3: `#` begins no comment here: the line defines a token; remove it")

	replace(t, bindings, aBinding+"subjects: [{kind: User, name: bob}]\n")
	next("", "1 role, 1 binding")
	if allowed("alice") || !allowed("bob") {
		t.Error("a valid file did not change the policy")
	}
	if err := os.Remove(roles); err != nil {
		t.Fatal(err)
	}
	next("", "0 roles, 1 binding")
	if err := os.Remove(bindings); err != nil {
		t.Fatal(err)
	}
	next("contains no .yaml, .yml or .json file", "0 roles, 1 binding")
	if logged.Len() != 0 {
		t.Errorf("logged again: %+v", logged.All())
	}
}

// TestNothingToReload checks that a server without files does not watch anything.
func TestNothingToReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		ended := false
		go func() { server.watch(t.Context()); ended = true }()
		synctest.Wait()
		if !ended {
			t.Error("a server without files watches files")
		}
	})
}

// replace replaces a file atomically, so that no reader sees only a part of the new content.
func replace(t testing.TB, path, content string) {
	t.Helper()
	write(t, path+"~", content)
	rename(t, path+"~", path)
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
