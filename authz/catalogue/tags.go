package catalogue

import "slices"

// Risk says how much harm a call of a tool can do. The zero value is no risk
// level and never stands in a loaded catalogue.
type Risk uint8

// The risk levels.
const (
	Read       Risk = iota + 1 // changes nothing
	Write                      // changes something
	Privileged                 // changes what only an elevated caller may change
)

func (r Risk) String() string { return nameOf(riskNames(), r) }

func riskNames() []string { return []string{"read", "write", "privileged"} }

// Tier names a rate limit per caller and tool. What a tier is in calls per
// minute is not the catalogue's business.
type Tier uint8

// The tiers, from most to least calls.
const (
	Permissive Tier = iota + 1
	Standard
	Strict
)

func (t Tier) String() string { return nameOf(tierNames(), t) }

func tierNames() []string { return []string{"permissive", "standard", "strict"} }

// PIIPolicy says what happens to personal data in a tool's responses.
type PIIPolicy uint8

// The PII policies.
const (
	PIINone   PIIPolicy = iota + 1 // responses pass unread
	PIIMask                        // a part of each value is hidden
	PIIRedact                      // values are removed
	PIIBlock                       // a response that holds any is refused
)

func (p PIIPolicy) String() string { return nameOf(piiNames(), p) }

func piiNames() []string { return []string{"none", "mask", "redact", "block"} }

// OnUnknown says what happens to a retry of a call whose outcome was never seen.
type OnUnknown uint8

// The answers to an unknown outcome.
const (
	OnUnknownRefuse  OnUnknown = iota + 1 // refuse it: it may have taken effect
	OnUnknownForward                      // let it through: the upstream deduplicates on the forwarded key
)

func (o OnUnknown) String() string { return nameOf(onUnknownNames(), o) }

func onUnknownNames() []string { return []string{"refuse", "forward"} }

// shadowPolicies are the policies that may be shadowed. All others keep strangers
// or unelevated callers out and are enforced always.
func shadowPolicies() []string {
	return []string{"waf", "scopes", "schema", "conditions", "screening", "rate_limit"}
}

// nameOf is the inverse of valueOf; values are numbered from 1.
func nameOf[T ~uint8](names []string, value T) string {
	if value == 0 || int(value) > len(names) {
		return "unset"
	}
	return names[value-1]
}

// valueOf returns the value with this name, or 0.
func valueOf[T ~uint8](names []string, name string) T {
	return T(slices.Index(names, name) + 1)
}
