package authz

//go:generate go test . -run ^TestReasonsPage$ -update

// Challenge says which WWW-Authenticate challenge goes with a refusal.
type Challenge uint8

// The challenges.
const (
	NoChallenge       Challenge = iota
	Credentials                 // RFC 6750 §3: no credentials came, so no error code
	InvalidRequest              // RFC 6750 §3.1 invalid_request
	InvalidToken                // RFC 6750 §3.1 invalid_token
	DPoPToken                   // RFC 9449 §7.1 invalid_token, in the DPoP scheme
	DPoPProof                   // RFC 9449 §7.1 invalid_dpop_proof
	InsufficientScope           // RFC 6750 §3.1 insufficient_scope, with the scopes
	StepUp                      // RFC 9470 insufficient_user_authentication
)

// MCPForm says how a refused JSON-RPC request is answered (MCP has three ways
// of saying no, and clients take each differently).
type MCPForm uint8

// The forms of an MCP answer.
const (
	// RPCError is a JSON-RPC error with the caller's id.
	RPCError MCPForm = iota
	// ToolError is a result with isError: the model sees it and can react to
	// it. For methods other than tools/call it becomes an RPCError.
	ToolError
)

// Reason is one row of the table of reasons: what each wire, the record and the
// metrics say of one outcome. Rows are only ever added.
type Reason struct {
	Code      string // policy.cause; also the metric label
	Status    int    // HTTP status for REST, and for MCP unless MCPStatus says otherwise
	MCPStatus int    // HTTP status of an MCP answer that carries the request's id; 0: Status
	Stateless int    // the same since MCP 2026-07-28; 0: as before
	RPC       int    // JSON-RPC error code; 0: MCP clients get problem details too
	MCP       MCPForm
	Challenge Challenge
	Title     string // for people: audit text and problem title
	Transient bool   // the same request may succeed later: Retry-After is sent
}

// JSON-RPC codes used. The application codes repeat the HTTP status: JSON-RPC
// reserves -32768…-32000, and MCP forbids undefined codes in -32099…-32020.
const (
	rpcInvalidRequest     = -32600
	rpcMethodNotFound     = -32601
	rpcInvalidParams      = -32602
	rpcInternal           = -32603
	rpcParseError         = -32700
	rpcHeaderMismatch     = -32020 // MCP 2026-07-28
	rpcUnsupportedVersion = -32022 // MCP 2026-07-28
)

// Reasons lists the rows of the table, in its order. They are read only.
func Reasons() []*Reason {
	rows := make([]*Reason, len(table))
	for i := range table {
		rows[i] = &table[i]
	}
	return rows
}

// reasons indexes the table by code. It is built once and only read.
var reasons = func() map[string]*Reason {
	m := make(map[string]*Reason, len(table))
	for i := range table {
		m[table[i].Code] = &table[i]
	}
	return m
}()

// ReasonOf finds a row by its code; internal.error if there is none.
func ReasonOf(code string) *Reason {
	if r, ok := reasons[code]; ok {
		return r
	}
	return reasons["internal.error"]
}

// reasonFor finds the row of a policy's cause. A cause without a row is a
// mistake of ours, and refused as one.
func reasonFor(policy, cause string) *Reason {
	return ReasonOf(policy + "." + cause)
}
