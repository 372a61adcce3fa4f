package main

import (
	"fmt"

	"github.com/sallyport/sallyport/pim/provider"
	"github.com/sallyport/sallyport/settings"
)

// newProvider builds the external provider of the configuration; nil: there is none.
func newProvider(cfg *settings.Config) (provider.Provider, error) {
	if !cfg.PIM.External() {
		return nil, nil
	}
	return nil, fmt.Errorf("provider %s", cfg.PIM.Provider)
}
