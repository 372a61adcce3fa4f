package api

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
)

func description(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// Every endpoint is described, and nothing else.
func TestDocumentHasEveryRoute(t *testing.T) {
	t.Parallel()
	doc, e := description(t), &Elevations{}
	ids := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		served, _ := e.endpoints(strings.TrimPrefix(strings.ReplaceAll(path, "{id}", "0195"), Prefix))
		var described []string
		for method, operation := range item.Operations() {
			described = append(described, method)
			if ids[operation.OperationID] || operation.OperationID == "" {
				t.Errorf("%s %s: operationId %q", method, path, operation.OperationID)
			}
			ids[operation.OperationID] = true
		}
		slices.Sort(described)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(served)), described); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	for _, path := range []string{"elevate", "elevations", "elevations/revoke", "elevations/{id}", "elevations/{id}/approve", "elevations/{id}/deny", "openapi.yaml"} {
		if doc.Paths.Value(Prefix+path) == nil {
			t.Errorf("%s is not described", path)
		}
	}
}

// Every member of every body and answer is described, and nothing else.
func TestDocumentHasEveryMember(t *testing.T) {
	t.Parallel()
	doc := description(t)
	for schema, want := range map[string][]string{
		"Elevation": jsonNames(elevation{}),
		"Page":      jsonNames(page{}),
		"Call":      jsonNames(callBody{}),
		"Elevate":   slices.Sorted(maps.Keys((&elevateBody{}).members())),
	} {
		got := slices.Sorted(maps.Keys(doc.Components.Schemas[schema].Value.Properties))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", schema, diff)
		}
	}
	// Those that are always there are required, as clients may count on them.
	var required []string
	for field := range reflect.TypeFor[elevation]().Fields() {
		if name, option, _ := strings.Cut(field.Tag.Get("json"), ","); option == "" {
			required = append(required, name)
		}
	}
	if diff := cmp.Diff(required, doc.Components.Schemas["Elevation"].Value.Required); diff != "" {
		t.Error(diff)
	}
}

func jsonNames(v any) (names []string) {
	for field := range reflect.TypeOf(v).Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Every kind of problem is in the table, with its status.
func TestDocumentHasEveryProblem(t *testing.T) {
	t.Parallel()
	about := description(t).Info.Description
	for i := range failures {
		f := &failures[i]
		row := "| " + f.kind + " | " + strconv.Itoa(f.code) + " |"
		if !strings.Contains(about, row) {
			t.Errorf("there is no row %q", row)
		}
	}
	for _, kind := range []string{"elevation.body", "elevation.query", "elevation.disabled", "elevation.not_approver", "elevation.body_too_large", "elevation.content_type", "http.method", "http.not_found", "internal.error"} {
		if !strings.Contains(about, "| "+kind+" | ") {
			t.Errorf("there is no row of %s", kind)
		}
	}
}

func TestDocumentIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		recorder := httptest.NewRecorder()
		w.handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), method, origin+Prefix+"openapi.yaml", nil))
		if recorder.Code != 200 || recorder.Header().Get("Content-Type") != "application/yaml" {
			t.Errorf("%s: %d %v", method, recorder.Code, recorder.Header())
		}
	}
}
