package provider

import (
	"maps"
	"testing"
	"time"

	"github.com/sallyport/sallyport/pim/provider/providertest"
)

type object = providertest.Object

const (
	azureAlice  = "071cc716-8147-4397-a5ba-b2105951cc0b"
	azureMallet = "6be4b305-b75e-4efc-bfcc-31bd3b53a5f8"
	azureAdmin  = "fdd7a751-b60b-444a-984c-02652fe8fa1c" // a role definition
	azureOther  = "8424c6f0-a189-499e-bbd0-26c1753c96d4"
	azureGroup  = "2b5ed229-4072-478d-9504-a047ebd4b07d"
	azureUnit   = "5d107bba-d8e2-4e13-b6ae-884be90e5d1a"
)

// graph is Microsoft Graph at noon.
type graph struct{ *providertest.Graph }

func newGraph(t testing.TB, permissions ...string) graph {
	t.Helper()
	return graph{providertest.NewGraph(t, atNoon, permissions...)}
}

func (g graph) connect(t testing.TB, change func(*AzurePIMConfig), now func() time.Time) *AzurePIM {
	t.Helper()
	cfg := &AzurePIMConfig{
		Tenant: providertest.GraphTenant, ClientID: providertest.ClientID, SecretFile: secretIn(t, providertest.Secret),
		Endpoint: g.URL + "/v1.0", Authority: g.URL, CAFile: g.CAFile,
	}
	if change != nil {
		change(cfg)
	}
	p, err := NewAzurePIM(cfg, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// activated is Alice's activation of the role, from an hour ago for two hours, with
// changes.
func activated(changes object) object {
	o := providertest.GraphActivation(azureAlice, "directory/"+azureAdmin, noon.Add(-time.Hour+100), noon.Add(time.Hour))
	maps.Copy(o, changes)
	return o
}

// activatedIn is the same of a group.
func activatedIn(changes object) object {
	o := providertest.GraphActivation(azureAlice, "group/"+azureGroup+"/member", noon.Add(-time.Hour+273*time.Millisecond), noon.Add(time.Hour))
	maps.Copy(o, changes)
	return o
}
