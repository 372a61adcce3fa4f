package testenv_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/sallyport/sallyport/internal/testenv"
)

// TestS3 uses everything of a server that others' tests build on: its users, its
// locks, its files, and that a killed one keeps what it had.
func TestS3(t *testing.T) {
	t.Parallel()
	server := testenv.S3For(t, testenv.S3Options{Users: []string{"writer", "stranger"}})
	if err := server.CreateBucket(t.Context(), "locked", true); err != nil {
		t.Fatal(err)
	}
	if err := server.Allow(t.Context(), "locked", map[string][]string{"writer": {"s3:PutObject", "s3:PutObjectRetention", "s3:ListBucketVersions"}}); err != nil {
		t.Fatal(err)
	}
	input := func() *s3.PutObjectInput {
		return &s3.PutObjectInput{
			Bucket: aws.String("locked"), Key: aws.String("a/b"), Body: strings.NewReader("x"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
			ObjectLockMode: types.ObjectLockModeCompliance, ObjectLockRetainUntilDate: aws.Time(time.Now().Add(time.Hour)),
		}
	}
	if _, err := server.Client("stranger").PutObject(t.Context(), input()); err == nil {
		t.Error("a user whom nothing is allowed wrote an object")
	}
	written, err := server.Client("writer").PutObject(t.Context(), input())
	if err != nil {
		t.Fatal(err)
	}
	endpoint := server.Endpoint()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if server.Endpoint() != endpoint {
		t.Errorf("restarted on %s, was on %s", server.Endpoint(), endpoint)
	}
	_, err = server.Client(testenv.S3Root).DeleteObject(t.Context(), &s3.DeleteObjectInput{
		Bucket: aws.String("locked"), Key: aws.String("a/b"), VersionId: written.VersionId, BypassGovernanceRetention: aws.Bool(true),
	})
	if err == nil {
		t.Error("root deleted a version that is locked")
	}
	if got, err := os.ReadFile(server.File("locked", "a/b")); err != nil || string(got) != "x" {
		t.Errorf("its file: %q (%v)", got, err)
	}
	listed, err := server.Client("writer").ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("locked")})
	if err != nil || len(listed.Versions) != 1 {
		t.Errorf("listed %v (%v)", listed, err)
	}
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
}

func TestS3BinaryThatIsNotThere(t *testing.T) {
	t.Setenv("SALLYPORT_S3SERVER", "none")
	if _, err := testenv.S3Binary(); err == nil || !strings.Contains(err.Error(), "SALLYPORT_S3SERVER") {
		t.Error(err)
	}
}
