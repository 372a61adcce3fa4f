package pipeline

import (
	"context"
	"math"
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
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
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
		if size > known.size {
			grown[writer] = size // with an error too: the next heartbeat goes on from there
		}
		switch {
		case err != nil:
			return grown, err
		case len(grown) == maxPeers:
			return grown, nil
		case size > known.size:
			continue
		}
		known.looked = now
		peers[writer] = known
	}
	return grown, nil
}

// sealPage is how many seals are listed at once: S3's page.
const sealPage = 1000

// peerSize is the size of the writer's newest seal, from known on; with an error, of
// the newest that was seen. It lists a page at ever larger sizes and then between
// those: after a start a peer has many more seals than are worth listing.
func (p *Pipeline) peerSize(ctx context.Context, writer string, known uint64) (uint64, error) {
	low, high := known, uint64(math.MaxUint64)            // the newest seal's size is neither below nor above
	for step, span := uint64(0), uint64(0); low < high; { // span: of a full page
		at := low + step
		size, more, err := p.sealsAfter(ctx, writer, at)
		low = max(low, size)
		switch {
		case err != nil || size > 0 && !more:
			return low, err
		case size == 0:
			high = at
		default:
			span = size - at
			step = max(2*step, span)
		}
		if step = min(step, (high-low)/2); step < span {
			step = 0 // the next page may be the last
		}
	}
	return low, nil
}

// sealsAfter lists a page of the writer's seals that are larger than size and returns
// the largest; 0: there is none. More reports whether the page was full.
func (p *Pipeline) sealsAfter(ctx context.Context, writer string, size uint64) (largest uint64, more bool, err error) {
	after := ""
	if size > 0 {
		after = ledger.SealKey(writer, size)
	}
	n := 0
	for v, err := range p.store.Versions(ctx, ledger.SealPrefix+writer+"/", after) {
		if err != nil {
			return largest, false, err
		}
		if _, found, err := ledger.ParseSealKey(v.Key); err == nil && found > size {
			largest = max(largest, found)
			n++
		}
		if n == sealPage {
			return largest, true, nil
		}
	}
	return largest, false, nil
}
