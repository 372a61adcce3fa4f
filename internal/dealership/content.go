package dealership

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The URIs of the resources; a vehicle's is VehiclePrefix plus its identifier.
const (
	HoursURI      = "dealership://hours"
	PriceListURI  = "dealership://internal/price-list"
	VehiclePrefix = "dealership://vehicles/"
)

const hours = "Monday to Saturday 09:30-19:00, Sunday closed."

// addContent registers the resources plus a prompt, so that allow-lists of both
// have something to allow or refuse.
func addContent(server *mcp.Server, s *stock) {
	server.AddResource(&mcp.Resource{
		URI: HoursURI, Name: "hours", Description: "Opening hours of all dealers.", MIMEType: "text/plain",
	}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return contents(HoursURI, "text/plain", hours), nil
	})
	server.AddResource(&mcp.Resource{
		URI: PriceListURI, Name: "price list", Description: "Purchase prices, not for customers.", MIMEType: "text/plain",
	}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		var list strings.Builder
		for _, v := range s.vehicles {
			fmt.Fprintf(&list, "%s %d\n", v.ID, v.Price*8/10)
		}
		return contents(PriceListURI, "text/plain", list.String()), nil
	})
	server.AddResourceTemplate(&mcp.ResourceTemplate{
		URITemplate: VehiclePrefix + "{id}", Name: "vehicle", Description: "One vehicle.", MIMEType: "application/json",
	}, func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		v, err := s.vehicle(strings.TrimPrefix(r.Params.URI, VehiclePrefix))
		if err != nil {
			return nil, mcp.ResourceNotFoundError(r.Params.URI)
		}
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("encode vehicle: %w", err)
		}
		return contents(r.Params.URI, "application/json", string(text)), nil
	})
	server.AddPrompt(&mcp.Prompt{
		Name: "recommend_vehicle", Description: "Recommend a vehicle within a budget.",
		Arguments: []*mcp.PromptArgument{{Name: "budget", Description: "whole rupees", Required: true}},
	}, func(_ context.Context, r *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		text := fmt.Sprintf("Search the vehicles below %s rupees, then recommend one with two reasons.", r.Params.Arguments["budget"])
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: text}}}}, nil
	})
}

func contents(uri, mime, text string) *mcp.ReadResourceResult {
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, MIMEType: mime, Text: text}}}
}
