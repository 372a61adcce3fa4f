package wire

// The fields of envoy.config.core.v3.Metadata and google.protobuf.Struct.
const (
	fieldFilterMetadata = 1 // Metadata.filter_metadata: a map of structs
	fieldStructFields   = 1 // Struct.fields: a map of values
	fieldStringValue    = 3 // Value.string_value
)

// FilterMetadata reads the members that one filter has left in a message
// envoy.config.core.v3.Metadata. It returns nil if there are none, and an empty
// text for what is no string.
func FilterMetadata(metadata, filter string) (members map[string]string, err error) {
	m := Read(metadata)
	for m.Next() {
		if m.Num != fieldFilterMetadata {
			continue
		}
		name, left, err := MapEntry(m.Nested())
		m.Keep(err)
		if name == filter {
			members, err = structMembers(left)
			m.Keep(err)
		}
	}
	return members, m.err
}

func structMembers(message string) (map[string]string, error) {
	members := make(map[string]string, 16)
	s := Read(message)
	for s.Next() {
		if s.Num != fieldStructFields {
			continue
		}
		name, encoded, err := MapEntry(s.Nested())
		s.Keep(err)
		members[name] = ""
		value := Read(encoded)
		for value.Next() {
			if value.Num == fieldStringValue {
				members[name] = value.Text
			}
		}
		s.Keep(value.err)
	}
	return members, s.err
}
