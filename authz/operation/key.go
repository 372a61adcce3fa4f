package operation

// The members of params._meta in which a client gives its idempotency key. MCP
// reserves unprefixed names, so ours is KeyMember; the plain one is what clients
// already send.
const (
	KeyMember      = "io.github.sallyport/idempotencyKey"
	plainKeyMember = "idempotencyKey"
)

const maxKeyLen = 255

// idempotencyKey reads the key from params._meta; empty if there is none.
func (m *message) idempotencyKey() (string, *Refusal) {
	var key string
	for _, node := range [...]uint32{m.meta.key, m.meta.plainKey} {
		if node == 0 {
			continue
		}
		value, ok := m.textOf(node, maxKeyLen)
		if !ok || !asciiVisible(value) {
			return "", refuse(CauseIdempotencyKey, "params._meta: the idempotency key must be a string of 1 to %d visible ASCII characters", maxKeyLen)
		}
		if key != "" && key != value {
			return "", refuse(CauseIdempotencyKey, "params._meta: %q and %q differ", KeyMember, plainKeyMember)
		}
		key = value
	}
	return key, nil
}
