package extauthz

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of envoy.service.auth.v3.CheckResponse that an answer uses.
const (
	fieldStatus          = 1 // CheckResponse.status (google.rpc.Status)
	fieldDenied          = 2 // CheckResponse.denied_response
	fieldOK              = 3 // CheckResponse.ok_response
	fieldDynamicMetadata = 4 // CheckResponse.dynamic_metadata (google.protobuf.Struct)

	fieldStatusCode = 1

	fieldDeniedStatus  = 1 // envoy.type.v3.HttpStatus
	fieldDeniedHeaders = 2
	fieldDeniedBody    = 3
	fieldHTTPStatus    = 1

	fieldOKHeaders         = 2
	fieldOKHeadersToRemove = 5
	fieldOKResponseHeaders = 6

	fieldOptionHeader       = 1 // HeaderValueOption.header
	fieldOptionAppendAction = 3

	fieldMapKey   = 1
	fieldMapValue = 2

	fieldStructFields = 1
	fieldValueString  = 3

	overwriteOrAdd = 2 // HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
)

// header writes one HeaderValueOption that replaces what was there. The value
// goes into "value": ext_authz, other than ext_proc, doesn't read raw_value (seen
// with Envoy 1.40: the header arrives empty).
func (w *writer) header(num protowire.Number, name, value string) {
	option := w.open(num)
	line := w.open(fieldOptionHeader)
	w.text(fieldHeaderKey, name)
	w.text(fieldHeaderValue, value)
	w.close(line)
	w.number(fieldOptionAppendAction, overwriteOrAdd)
	w.close(option)
}

// member writes one string field of a google.protobuf.Struct; empty ones are
// left out.
func (w *writer) member(name, value string) {
	if value == "" {
		return
	}
	entry := w.open(fieldStructFields)
	w.text(fieldMapKey, name)
	v := w.open(fieldMapValue)
	w.text(fieldValueString, value)
	w.close(v)
	w.close(entry)
}
