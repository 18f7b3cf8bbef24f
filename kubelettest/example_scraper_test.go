package kubelettest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fauxlet/kubelettest"
)

// scraper is the program under test. It scrapes a kubelet with a token from a file, which is replaced from time to
// time.
type scraper struct {
	client    *http.Client
	url       string
	tokenFile string
	token     []byte
}

func (s *scraper) scrape(ctx context.Context) (string, error) {
	status, body, err := s.get(ctx)
	if err == nil && status == http.StatusUnauthorized {
		// The token in the file may have been replaced since the scraper read the file.
		if s.token, err = os.ReadFile(s.tokenFile); err == nil {
			status, body, err = s.get(ctx)
		}
	}
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("scrape %s: status %d: %s", s.url, status, body)
	}
	return body, err
}

func (s *scraper) get(ctx context.Context) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/metrics/resource", nil)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(s.token)))
	response, err := s.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func TestScraper(t *testing.T) {
	t.Parallel()
	const prometheus = "system:serviceaccount:monitoring:prometheus"
	k := kubelettest.New(t, kubelettest.WithUser(kubelettest.User{
		Name: prometheus, Token: true, Allow: []string{"get nodes/metrics"},
	}))
	tokenFile := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(k.Token(prometheus))
	s := &scraper{client: k.Client(kubelettest.NoCredential), url: k.URL, tokenFile: tokenFile}

	metrics, err := s.scrape(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := `container_memory_working_set_bytes{container="nginx",namespace="default",pod="nginx"} `
	if !strings.Contains(metrics, want) {
		t.Errorf("no %s in\n%s", want, metrics)
	}

	write(k.RotateToken(prometheus)) // RotateToken revokes the first token
	if _, err := s.scrape(t.Context()); err != nil {
		t.Errorf("with a new token in the file: %v", err)
	}

	k.RotateToken(prometheus) // the file still contains the revoked token
	if _, err := s.scrape(t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("with a revoked token: %v", err)
	}

	// The scraper begins without a token. After each 401 it reads the token file and tries again.
	var statuses []int
	for _, d := range k.Decisions() {
		statuses = append(statuses, d.Status)
	}
	if want := []int{401, 200, 401, 200, 401, 401}; !slices.Equal(statuses, want) {
		t.Errorf("the scraper received the statuses %v, want %v", statuses, want)
	}
	k.AssertChecked(t, prometheus, "get nodes/metrics", "get nodes/metrics")
}
