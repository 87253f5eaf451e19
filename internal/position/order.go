package position

import "math"

// Compare is -1, 0 or 1 as a stands before, at, or behind b.
func (a ID) Compare(b ID) int {
	switch {
	case a.Less(b):
		return -1
	case a == b:
		return 0
	}
	return 1
}

// Less reports whether a stands before b.
func (a ID) Less(b ID) bool { return a.Ms < b.Ms || a.Ms == b.Ms && a.Seq < b.Seq }

// Next is the smallest ID behind a; the largest of all has none and is returned itself.
func (a ID) Next() ID {
	switch {
	case a.Seq < math.MaxUint64:
		return ID{a.Ms, a.Seq + 1}
	case a.Ms < math.MaxUint64:
		return ID{a.Ms + 1, 0}
	}
	return a
}

// Prev is the greatest ID before a; the zero ID has none and is returned itself.
func (a ID) Prev() ID {
	switch {
	case a.Seq > 0:
		return ID{a.Ms, a.Seq - 1}
	case a.Ms > 0:
		return ID{a.Ms - 1, math.MaxUint64}
	}
	return a
}

// IsZero reports whether a is the zero ID, which stands before every entry.
func (a ID) IsZero() bool { return a == ID{} }
