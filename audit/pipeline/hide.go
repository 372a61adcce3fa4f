package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/sallyport/sallyport/audit/ledger"
)

// Subjects gives users pseudonyms and encrypts what tells who they are; see
// package subjects.
type Subjects interface {
	Hide(ctx context.Context, issuer, subject string, plaintext, bound []byte) (pseudonym string, sealed []byte, err error)
}

// hider replaces what tells who a user is before an event is hashed, so that it
// can be made unreadable later without changing the event.
type hider struct{ subjects Subjects }

// personal is what is hidden together.
type personal struct {
	UserID        string          `json:"user_id,omitempty"`
	Principal     json.RawMessage `json:"principal,omitempty"`
	ClientAddress json.RawMessage `json:"client_address,omitempty"`
}

// event is the part of an event that holds personal data, in the order in which
// it is written; see audit.Event.
type event struct {
	EventID       string                     `json:"event_id"`
	Timestamp     string                     `json:"timestamp"`
	EventType     string                     `json:"event_type"`
	CorrelationID string                     `json:"correlation_id,omitempty"`
	UserID        string                     `json:"user_id,omitempty"`
	ToolName      string                     `json:"tool_name,omitempty"`
	Action        string                     `json:"action,omitempty"`
	Status        string                     `json:"status,omitempty"`
	Metadata      map[string]json.RawMessage `json:"metadata,omitempty"`
}

// addressed are the members that may hold an address, where no principal is known.
// Of an outcome the source is no address.
var addressed = map[string]string{"decision": "client_address", "denials": "source"}

// hide returns the event with its user hidden. bound is what the ciphertext is
// bound to: the event's place in its log.
func (h *hider) hide(ctx context.Context, line, bound []byte) ([]byte, error) {
	kind := ledger.LeafType(line)
	if !bytes.Contains(line, []byte(`"principal":{`)) && addressed[kind] == "" {
		return line, nil
	}
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		return nil, err
	}
	var who struct {
		ID, Issuer, Subject, Client string
	}
	if text, ok := e.Metadata["principal"]; ok {
		if err := json.Unmarshal(text, &who); err != nil {
			return nil, err
		}
	}
	subject := cmp.Or(who.Subject, who.Client, who.ID)
	if subject == "" { // nobody who is known: the network must do
		if text, ok := e.Metadata[addressed[kind]]; ok {
			var address string
			if err := json.Unmarshal(text, &address); err != nil {
				return nil, err
			}
			e.Metadata[addressed[kind]] = quote(network(address))
		}
		return json.Marshal(e)
	}
	plain, err := json.Marshal(personal{UserID: e.UserID, Principal: e.Metadata["principal"], ClientAddress: e.Metadata["client_address"]})
	if err != nil {
		return nil, err
	}
	pseudonym, sealed, err := h.subjects.Hide(ctx, who.Issuer, subject, plain, bound)
	if err != nil {
		return nil, fmt.Errorf("hide user: %w", err)
	}
	e.UserID = pseudonym
	e.Metadata["principal"] = json.RawMessage(`{"pseudonym":` + string(quote(pseudonym)) + `}`)
	e.Metadata["personal"] = quote(base64.StdEncoding.EncodeToString(sealed))
	delete(e.Metadata, "client_address")
	return json.Marshal(e)
}

// Bound is what the ciphertext in an event is bound to: the event's place in its log.
func Bound(origin string, seq uint64) []byte { return fmt.Appendf(nil, "%s %d", origin, seq) }

func quote(s string) json.RawMessage {
	text, _ := json.Marshal(s) // a string always encodes
	return text
}

// network is the address or network without what names a single host: /24 or /48.
// What is neither, such as the id of a principal, is left out.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if prefix, prefixErr := netip.ParsePrefix(address); prefixErr == nil {
		ip, err = prefix.Addr(), nil
	}
	if err != nil {
		return ""
	}
	bits := 48
	if ip.Unmap().Is4() {
		ip, bits = ip.Unmap(), 24
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return prefix.String()
}
