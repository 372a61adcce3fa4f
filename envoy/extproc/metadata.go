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
	s, err := wire.FilterMetadata(encoded, metadataNamespace)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, errNoMetadata
	}
	if v := s["v"]; v != "1" {
		return nil, fmt.Errorf("metadata version %q", v)
	}
	m := &metadata{
		decisionID:  s["decision_id"],
		principalID: s["principal_id"],
		server:      s["server"],
		tool:        s["tool"],
		rpcID:       s["rpc_id_json"],
		derived:     s["key_source"] == "derived",
	}
	if m.decisionID == "" {
		return nil, errors.New("metadata without decision_id")
	}
	var errs [9]error
	m.run, errs[6] = choice(s, "exchange", "run", "pass")
	m.retake, errs[7] = choice(s, "on_unknown", "forward", "refuse", "")
	m.bindSession, errs[8] = choice(s, "bind_session", "true", "")
	m.keyed, errs[0] = digest(s, "key_hash", (*[32]byte)(&m.key))
	fingerprinted, err := digest(s, "fingerprint", &m.fingerprint)
	errs[1] = err
	m.lease, errs[2] = milliseconds(s, "lease_ms")
	m.ttl, errs[3] = milliseconds(s, "key_ttl_ms")
	m.slotLimit, errs[4] = number(s, "slot_limit")
	switch {
	case m.keyed && (!fingerprinted || m.ttl <= 0):
		errs[5] = errors.New("key_hash without fingerprint or key_ttl_ms")
	case !m.keyed && s["key_source"] != "":
		errs[5] = errors.New("key_source without key_hash")
	case (m.keyed || m.slotLimit > 0) && m.lease <= 0:
		errs[5] = errors.New("nothing can be held without lease_ms")
	case m.slotLimit > maxSlots || m.lease > maxLease || m.lease > 0 && m.lease < minLease:
		errs[5] = fmt.Errorf("slot_limit %d or lease_ms %v is out of range", m.slotLimit, m.lease)
	case m.bindSession && m.principalID == "":
		errs[5] = errors.New("bind_session without principal_id")
	}
	return m, errors.Join(errs[:]...)
}

// choice reports whether a member has the first of the values that it may have.
func choice(s map[string]string, name string, yes string, others ...string) (bool, error) {
	value := s[name]
	if value != yes && !slices.Contains(others, value) {
		return false, fmt.Errorf("%s is %q", name, value)
	}
	return value == yes, nil
}

func digest(s map[string]string, name string, out *[32]byte) (present bool, err error) {
	value := s[name]
	if value == "" {
		return false, nil
	}
	if len(value) != 2*len(out) {
		return false, fmt.Errorf("%s is no SHA-256 in hex", name)
	}
	if _, err := hex.Decode(out[:], []byte(value)); err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	return true, nil
}

func milliseconds(s map[string]string, name string) (time.Duration, error) {
	n, err := number(s, name)
	return time.Duration(n) * time.Millisecond, err
}

func number(s map[string]string, name string) (int, error) {
	value := s[name]
	if value == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return int(n), nil
}
