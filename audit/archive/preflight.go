package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// Report says what a role could do to locked objects.
type Report struct {
	Archive  string    `json:"archive"`
	Mode     string    `json:"mode"`
	Time     time.Time `json:"time"`
	Attempts []Attempt `json:"attempts"`
}

// Attempt is one way of destroying an object, tried on one that was written for
// it.
type Attempt struct {
	What string `json:"what"`
	Key  string `json:"key"`
	// Refused: the version has its bytes and its lock as before. That S3 said no is
	// not enough; where adding a version is S3's way to overwrite, that S3 said yes
	// is no harm.
	Refused bool `json:"refused"`
	// How is what S3 answered.
	How string `json:"how"`
}

// Refused reports whether all attempts were.
func (r Report) Refused() bool {
	for _, attempt := range r.Attempts {
		if !attempt.Refused {
			return false
		}
	}
	return len(r.Attempts) > 0
}

// attack is a kind of attempt.
type attack struct {
	what string
	try  func(*S3, context.Context, canary) error
	// adds: S3 may say yes, by adding a version to those that are there.
	adds bool
	mode string // only this one; empty: both
}

var attacks = []attack{
	{what: "delete the version", try: (*S3).deleteVersion},
	{what: "delete the version, bypassing governance", try: (*S3).deleteVersionBypassing},
	{what: "shorten the retention", try: func(s *S3, ctx context.Context, c canary) error {
		return s.shorten(ctx, c, s.cfg.Mode, false)
	}},
	{what: "shorten the retention, bypassing governance", try: func(s *S3, ctx context.Context, c canary) error {
		return s.shorten(ctx, c, s.cfg.Mode, true)
	}},
	{what: "weaken the mode to GOVERNANCE, bypassing governance", mode: Compliance, try: func(s *S3, ctx context.Context, c canary) error {
		return s.shorten(ctx, c, Governance, true)
	}},
	{what: "overwrite the object", adds: true, try: (*S3).overwrite},
	{what: "hide the object behind a delete marker", adds: true, try: (*S3).hide},
}

// Preflight tries with a second role, which should have more rights than the
// writer's, to destroy what the writer wrote. Each attempt has an object of its
// own below CanaryPrefix, as Check leaves one; nothing else is touched, and the
// bucket's configuration isn't either. An error says that it couldn't find out.
func Preflight(ctx context.Context, writer, second *S3, now func() time.Time) (Report, error) {
	if writer.cfg.Bucket != second.cfg.Bucket || writer.cfg.Endpoint != second.cfg.Endpoint || writer.cfg.Mode != second.cfg.Mode {
		return Report{}, errors.New("both roles must be configured for the same bucket and mode")
	}
	report := Report{Archive: writer.String(), Mode: writer.cfg.Mode, Time: now().UTC()}
	for _, a := range attacks {
		if a.mode != "" && a.mode != writer.cfg.Mode {
			continue
		}
		attempt, err := a.run(ctx, writer, second)
		if err != nil {
			return report, fmt.Errorf("%s: %w", a.what, err)
		}
		report.Attempts = append(report.Attempts, attempt)
	}
	return report, nil
}

func (a attack) run(ctx context.Context, writer, second *S3) (Attempt, error) {
	c, err := writer.writeCanary(ctx)
	if err != nil {
		return Attempt{}, err
	}
	answer := a.try(second, ctx, c)
	// A role that S3 doesn't know is refused everything, which proves nothing.
	if answer != nil && (errorStatus(answer)/100 != 4 || unknownCaller(answer)) {
		return Attempt{}, second.failed("", c.key, answer)
	}
	attempt := Attempt{What: a.what, Key: c.key, How: describe(answer)}
	err = writer.readable(ctx, c)
	if err == nil {
		err = writer.lockedUntil(ctx, c, c.until)
	}
	switch {
	case errors.Is(err, errLost), errors.Is(err, ErrNotLocked), errors.Is(err, ErrNotFound):
		attempt.How += ": " + err.Error()
		if writer.cfg.Mode == Governance {
			attempt.How += "; in mode GOVERNANCE, a role with s3:BypassGovernanceRetention can do that"
		}
	case err != nil:
		return Attempt{}, err
	default:
		attempt.Refused = answer != nil || a.adds
	}
	return attempt, nil
}

// describe is S3's answer in one line.
func describe(err error) string {
	if err == nil {
		return "S3 agreed"
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return fmt.Sprintf("%d %s: %.200s", errorStatus(err), api.ErrorCode(), api.ErrorMessage())
	}
	return fmt.Sprint(errorStatus(err))
}

// shorten asks for a retention that ends in an hour.
func (s *S3) shorten(ctx context.Context, c canary, mode string, bypass bool) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
		Bucket: &s.cfg.Bucket, Key: &c.key, VersionId: &c.version, BypassGovernanceRetention: optionalTrue(bypass),
		Retention: &types.ObjectLockRetention{
			Mode: types.ObjectLockRetentionMode(mode), RetainUntilDate: aws.Time(s.now().UTC().Add(time.Hour).Truncate(time.Second)),
		},
	})
	return err
}

func (s *S3) overwrite(ctx context.Context, c canary) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.cfg.Bucket, Key: &c.key, Body: bytes.NewReader([]byte("overwritten")),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256, // a default retention wants one
	})
	return err
}

func (s *S3) hide(ctx context.Context, c canary) error {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.cfg.Bucket, Key: &c.key})
	return err
}
