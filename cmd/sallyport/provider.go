package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport/sallyport/authz"
	"github.com/sallyport/sallyport/authz/catalogue"
	"github.com/sallyport/sallyport/pim/provider"
	"github.com/sallyport/sallyport/settings"
)

// newProvider builds the external provider of the configuration, which connects to
// nothing yet; nil: there is none.
func newProvider(cfg *settings.Config) (provider.Provider, error) {
	p := &cfg.PIM
	var outside provider.Provider
	var err error
	switch p.Provider {
	case "generic":
		outside, err = provider.NewGeneric(&provider.GenericConfig{
			Endpoint: p.PAMEndpoint, TokenFile: p.Generic.TokenFile, CAFile: p.Generic.CAFile,
		}, time.Now)
	case "azure_pim":
		outside, err = provider.NewAzurePIM(azurePIMConfig(p), time.Now)
	case "okta":
		outside, err = provider.NewOkta(oktaConfig(p), time.Now)
	case "cyberark":
		outside, err = newCyberArk(p)
	}
	if err != nil {
		return nil, err
	}
	return outside, nil
}

// checkProvider reports what is wrong with the provider's configuration, and with the
// roles of the catalogue's tools there.
func checkProvider(cfg *settings.Config, cat *catalogue.Catalogue) error {
	outside, err := newProvider(cfg)
	if err != nil {
		return fmt.Errorf("pim: %w", err)
	}
	checker, ok := outside.(provider.RoleChecker)
	if !ok || cat == nil {
		return nil
	}
	var errs []error
	for _, tool := range cat.Tools() {
		if tool.RequiresElevation {
			if err := checker.CheckRole(authz.RoleOf(tool)); err != nil {
				errs = append(errs, fmt.Errorf("%s: tool %s: elevation.provider_role: %w", tool.Source, tool.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func newCyberArk(p *settings.PIM) (provider.Provider, error) {
	config := cyberArkConfig(p)
	if p.CyberArk.TemplateFile == "" {
		return provider.NewCyberArk(config, time.Now)
	}
	template, err := provider.ReadTemplate(p.CyberArk.TemplateFile)
	if err != nil {
		return nil, err
	}
	template.Name, template.Endpoint = p.Provider, config.Endpoint
	template.CAFile, template.Credential = config.CAFile, config.Credential
	return provider.NewTemplate(template, time.Now)
}

func azurePIMConfig(p *settings.PIM) *provider.AzurePIMConfig {
	a := &p.AzurePIM
	return &provider.AzurePIMConfig{
		Tenant: a.Tenant, ClientID: a.ClientID, SecretFile: a.ClientSecretFile, KeyFile: a.KeyFile, CertificateFile: a.CertificateFile,
		Endpoint: p.PAMEndpoint, Authority: a.Authority, CAFile: a.CAFile, PortalURL: a.PortalURL,
		Standing: a.Standing, AdminAssign: a.AdminAssign, TicketSystem: a.TicketSystem,
	}
}

func oktaConfig(p *settings.PIM) *provider.OktaConfig {
	o := &p.Okta
	return &provider.OktaConfig{
		Endpoint: p.PAMEndpoint, ClientID: o.ClientID, KeyFile: o.KeyFile, KeyID: o.KeyID, CAFile: o.CAFile,
		Grants: o.Grants, Standing: o.Standing, FixedDuration: o.FixedDuration, JustificationField: o.JustificationField, PortalURL: o.PortalURL,
	}
}

func cyberArkConfig(p *settings.PIM) *provider.CyberArkConfig {
	c := &p.CyberArk
	config := &provider.CyberArkConfig{
		Product: c.Product, Endpoint: p.PAMEndpoint, CAFile: c.CAFile, OwnUser: c.OwnUser,
		Credential: provider.CredentialConfig{BearerFile: c.TokenFile},
	}
	if c.LogonUser != "" {
		config.Credential.Logon = &provider.LogonConfig{Method: cmp.Or(c.LogonMethod, "CyberArk"), User: c.LogonUser, PasswordFile: c.PasswordFile}
	}
	if c.TokenURL != "" {
		config.Credential.OAuth = &provider.OAuthConfig{TokenURL: c.TokenURL, ClientID: c.ClientID, SecretFile: c.ClientSecretFile}
	}
	switch c.Product {
	case "uar":
		config.UAR = provider.CyberArkUAR{TargetCategory: c.TargetCategory, RequestType: c.RequestType, LocationType: c.LocationType, RoleField: c.RoleField}
	case "sca":
		config.SCA = provider.CyberArkSCA{RoleField: c.RoleField, EndField: c.EndField, EvidenceField: c.EvidenceField, Cloud: c.Cloud}
	}
	return config
}
