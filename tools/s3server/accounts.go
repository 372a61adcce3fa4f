package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/versity/versitygw/auth"
)

// accounts are those of the environment, for as long as the server runs.
type accounts map[string]auth.Account

func readAccounts(rootName, rootSecret, users string) (accounts, error) {
	all := accounts{rootName: {Access: rootName, Secret: rootSecret, Role: auth.RoleAdmin}}
	for i, user := range strings.Fields(users) {
		name, secret, ok := strings.Cut(user, ":")
		if _, taken := all[name]; !ok || taken {
			return nil, fmt.Errorf("S3SERVER_USERS: user %d isn't name:secret, or there twice", i+1)
		}
		all[name] = auth.Account{Access: name, Secret: secret, Role: auth.RoleUser, UserID: i + 1, GroupID: i + 1}
	}
	return all, nil
}

func (a accounts) GetUserAccount(name string) (auth.Account, error) {
	account, ok := a[name]
	if !ok {
		return auth.Account{}, auth.ErrNoSuchUser
	}
	return account, nil
}

func (a accounts) ResolveAccounts(names []string) (missing []string, err error) {
	for _, name := range names {
		if _, ok := a[name]; !ok {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

func (a accounts) ListUserAccounts() (all []auth.Account, err error) {
	for _, account := range a {
		all = append(all, account)
	}
	return all, nil
}

var errFixed = errors.New("accounts come from the environment")

func (a accounts) CreateAccount(auth.Account) error                  { return errFixed }
func (a accounts) UpdateUserAccount(string, auth.MutableProps) error { return errFixed }
func (a accounts) DeleteUserAccount(string) error                    { return errFixed }
func (a accounts) Shutdown() error                                   { return nil }
