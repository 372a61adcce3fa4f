package archive

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// errorCode is S3's name for an error; empty if S3 didn't answer.
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// errorStatus is the HTTP status of S3's answer; 0 if there was none.
func errorStatus(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// errorHeader is a header of S3's answer.
func errorHeader(err error, name string) string {
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.Response != nil && response.Response.Response != nil {
		return response.Response.Header.Get(name)
	}
	return ""
}

// missingLock: lock headers are refused by a bucket without Object Lock. S3 has no
// code of its own for that.
func missingLock(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "object lock") || strings.Contains(text, "objectlock")
}

// unknownCaller: S3 refused because it doesn't know who asks, whatever was asked.
func unknownCaller(err error) bool {
	switch errorCode(err) {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
		"AuthorizationHeaderMalformed", "RequestTimeTooSkewed", "InvalidClientTokenId":
		return true
	}
	return false
}

// failed says what to do about an error, where that can be said. action is what
// IAM calls what was tried.
func (s *S3) failed(action, key string, err error) error {
	what := strings.TrimSuffix(s.String()+"/"+key, "/")
	switch {
	case unknownCaller(err):
		return fmt.Errorf("%s: S3 doesn't accept the credentials: %w", what, err)
	case errorStatus(err) == http.StatusForbidden:
		return fmt.Errorf("%s: the role may need %s: %w", what, action, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
