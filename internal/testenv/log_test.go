package testenv

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestLogBufferKeepsTheEnd(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		writes []string
		want   string
	}{
		"empty":              {nil, ""},
		"short":              {[]string{"ab", "cd"}, "abcd"},
		"twice the limit":    {[]string{"12345678"}, "12345678"},
		"beyond":             {[]string{"12345678", "9"}, "[…]6789"},
		"one long write":     {[]string{"123456789"}, "[…]6789"},
		"short again, later": {[]string{"123456789", "a", "b"}, "[…]6789ab"},
	}
	for name, test := range tests {
		b := NewLogBuffer(4)
		for _, text := range test.writes {
			if n, err := b.Write([]byte(text)); n != len(text) || err != nil {
				t.Errorf("%s: Write returned %d, %v", name, n, err)
			}
		}
		if got := b.String(); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestLogBufferIsConcurrent(t *testing.T) {
	t.Parallel()
	b := NewLogBuffer(1 << 10)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				fmt.Fprintln(b, "line")
				_ = b.String()
			}
		})
	}
	group.Wait()
	if lines := strings.Count(b.String(), "line\n"); lines < 1<<10/5-1 {
		t.Errorf("%d lines are left", lines)
	}
}

// fakeTest plays a test that has failed or not.
type fakeTest struct {
	failed  bool
	cleanup []func()
	logged  string
}

func (f *fakeTest) Helper()          {}
func (f *fakeTest) Failed() bool     { return f.failed }
func (f *fakeTest) Cleanup(c func()) { f.cleanup = append(f.cleanup, c) }
func (f *fakeTest) Logf(format string, args ...any) {
	f.logged += fmt.Sprintf(format, args...)
}

func TestLogOnFailure(t *testing.T) {
	t.Parallel()
	for failed, want := range map[bool]string{true: "Envoy:\nit broke", false: ""} {
		test := &fakeTest{failed: failed}
		fmt.Fprint(LogOnFailure(test, "Envoy"), "it broke")
		for _, cleanup := range test.cleanup {
			cleanup()
		}
		if test.logged != want {
			t.Errorf("failed %v: logged %q, want %q", failed, test.logged, want)
		}
	}
}
