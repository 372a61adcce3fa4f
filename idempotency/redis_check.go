package idempotency

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// ErrServer says that a server is there but would not keep claims as promised.
// What to change is in the text.
var ErrServer = errors.New("this Redis can't keep claims")

// CheckServer refuses a server that forgets claims by itself, is too old, or of
// another kind than the client is for; of a Cluster it asks every master. Such
// an error wraps ErrServer, one that can't be reached ErrUnavailable. The
// warnings are about what is risky but allowed. It needs the command INFO only,
// which managed services leave to their users too.
func CheckServer(ctx context.Context, client redis.UniversalClient) (warnings []string, err error) {
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return checkNode(ctx, client, false)
	}
	var mu sync.Mutex // guards warnings
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		found, err := checkNode(ctx, node, true)
		mu.Lock()
		defer mu.Unlock()
		for _, warning := range found {
			warnings = append(warnings, node.Options().Addr+": "+warning)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", node.Options().Addr, err)
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrServer) && !errors.Is(err, ErrUnavailable) { // the cluster's layout
		err = unavailable("check redis", err)
	}
	slices.Sort(warnings)
	return warnings, err
}

func checkNode(ctx context.Context, client redis.UniversalClient, ofCluster bool) (warnings []string, err error) {
	text, err := client.Info(ctx).Result()
	if err != nil {
		return nil, unavailable("check redis", err)
	}
	info := parseInfo(text)
	var errs []error
	refuse := func(format string, arguments ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrServer}, arguments...)...))
	}
	if version := info["redis_version"]; !atLeast(version, 6, 2) {
		refuse("version %s is older than 6.2", version)
	}
	if role := info["role"]; role != "master" {
		refuse("its role is %q: connect to the master, through Sentinels if there are any", role)
	}
	if isCluster := info["cluster_enabled"] == "1"; isCluster != ofCluster {
		refuse("cluster mode is %v on the server and %v in the configuration", isCluster, ofCluster)
	}
	policy, limit := info["maxmemory_policy"], info["maxmemory"]
	switch {
	case policy == "noeviction":
	case limit == "0":
		warnings = append(warnings, fmt.Sprintf("maxmemory-policy is %s: with a maxmemory it would forget claims; set noeviction", policy))
	default:
		refuse("maxmemory-policy is %q: when memory is full it forgets claims, and their requests are executed again; set maxmemory-policy noeviction", policy)
	}
	if info["aof_enabled"] != "1" {
		warnings = append(warnings, "the append-only file is off: a restart forgets claims; set appendonly yes")
	}
	return warnings, errors.Join(errs...)
}

// parseInfo reads the lines name:value of INFO.
func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

func atLeast(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(second)
	return errA == nil && errB == nil && (a > major || a == major && b >= minor)
}
