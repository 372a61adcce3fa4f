package pim

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/database"
)

// requestColumns are all that requestArguments writes and scanRequest reads, in
// order; the rest is written only.
const (
	requestColumns = "id, change, kind, state, requester, server, tool, fingerprint, call, reason, duration_us, replay_us, break_glass, " +
		"requested, starts, until, provider, provider_user, provider_role, provider_ref, provider_url, " +
		"decided, decider, comment, ended, ender, why, spent, spent_by"
	searchColumns = "principal_id, matters_until, ask_at"
)

// saveRequest inserts or updates.
func saveRequest() string {
	columns := strings.Split(requestColumns+", "+searchColumns, ", ")
	values, updates := make([]string, len(columns)), make([]string, len(columns)-1)
	for i, name := range columns {
		values[i] = fmt.Sprintf("$%d", i+1)
		if i > 0 {
			updates[i-1] = name + " = excluded." + name
		}
	}
	return "INSERT INTO pim_requests (" + strings.Join(columns, ", ") + ") VALUES (" + strings.Join(values, ", ") +
		") ON CONFLICT (id) DO UPDATE SET " + strings.Join(updates, ", ")
}

func requestArguments(db *database.DB, r *Request, now time.Time) ([]any, error) {
	var parties [3]string
	for i, p := range [...]*Party{&r.Requester, &r.Decider, &r.Ender} {
		text, err := partyText(p)
		if err != nil {
			return nil, err
		}
		parties[i] = text
	}
	at := func(t time.Time) any {
		if t.IsZero() {
			return nil
		}
		return db.Time(t)
	}
	return []any{
		r.ID, r.Change, string(r.Kind), string(r.State), parties[0], r.Server, r.Tool, r.Fingerprint[:], r.Call, r.Reason,
		r.Duration.Microseconds(), r.ReplayFor.Microseconds(), r.BreakGlass,
		at(r.Requested), at(r.Starts), at(r.Until), r.Provider, r.ProviderUser, r.ProviderRole, r.ProviderRef, r.ProviderURL,
		at(r.Decided), parties[1], r.Comment, at(r.Ended), parties[2], r.Why, at(r.Spent), r.SpentBy,
		r.Requester.PrincipalID, at(r.mattersUntil()), at(r.askAt(now)),
	}, nil
}

func partyText(p *Party) (string, error) {
	if *p == (Party{}) {
		return "", nil
	}
	text, err := json.Marshal(p)
	return string(text), err
}

func scanRequest(rows *sql.Rows) (r Request, err error) {
	var fingerprint []byte
	var duration, replay int64
	err = rows.Scan(&r.ID, &r.Change, &r.Kind, &r.State, partyScanner{&r.Requester}, &r.Server, &r.Tool, &fingerprint, &r.Call, &r.Reason,
		&duration, &replay, &r.BreakGlass,
		database.ScanTime(&r.Requested), database.ScanTime(&r.Starts), database.ScanTime(&r.Until),
		&r.Provider, &r.ProviderUser, &r.ProviderRole, &r.ProviderRef, &r.ProviderURL,
		database.ScanTime(&r.Decided), partyScanner{&r.Decider}, &r.Comment,
		database.ScanTime(&r.Ended), partyScanner{&r.Ender}, &r.Why, database.ScanTime(&r.Spent), &r.SpentBy)
	copy(r.Fingerprint[:], fingerprint)
	r.Duration, r.ReplayFor = time.Duration(duration)*time.Microsecond, time.Duration(replay)*time.Microsecond
	return r, err
}

type partyScanner struct{ to *Party }

func (s partyScanner) Scan(value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("a party can't be a %T", value)
	}
	if *s.to = (Party{}); text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), s.to)
}

// mattersUntil is how long a request matters to calls; zero: not any more.
func (r *Request) mattersUntil() time.Time {
	switch {
	case r.State == Pending, r.State == Approved, r.State == Revoked && r.Kind == Elevation:
		return r.Until
	case r.State == Spent && r.ReplayFor > 0:
		return r.Spent.Add(r.ReplayFor)
	}
	return time.Time{}
}

// askAt is when the provider is to be asked about a request; zero: never. One that
// has no id there by then isn't known to have arrived.
func (r *Request) askAt(now time.Time) time.Time {
	switch {
	case r.State != Pending || r.Provider == "":
		return time.Time{}
	case r.ProviderRef == "":
		return now.Add(fileWithin)
	}
	return now.Add(shortestAsk)
}

// row is what of a request matters to calls.
type row struct {
	id          string
	change      uint64
	kind        Kind
	state       State
	holder      Holder
	fingerprint [32]byte
	breakGlass  bool
	provider    string
	starts      time.Time
	until       time.Time // it matters until then; zero: not at all
	ended       time.Time
}

const rowColumns = "id, change, kind, state, principal_id, server, tool, fingerprint, break_glass, provider, starts, matters_until, ended"

func scanRows(to *[]row) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var r row
		var fingerprint []byte
		err := rows.Scan(&r.id, &r.change, &r.kind, &r.state, &r.holder.PrincipalID, &r.holder.Server, &r.holder.Tool, &fingerprint, &r.breakGlass,
			&r.provider, database.ScanTime(&r.starts), database.ScanTime(&r.until), database.ScanTime(&r.ended))
		copy(r.fingerprint[:], fingerprint)
		*to = append(*to, r)
		return err
	}
}

// row is what scanRows would read.
func (r *Request) row() row {
	return row{
		id: r.ID, change: r.Change, kind: r.Kind, state: r.State, holder: Holder{r.Requester.PrincipalID, r.Server, r.Tool},
		fingerprint: r.Fingerprint, breakGlass: r.BreakGlass, provider: r.Provider, starts: r.Starts, until: r.mattersUntil(), ended: r.Ended,
	}
}
