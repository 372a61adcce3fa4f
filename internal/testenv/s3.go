package testenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// S3Options say how to run an S3 server.
type S3Options struct {
	Binary string // default: S3Binary()
	// Users may log in beside S3Root, and do what Allow allows them. Their secrets
	// are what S3Secret returns.
	Users []string
	Log   io.Writer // its output; nil: only kept for errors
}

// S3Root is the user of an S3 who owns every bucket and may do everything that
// Object Lock doesn't forbid.
const S3Root = "root"

// S3Region is the region that an S3 is in.
const S3Region = "us-east-1"

// S3Secret is the secret key of a user, who is the access key.
func S3Secret(user string) string { return user + "-testenv-secret" }

// S3 is a running S3 server with Object Lock. A killed one keeps what it had
// acknowledged; a machine that crashes would not. All methods but Restart are
// safe for concurrent use.
type S3 struct {
	*Process
	options S3Options
	dir     string
	address string
}

// S3Binary finds the S3 server: $SALLYPORT_S3SERVER, then what `make tools` built.
func S3Binary() (string, error) {
	if path := os.Getenv("SALLYPORT_S3SERVER"); path != "" {
		if err := executable(path); err != nil {
			return "", fmt.Errorf("server of SALLYPORT_S3SERVER: %w", err)
		}
		return path, nil
	}
	path, err := tool("s3server")
	if err != nil {
		return "", fmt.Errorf("s3server isn't there: run `make tools`, or set SALLYPORT_S3SERVER to its path (%w)", err)
	}
	return path, nil
}

// S3For starts an S3 server that ends with the test, which logs what it said if it
// fails.
func S3For(t redisTest, options S3Options) *S3 {
	t.Helper()
	options.Log = LogOnFailure(t, "S3")
	server, err := StartS3(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Remove(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// StartS3 starts an S3 server without buckets and returns when it answers. ctx
// bounds the start only (30 seconds at most): the server then runs until Stop or
// Kill, or until this process ends.
func StartS3(ctx context.Context, options S3Options) (*S3, error) {
	if options.Binary == "" {
		var err error
		if options.Binary, err = S3Binary(); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "sallyport-s3-")
	if err != nil {
		return nil, err
	}
	s := &S3{options: options, dir: dir}
	const tries = 3
	for try := 1; ; try++ {
		port, err := FreePort()
		if err == nil {
			s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
			err = s.start(ctx)
		}
		if err == nil {
			return s, nil
		}
		if try == tries || !strings.Contains(err.Error(), "address already in use") {
			return nil, errors.Join(fmt.Errorf("start s3: %w", err), s.Remove())
		}
	}
}

// start runs the server on the data that is there.
func (s *S3) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	cmd := lasting(s.options.Binary, "-listen", s.address, "-dir", s.dir)
	users := make([]string, len(s.options.Users))
	for i, user := range s.options.Users {
		users[i] = user + ":" + S3Secret(user)
	}
	cmd.Env = append(os.Environ(), "S3SERVER_ROOT="+S3Root+":"+S3Secret(S3Root), "S3SERVER_USERS="+strings.Join(users, " "))
	process, err := startProcess(cmd, s.options.Log, func() {})
	if err != nil {
		return err
	}
	s.Process = process
	if err := process.AwaitReady(ctx, s.ready); err != nil {
		return errors.Join(err, process.Kill())
	}
	return nil
}

func (s *S3) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint()+"/healthz", http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s", response.Status)
	}
	return nil
}

// Endpoint is the server's URL. Buckets are addressed by path.
func (s *S3) Endpoint() string { return "http://" + s.address }

// Client is a client of a user that doesn't retry.
func (s *S3) Client(user string) *s3.Client {
	return s3.New(s3.Options{
		Region: S3Region, BaseEndpoint: aws.String(s.Endpoint()), UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(user, S3Secret(user), ""),
	})
}

// CreateBucket makes a bucket, with versions and Object Lock or without both.
func (s *S3) CreateBucket(ctx context.Context, name string, locked bool) error {
	_, err := s.Client(S3Root).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: &locked})
	if err != nil {
		return fmt.Errorf("create bucket %s: %w", name, err)
	}
	return nil
}

// Allow lets users do with a bucket and its objects what the actions name, such as
// {"writer": {"s3:PutObject"}}, and nothing else.
func (s *S3) Allow(ctx context.Context, bucket string, actions map[string][]string) error {
	type statement struct {
		Effect           string
		Principal        map[string][]string
		Action, Resource []string
	}
	policy := struct {
		Version   string
		Statement []statement
	}{Version: "2012-10-17"}
	arn := "arn:aws:s3:::" + bucket
	for user, allowed := range actions {
		ofObjects := statement{"Allow", map[string][]string{"AWS": {user}}, nil, []string{arn + "/*"}}
		ofBucket := ofObjects
		ofBucket.Resource = []string{arn}
		for _, action := range allowed {
			if strings.Contains(action, "Bucket") {
				ofBucket.Action = append(ofBucket.Action, action)
			} else {
				ofObjects.Action = append(ofObjects.Action, action)
			}
		}
		for _, part := range []statement{ofObjects, ofBucket} {
			if len(part.Action) > 0 {
				policy.Statement = append(policy.Statement, part)
			}
		}
	}
	text, err := json.Marshal(policy)
	if err != nil {
		return err
	}
	_, err = s.Client(S3Root).PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: aws.String(string(text))})
	if err != nil {
		return fmt.Errorf("allow actions on bucket %s: %w", bucket, err)
	}
	return nil
}

// File is the file that holds the current version of an object, for tests that
// change what S3 can't.
func (s *S3) File(bucket, key string) string {
	return filepath.Join(s.dir, "objects", bucket, filepath.FromSlash(key))
}

// Restart starts a server that was stopped or killed, on the same address and
// data. It returns when it answers.
func (s *S3) Restart(ctx context.Context) error {
	<-s.Done()
	if err := s.start(ctx); err != nil {
		return fmt.Errorf("restart s3: %w", err)
	}
	return nil
}

// Remove kills the server, if it still runs, and forgets its data.
func (s *S3) Remove() error {
	var err error
	if s.Process != nil {
		err = s.Kill()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
