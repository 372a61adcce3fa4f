package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Get returns what is there: whoever can change bytes behind the server can change
// a checksum beside them, and a reader wants to know which event was changed.
func (s *S3) Get(ctx context.Context, key, version string) ([]byte, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.cfg.Bucket, Key: &key, VersionId: optional(version)})
	if err != nil {
		return nil, s.notRead("s3:GetObject and s3:GetObjectVersion", key, err)
	}
	defer out.Body.Close()
	if aws.ToInt64(out.ContentLength) > MaxObject {
		return nil, fmt.Errorf("%s: larger than %d bytes", key, MaxObject)
	}
	return readBounded(out.Body, key)
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// notRead tells what isn't there from what couldn't be read.
func (s *S3) notRead(action, key string, err error) error {
	switch code := errorCode(err); {
	case errorHeader(err, "X-Amz-Delete-Marker") == "true":
		return fmt.Errorf("%w: %s/%s: a delete marker", ErrNotFound, s, key)
	case code == "NoSuchKey", code == "NoSuchVersion", code == "NotFound":
		return fmt.Errorf("%w: %s/%s", ErrNotFound, s, key)
	}
	return s.failed(action, key, err)
}

// head asks for what S3 knows of a version.
func (s *S3) head(ctx context.Context, key, version string) (*s3.HeadObjectOutput, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &s.cfg.Bucket, Key: &key, VersionId: optional(version), ChecksumMode: types.ChecksumModeEnabled,
	})
	if err != nil {
		return nil, s.notRead("s3:GetObject and s3:GetObjectVersion", key, err)
	}
	return out, nil
}

// Lock asks for the retention and the legal hold of a version. The latter is shown
// to roles with s3:GetObjectLegalHold; others see none.
func (s *S3) Lock(ctx context.Context, key, version string) (Lock, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	head, err := s.head(ctx, key, version)
	if err != nil {
		return Lock{}, err
	}
	lock := Lock{
		Mode: string(head.ObjectLockMode), RetainUntil: aws.ToTime(head.ObjectLockRetainUntilDate),
		LegalHold: head.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn,
	}
	if lock.Mode != "" && !lock.RetainUntil.IsZero() || lock.LegalHold {
		return lock, nil
	}
	// HEAD leaves out what the role may not see. This says that it may not.
	out, err := s.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{
		Bucket: &s.cfg.Bucket, Key: &key, VersionId: optional(version),
	})
	switch code := errorCode(err); {
	case code == "NoSuchObjectLockConfiguration", code == "InvalidRequest" && missingLock(err),
		err == nil && (out.Retention == nil || out.Retention.Mode == "" || out.Retention.RetainUntilDate == nil):
		return Lock{}, fmt.Errorf("%w: %s, version %s has no retention", ErrNotLocked, key, aws.ToString(head.VersionId))
	case err != nil:
		return Lock{}, s.notRead("s3:GetObjectRetention", key, err)
	}
	return Lock{Mode: string(out.Retention.Mode), RetainUntil: *out.Retention.RetainUntilDate}, nil
}

// Versions asks for a page at a time, when it is needed. Of one key, the current
// version is first.
func (s *S3) Versions(ctx context.Context, prefix, after string) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		// Some servers begin a page with what the marker names, not behind it.
		key, seen := "", map[string]bool{}
		for page, err := range s.pages(ctx, prefix, after, "") {
			if err != nil {
				yield(Version{}, err)
				return
			}
			for _, v := range page.versions {
				if v.Key != key {
					key, seen = v.Key, map[string]bool{}
				}
				if seen[v.ID] || after != "" && v.Key <= after {
					continue
				}
				seen[v.ID] = true
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}

// Folders also finds those that hold nothing but delete markers.
func (s *S3) Folders(ctx context.Context, prefix string) ([]string, error) {
	var folders []string
	for page, err := range s.pages(ctx, prefix, "", "/") {
		if err != nil {
			return nil, err
		}
		for _, folder := range page.folders {
			folders = append(folders, strings.TrimSuffix(strings.TrimPrefix(folder, prefix), "/"))
		}
	}
	slices.Sort(folders)
	return slices.Compact(folders), nil
}

// page is a part of a listing, with its keys decoded.
type page struct {
	versions         []Version
	folders          []string // with prefix and slash
	nextKey, nextTag string   // where the next begins; empty: there is none
}

func (s *S3) pages(ctx context.Context, prefix, after, delimiter string) iter.Seq2[page, error] {
	return func(yield func(page, error) bool) {
		at := page{nextKey: after}
		for {
			next, err := s.page(ctx, prefix, delimiter, at)
			if err != nil {
				yield(page{}, s.failed("s3:ListBucketVersions", prefix, err))
				return
			}
			if !yield(next, nil) || next.nextKey == "" {
				return
			}
			if next.nextKey == at.nextKey && next.nextTag == at.nextTag {
				yield(page{}, s.failed("", prefix, errors.New("the listing doesn't get on")))
				return
			}
			at = next
		}
	}
}

func (s *S3) page(ctx context.Context, prefix, delimiter string, at page) (page, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	out, err := s.client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{
		Bucket: &s.cfg.Bucket, Prefix: optional(prefix), Delimiter: optional(delimiter),
		KeyMarker: optional(at.nextKey), VersionIdMarker: optional(at.nextTag),
		// Keys can hold characters that XML can't.
		EncodingType: types.EncodingTypeUrl,
	})
	if err != nil {
		return page{}, err
	}
	return decodePage(out)
}

func decodePage(out *s3.ListObjectVersionsOutput) (page, error) {
	var errs []error
	decode := func(text *string) string {
		key := aws.ToString(text)
		if out.EncodingType != types.EncodingTypeUrl { // not every server heeds it
			return key
		}
		decoded, err := url.QueryUnescape(key)
		if err != nil {
			errs = append(errs, fmt.Errorf("key %.80q: %w", key, err))
		}
		return decoded
	}
	var p page
	for _, v := range out.Versions {
		p.versions = append(p.versions, Version{
			Key: decode(v.Key), ID: aws.ToString(v.VersionId), Size: aws.ToInt64(v.Size),
			Modified: aws.ToTime(v.LastModified), Latest: aws.ToBool(v.IsLatest),
		})
	}
	for _, m := range out.DeleteMarkers {
		p.versions = append(p.versions, Version{
			Key: decode(m.Key), ID: aws.ToString(m.VersionId), DeleteMarker: true,
			Modified: aws.ToTime(m.LastModified), Latest: aws.ToBool(m.IsLatest),
		})
	}
	slices.SortStableFunc(p.versions, inOrder)
	for _, folder := range out.CommonPrefixes {
		p.folders = append(p.folders, decode(folder.Prefix))
	}
	if aws.ToBool(out.IsTruncated) {
		p.nextKey, p.nextTag = decode(out.NextKeyMarker), aws.ToString(out.NextVersionIdMarker)
		if p.nextKey == "" {
			errs = append(errs, errors.New("the listing is cut short, and doesn't say where"))
		}
	}
	return p, errors.Join(errs...)
}

// inOrder sorts what a page holds as S3 does: by key, and the newest first.
func inOrder(a, b Version) int {
	latest := func(v Version) int {
		if v.Latest {
			return 0
		}
		return 1
	}
	return cmp.Or(strings.Compare(a.Key, b.Key), cmp.Compare(latest(a), latest(b)), b.Modified.Compare(a.Modified))
}
