package testcerts

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

// TestFolderThatCannotBeListed checks that issuedBy returns an error if it cannot list the folder. Without the list it
// does not know whether a new CA would invalidate a certificate in the folder.
func TestFolderThatCannotBeListed(t *testing.T) {
	ca, err := NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	missing := &Folder{filepath.Join(t.TempDir(), "missing")}
	if _, err := missing.issuedBy(ca.Cert); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want one that wraps fs.ErrNotExist", err)
	}
}
