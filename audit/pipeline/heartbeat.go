package pipeline

import (
	"context"
	"slices"
	"time"

	"github.com/sallyport/sallyport/audit/ledger"
)

// peer is another log of the archive.
type peer struct {
	size   uint64    // when it was last named
	grew   time.Time // when it was seen to be larger than before
	looked time.Time
}

const (
	// quiet is after which time a log that doesn't grow is looked at only every
	// quietly: writers come and go.
	quiet   = 24 * time.Hour
	quietly = time.Hour
	// maxPeers bounds how many logs are named in one event; the rest is for the next.
	maxPeers = 500
)

// heartbeats records that the writer lives, also when nothing else happens, and
// how far it saw the other logs come: whoever takes a whole log away, or its end,
// has to take that out of all the others too.
func (p *Pipeline) heartbeats(ctx context.Context) error {
	peers := make(map[string]peer)
	for p.sleep(ctx, p.cfg.Heartbeat) {
		p.report(ctx, "heartbeat", p.heartbeat(ctx, peers))
	}
	return nil
}

func (p *Pipeline) heartbeat(ctx context.Context, peers map[string]peer) error {
	grown, err := p.lookAtPeers(ctx, peers)
	metadata := map[string]any{"size": p.sealed.Load()}
	if len(grown) > 0 {
		metadata["peers"] = grown
	}
	if err != nil {
		metadata["peers_failed"] = true
	}
	if err := p.record("heartbeat", metadata); err != nil {
		return err
	}
	now := p.now()
	for writer, size := range grown {
		peers[writer] = peer{size: size, grew: now, looked: now}
	}
	return err
}

// lookAtPeers returns the logs that have grown since they were last named. The ones
// that weren't looked at for the longest come first.
func (p *Pipeline) lookAtPeers(ctx context.Context, peers map[string]peer) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	writers, err := p.store.Folders(ctx, ledger.SealPrefix)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(writers, func(a, b string) int { return peers[a].looked.Compare(peers[b].looked) })
	now := p.now()
	grown := make(map[string]uint64)
	for _, writer := range writers {
		known, ok := peers[writer]
		if writer == p.id.Writer || ok && now.Sub(known.grew) > quiet && now.Sub(known.looked) < quietly {
			continue
		}
		size, err := p.peerSize(ctx, writer, known.size)
		if err != nil {
			return grown, err
		}
		if size > known.size {
			if grown[writer] = size; len(grown) == maxPeers {
				break
			}
			continue
		}
		known.looked = now
		peers[writer] = known
	}
	return grown, nil
}

// peerSize is the size of the writer's newest seal.
func (p *Pipeline) peerSize(ctx context.Context, writer string, known uint64) (uint64, error) {
	after := ""
	if known > 0 {
		after = ledger.SealKey(writer, known)
	}
	for v, err := range p.store.Versions(ctx, ledger.SealPrefix+writer+"/", after) {
		if err != nil {
			return known, err
		}
		if _, size, err := ledger.ParseSealKey(v.Key); err == nil {
			known = max(known, size)
		}
	}
	return known, nil
}
