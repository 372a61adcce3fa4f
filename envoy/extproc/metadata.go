package extproc

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sallyport/sallyport/envoy/wire"
	"github.com/sallyport/sallyport/idempotency"
)

// metadataNamespace is where ext_authz leaves the decision's metadata. A client
// can't write there.
const metadataNamespace = "envoy.filters.http.ext_authz"

// metadata is the decision by value (protos/sallyport/decision/v1): nothing of
// the request is parsed again, and no configuration is looked up.
type metadata struct {
	decisionID  string
	run         bool
	principalID string
	server      string
	tool        string
	rpcID       string // empty: a REST call
	keyed       bool
	key         idempotency.Key
	derived     bool // the key is not the client's own
	fingerprint [32]byte
	lease       time.Duration
	ttl         time.Duration
	retake      bool
	slotLimit   int
	bindSession bool
	approval    string // id of the approval to spend; empty: none is needed
	askAt       string // where another approval is asked for
	stateless   bool   // MCP 2026-07-28 or later
}

// Wider than what can be configured.
const (
	maxSlots = 1_000_000
	minLease = 100 * time.Millisecond
	maxLease = time.Hour
)

var errNoMetadata = errors.New("no metadata of a decision")

// readMetadata refuses what it doesn't know: a version, a value out of shape.
// It reads an encoded envoy.config.core.v3.Metadata.
func readMetadata(encoded string) (*metadata, error) {
	values, err := wire.FilterMetadata(encoded, metadataNamespace)
	if err != nil {
		return nil, err
	}
	if values == nil {
		return nil, errNoMetadata
	}
	if v := values["v"]; v != "1" {
		return nil, fmt.Errorf("metadata version %q", v)
	}
	s := members{values: values}
	m := &metadata{
		decisionID:  values["decision_id"],
		run:         s.choice("exchange", "run", "pass"),
		principalID: values["principal_id"],
		server:      values["server"],
		tool:        values["tool"],
		rpcID:       values["rpc_id_json"],
		derived:     values["key_source"] == "derived",
		lease:       s.milliseconds("lease_ms"),
		ttl:         s.milliseconds("key_ttl_ms"),
		retake:      s.choice("on_unknown", "forward", "refuse", ""),
		slotLimit:   s.number("slot_limit"),
		bindSession: s.choice("bind_session", "true", ""),
		approval:    values["approval_id"],
		askAt:       values["elevation_url"],
		stateless:   s.choice("stateless", "true", ""),
	}
	m.keyed = s.digest("key_hash", (*[32]byte)(&m.key))
	fingerprinted := s.digest("fingerprint", &m.fingerprint)
	switch {
	case m.decisionID == "":
		s.refuse("no decision_id")
	case m.keyed && (!fingerprinted || m.ttl <= 0):
		s.refuse("key_hash without fingerprint or key_ttl_ms")
	case !m.keyed && values["key_source"] != "":
		s.refuse("key_source without key_hash")
	case (m.keyed || m.slotLimit > 0) && m.lease <= 0:
		s.refuse("nothing can be held without lease_ms")
	case m.slotLimit > maxSlots || m.lease > maxLease || m.lease > 0 && m.lease < minLease:
		s.refuse("slot_limit %d or lease_ms %v is out of range", m.slotLimit, m.lease)
	case m.bindSession && m.principalID == "":
		s.refuse("bind_session without principal_id")
	case m.approval != "" && (!m.keyed || m.principalID == ""):
		s.refuse("approval_id without key_hash and principal_id")
	}
	return m, errors.Join(s.errs...)
}

// members reads values and collects what is wrong with them.
type members struct {
	values map[string]string
	errs   []error
}

func (s *members) refuse(format string, arguments ...any) {
	s.errs = append(s.errs, fmt.Errorf("metadata: "+format, arguments...))
}

// choice reports whether a member has the first of the values that it may have.
func (s *members) choice(name, yes string, others ...string) bool {
	value := s.values[name]
	if value != yes && !slices.Contains(others, value) {
		s.refuse("%s is %q", name, value)
	}
	return value == yes
}

func (s *members) digest(name string, out *[32]byte) (present bool) {
	value := s.values[name]
	if value == "" {
		return false
	}
	digest, err := hex.DecodeString(value)
	if err != nil || len(digest) != len(out) {
		s.refuse("%s is no SHA-256 in hex", name)
		return false
	}
	copy(out[:], digest)
	return true
}

func (s *members) milliseconds(name string) time.Duration {
	return time.Duration(s.number(name)) * time.Millisecond
}

func (s *members) number(name string) int {
	value := s.values[name]
	if value == "" {
		return 0
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		s.refuse("%s: %w", name, err)
	}
	return int(n)
}
