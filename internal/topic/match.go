package topic

// Match reports whether a topic is what a pattern says: the same bytes, where each * stands for any bytes, none included.
func Match(pattern, topic string) bool {
	star, mark := -1, 0
	p, t := 0, 0
	for t < len(topic) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && pattern[p] == topic[t]:
			p++
			t++
		case star >= 0: // the last star takes one byte more
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
