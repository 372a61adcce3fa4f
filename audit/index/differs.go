package index

import "bytes"

// Differs names the first column in which two rows differ; empty: none.
func (r *Row) Differs(other *Row) string {
	for _, c := range [...]struct {
		name string
		same bool
	}{
		{"log", r.Log == other.Log}, {"seq", r.Seq == other.Seq}, {"leaf_hash", r.LeafHash == other.LeafHash},
		{"time", r.Time.Equal(other.Time)}, {"event_id", r.EventID == other.EventID}, {"event_type", r.Type == other.Type},
		{"correlation_id", r.CorrelationID == other.CorrelationID}, {"user_id", r.UserID == other.UserID},
		{"tool_name", r.Tool == other.Tool}, {"action", r.Action == other.Action}, {"status", r.Status == other.Status},
		{"reason", r.Reason == other.Reason}, {"decision_id", r.DecisionID == other.DecisionID}, {"batch", r.Batch == other.Batch},
		{"payload", bytes.Equal(r.Payload, other.Payload)},
	} {
		if !c.same {
			return c.name
		}
	}
	return ""
}
