package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/sallyport/sallyport/audit"
	"github.com/sallyport/sallyport/idempotency"
	"github.com/sallyport/sallyport/settings"
)

// operator is somebody at the command line who changes what the service keeps in
// Redis. What it keeps in memory no other process can see.
type operator struct {
	cfg    *settings.Config
	client redis.UniversalClient
}

// newOperator connects to nothing yet. The hint says what to do without Redis.
func newOperator(cmd *cobra.Command, hint string) (*operator, error) {
	loaded, err := loadSettings(cmd)
	if err != nil {
		return nil, err
	}
	if len(loaded.Config.Redis.Addresses) == 0 {
		return nil, errors.New("redis.addresses is empty, so the service keeps this in its own memory: " + hint)
	}
	client, err := newRedisClient(&loaded.Config.Redis)
	if err != nil {
		return nil, err
	}
	return &operator{cfg: loaded.Config, client: client}, nil
}

func (o *operator) close() error { return o.client.Close() }

// claims are those of the service.
func (o *operator) claims() (*idempotency.Redis, error) {
	store, err := openClaims(o.cfg, o.client, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	claims, ok := store.(*idempotency.Redis)
	if !ok {
		return nil, errors.New("transaction_safety.idempotency_store_type is memory: claims end with the process that holds them")
	}
	return claims, nil
}

// action is one record of the decision log.
type action struct {
	Time     time.Time `json:"time"`
	Type     string    `json:"type"` // operator
	Action   string    `json:"action"`
	Operator string    `json:"operator"` // name of the user at the operating system
	Why      string    `json:"why"`
	Subject  any       `json:"subject"` // what was changed, as it was
	Failed   string    `json:"failed,omitempty"`
}

// do records what the operator is about to do, and does it: what can't be
// recorded isn't done. A failure is recorded after it.
func (o *operator) do(ctx context.Context, name, why string, subject any, act func(context.Context) error) (err error) {
	who, err := user.Current()
	if err != nil {
		return fmt.Errorf("who are you: %w", err)
	}
	journal, err := audit.OpenLog(o.cfg.DecisionLog.File)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	record := action{Type: "operator", Action: name, Operator: who.Username, Why: why, Subject: subject}
	if err := record.append(journal); err != nil {
		return fmt.Errorf("nothing was done: %w", err)
	}
	if err := act(ctx); err != nil {
		record.Failed = err.Error()
		return errors.Join(err, record.append(journal))
	}
	return nil
}

func (a *action) append(journal *audit.Log) error {
	a.Time = time.Now().UTC()
	line, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return journal.Append(append(line, '\n'))
}
