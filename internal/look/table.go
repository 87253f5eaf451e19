package look

import (
	"strings"
	"unicode/utf8"
)

// Cell is a field of a [Table]: its text, and how it is painted; nil for as it is.
type Cell struct {
	Text  string
	Paint func(string) string
}

// Table is columns that stand below each other.
type Table struct {
	style Style
	head  []string
	rows  [][]Cell
}

// NewTable makes a table; without headings it has none.
func NewTable(s Style, head ...string) *Table { return &Table{style: s, head: head} }

// Row adds a row: each field is a string or a [Cell]. What is not printable in it is replaced, and a field that is empty becomes a dash.
func (t *Table) Row(fields ...any) {
	row := make([]Cell, len(fields))
	for i, f := range fields {
		switch f := f.(type) {
		case Cell:
			row[i] = f
		case string:
			row[i] = Cell{Text: f}
		default:
			panic("BUG: look: a field of a table is neither a string nor a Cell")
		}
		if row[i].Text = Printable(row[i].Text); row[i].Text == "" {
			row[i].Text = "-"
		}
	}
	t.rows = append(t.rows, row)
}

// String is the table, with a line break at its end; nothing when it has neither headings nor rows.
func (t *Table) String() string {
	rows := t.rows
	if len(t.head) > 0 {
		head := make([]Cell, len(t.head))
		for i, h := range t.head {
			head[i] = Cell{h, t.style.Head}
		}
		rows = append([][]Cell{head}, rows...)
	}
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, c := range row {
			text := c.Text
			if c.Paint != nil {
				text = c.Paint(text)
			}
			b.WriteString(text)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text)+2))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
