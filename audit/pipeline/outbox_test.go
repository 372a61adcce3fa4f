package pipeline

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/sallyport/sallyport/internal/durable"
)

// What an attempt to put a cut has left never meets what the next one puts, however
// far that comes.
func TestOutboxPutsAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o, err := openOutbox(dir)
	if err != nil {
		t.Fatal(err)
	}
	// An attempt whose last fsync failed has left everything.
	if err := errors.Join(durable.WriteFile(o.path(7, "batch"), []byte("old")), durable.WriteFile(o.path(7, "seal"), []byte("old seal"))); err != nil {
		t.Fatal(err)
	}
	// The next one comes to the batch, and then ends as by a crash.
	stop := o.path(7, "seal") + "~"
	if err := os.Mkdir(stop, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := o.put(7, []byte("new"), []byte("new seal")); err == nil {
		t.Fatal("a seal was written where none can be")
	}
	if batch, err := os.ReadFile(o.path(7, "batch")); err != nil || string(batch) != "new" {
		t.Fatalf("the batch is %q, %v", batch, err)
	}
	if seal, err := os.ReadFile(o.path(7, "seal")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the new batch has the seal %q, %v", seal, err)
	}
	if err := os.Remove(stop); err != nil {
		t.Fatal(err)
	}
	if err := o.put(7, []byte("newer"), []byte("newer seal")); err != nil {
		t.Fatal(err)
	}
	if seal, err := os.ReadFile(o.path(7, "seal")); err != nil || string(seal) != "newer seal" {
		t.Errorf("the seal is %q, %v", seal, err)
	}
}

// A seal that can't be removed keeps its batch.
func TestOutboxKeepsPairs(t *testing.T) {
	t.Parallel()
	o, err := openOutbox(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	old := []byte("old")
	if err := durable.WriteFile(o.path(7, "batch"), old); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(o.path(7, "seal")+"/full", 0o700); err != nil { // as good as immutable
		t.Fatal(err)
	}
	if err := o.put(7, []byte("new"), nil); err == nil {
		t.Error("it was put")
	}
	if batch, err := os.ReadFile(o.path(7, "batch")); err != nil || !bytes.Equal(batch, old) {
		t.Errorf("the batch is %q, %v", batch, err)
	}
}
