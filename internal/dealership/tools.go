package dealership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type searchInput struct {
	Make     string `json:"make,omitempty" jsonschema:"manufacturer, exactly, in any case"`
	Model    string `json:"model,omitempty" jsonschema:"part of the model name"`
	Fuel     string `json:"fuel,omitempty" jsonschema:"petrol, diesel, hybrid or electric"`
	MaxPrice int    `json:"max_price,omitempty" jsonschema:"highest price in whole rupees"`
	Limit    int    `json:"limit,omitempty" jsonschema:"how many to return, all by default"`
}

type searchOutput struct {
	Vehicles []Vehicle `json:"vehicles" jsonschema:"what was found"`
}

type dealerInput struct {
	ID   string `json:"dealer_id,omitempty" jsonschema:"identifier, such as D-1"`
	City string `json:"city,omitempty" jsonschema:"city, exactly, in any case"`
}

type dealerOutput struct {
	Dealers []Dealer `json:"dealers" jsonschema:"what was found"`
}

type bookInput struct {
	Vehicle  string `json:"vehicle_id" jsonschema:"the vehicle to service"`
	Customer string `json:"customer_id" jsonschema:"who brings it"`
	Date     string `json:"date" jsonschema:"day of the appointment, YYYY-MM-DD"`
	Kind     string `json:"kind,omitempty" jsonschema:"inspection (default), repair or recall"`
}

type cancelInput struct {
	Booking string `json:"booking_id" jsonschema:"the booking to cancel"`
}

type refundInput struct {
	Payment string `json:"payment_id" jsonschema:"the payment to refund"`
	Amount  int    `json:"amount" jsonschema:"whole rupees to give back"`
	Reason  string `json:"reason,omitempty" jsonschema:"why"`
}

type deleteInput struct {
	Customer string `json:"customer_id" jsonschema:"the customer to delete"`
}

// addTools registers the tools: two that read, two that write, two privileged.
func addTools(server *mcp.Server, s *stock) error {
	no := false
	read := mcp.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: &no}
	add := mcp.ToolAnnotations{DestructiveHint: &no, OpenWorldHint: &no}
	destroy := mcp.ToolAnnotations{OpenWorldHint: &no}
	return errors.Join(
		addTool(server, "search_vehicles", "Search the vehicles on sale.", read,
			func(in searchInput) (searchOutput, error) { return searchOutput{s.search(in)}, nil },
			constraint{"fuel", func(p *jsonschema.Schema) { p.Enum = []any{"petrol", "diesel", "hybrid", "electric"} }},
			constraint{"make", text(64)}, constraint{"model", text(64)},
			constraint{"max_price", atLeast(1)}, constraint{"limit", between(1, 100)}),
		addTool(server, "dealer_lookup", "Find dealers by city or identifier.", read,
			func(in dealerInput) (dealerOutput, error) { return dealerOutput{s.lookup(in)}, nil },
			constraint{"dealer_id", pattern(`^D-[0-9]+$`)}, constraint{"city", text(64)}),
		addTool(server, "book_service", "Book a service appointment.", add, s.book,
			constraint{"vehicle_id", pattern(`^V-[0-9]+$`)}, constraint{"customer_id", pattern(`^C-[0-9]+$`)},
			constraint{"date", pattern(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)},
			constraint{"kind", func(p *jsonschema.Schema) { p.Enum = []any{"inspection", "repair", "recall"} }}),
		addTool(server, "cancel_service", "Cancel a service appointment.", destroy, s.cancel,
			constraint{"booking_id", pattern(`^B-[0-9]+$`)}),
		addTool(server, "refund_payment", "Give money of a payment back.", destroy, s.refund,
			constraint{"payment_id", pattern(`^P-[0-9]+$`)}, constraint{"amount", atLeast(1)},
			constraint{"reason", text(500)}),
		addTool(server, "delete_customer", "Delete a customer for good.", destroy, s.deleteCustomer,
			constraint{"customer_id", pattern(`^C-[0-9]+$`)}),
	)
}

// constraint narrows one property of a schema that was inferred from a struct.
type constraint struct {
	property string
	narrow   func(*jsonschema.Schema)
}

func pattern(p string) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Pattern = p }
}

func text(longest int) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.MaxLength = &longest }
}

func atLeast(n float64) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Minimum = &n }
}

func between(low, high float64) func(*jsonschema.Schema) {
	return func(s *jsonschema.Schema) { s.Minimum, s.Maximum = &low, &high }
}

// addTool registers one tool with a schema from its input type, narrowed by the
// constraints; the SDK infers the output schema and validates both ways.
func addTool[In, Out any](server *mcp.Server, name, description string, hints mcp.ToolAnnotations, do func(In) (Out, error), narrow ...constraint) error {
	input, err := jsonschema.For[In](nil)
	if err != nil {
		return fmt.Errorf("tool %s: input schema: %w", name, err)
	}
	for _, c := range narrow {
		property, ok := input.Properties[c.property]
		if !ok {
			return fmt.Errorf("tool %s: no property %s to narrow", name, c.property)
		}
		c.narrow(property)
	}
	tool := &mcp.Tool{Name: name, Description: description, InputSchema: input, Annotations: &hints}
	mcp.AddTool(server, tool, func(_ context.Context, _ *mcp.CallToolRequest, in In) (*mcp.CallToolResult, Out, error) {
		out, err := do(in)
		if err != nil {
			return nil, out, err
		}
		text, err := json.Marshal(out)
		if err != nil {
			return nil, out, fmt.Errorf("encode result: %w", err)
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(text)}}}, out, nil
	})
	return nil
}
