package index

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// Range is the sequence numbers From ≤ n < To.
type Range struct{ From, To uint64 }

func compareRows(a, b Row) int {
	return cmp.Or(strings.Compare(a.Log, b.Log), cmp.Compare(a.Seq, b.Seq))
}

// byLog cuts sorted rows where the log changes.
func byLog(rows []Row) iter.Seq[[]Row] {
	return func(yield func([]Row) bool) {
		for len(rows) > 0 {
			n := 1
			for n < len(rows) && rows[n].Log == rows[0].Log {
				n++
			}
			if !yield(rows[:n]) {
				return
			}
			rows = rows[n:]
		}
	}
}

// runs are the contiguous ranges of sorted rows of one log.
func runs(rows []Row) (found []Range) {
	for _, row := range rows {
		if n := len(found); n > 0 && found[n-1].To == row.Seq {
			found[n-1].To++
		} else {
			found = append(found, Range{row.Seq, row.Seq + 1})
		}
	}
	return found
}

// merge sorts ranges and joins those that meet or overlap.
func merge(ranges []Range) (merged []Range) {
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.From, b.From) })
	for _, r := range ranges {
		if n := len(merged); n > 0 && r.From <= merged[n-1].To {
			merged[n-1].To = max(merged[n-1].To, r.To)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}

// between are the gaps before and between merged ranges.
func between(merged []Range) (gaps []Range) {
	var next uint64
	for _, r := range merged {
		if r.From > next {
			gaps = append(gaps, Range{next, r.From})
		}
		next = r.To
	}
	return gaps
}
