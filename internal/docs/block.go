package docs

import (
	"regexp"
	"slices"
	"strings"
)

// Block is a block of code in a document.
type Block struct {
	Doc    string   // from the root of the repository
	Line   int      // of its first line of code, from 1
	Lang   string   // the first word of its first line; empty when it is indented
	Words  []string // behind the language
	NotRun string   // why it is not run; empty when it is
	Text   string
}

// Has reports whether a word stands behind the language, with or without a value.
func (b Block) Has(word string) bool {
	return slices.ContainsFunc(b.Words, func(w string) bool { return w == word || strings.HasPrefix(w, word+"=") })
}

// Value is what stands behind a word and "="; empty for none.
func (b Block) Value(word string) string {
	for _, w := range b.Words {
		if value, ok := strings.CutPrefix(w, word+"="); ok {
			return value
		}
	}
	return ""
}

// IsShell reports whether it has commands.
func (b Block) IsShell() bool { return b.Lang == "sh" || b.Lang == "console" }

// Parse finds the blocks of a document.
func Parse(doc, text string) []Block {
	var list []Block
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		indent, info, fenced := fence(lines[i])
		switch {
		case fenced:
			b := opened(doc, i+2, info)
			var body []string
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
				body = append(body, strings.TrimPrefix(lines[i], indent))
			}
			b.Text = strings.Join(body, "\n")
			list = append(list, b)
		case strings.HasPrefix(lines[i], "    ") && strings.TrimSpace(lines[i]) != "":
			b := Block{Doc: doc, Line: i + 1}
			var body []string
			for ; i < len(lines) && (strings.HasPrefix(lines[i], "    ") || lines[i] == "" && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "    ")); i++ {
				body = append(body, strings.TrimPrefix(lines[i], "    "))
			}
			i--
			b.Text = strings.Join(body, "\n")
			list = append(list, b)
		}
	}
	return list
}

// fence takes a line that opens a block apart.
func fence(line string) (indent, info string, ok bool) {
	info, ok = strings.CutPrefix(strings.TrimLeft(line, " "), "```")
	return line[:len(line)-len(strings.TrimLeft(line, " "))], info, ok
}

// opened is a block of which the first line has been read.
func opened(doc string, line int, info string) Block {
	b := Block{Doc: doc, Line: line}
	info, b.NotRun, _ = strings.Cut(info, "not-run:")
	b.NotRun = strings.TrimSpace(b.NotRun)
	if words := strings.Fields(info); len(words) > 0 {
		b.Lang, b.Words = words[0], words[1:]
	} else {
		b.Lang = "text"
	}
	return b
}

// Step is what is typed at once, and what it prints.
type Step struct {
	Line     int // from 1
	Commands string
	// Want is what has to be printed, line by line; nil when that does not matter.
	Want []string
}

// Steps are the steps of a block: all of it, or, in a transcript, each command.
func (b Block) Steps() []Step {
	if b.Lang != "console" {
		return []Step{{Line: b.Line, Commands: b.Text}}
	}
	var list []Step
	continued := false
	for i, line := range strings.Split(b.Text, "\n") {
		command, prompt := strings.CutPrefix(line, "$ ")
		switch {
		case prompt:
			list = append(list, Step{Line: b.Line + i, Commands: command})
		case len(list) == 0: // it prints before it is asked: told by who checks that there are commands
		case continued:
			list[len(list)-1].Commands += "\n" + line
		default:
			list[len(list)-1].Want = append(list[len(list)-1].Want, line)
		}
		continued = (prompt || continued) && strings.HasSuffix(line, `\`)
	}
	return list
}

// Matches reports whether what was printed is what a document shows: … stands for anything within a line, and a line of … alone
// for any number of lines. How wide a space is does not count, and neither do blank lines at the ends.
func Matches(want []string, printed string) bool {
	var pattern strings.Builder
	pattern.WriteString(`^\s*`)
	for _, line := range want {
		switch strings.TrimSpace(line) {
		case "…":
			pattern.WriteString(`(?s:.*?)`)
			continue
		case "":
			pattern.WriteString(`\s*`)
			continue
		}
		words := strings.Fields(line)
		for i, word := range words {
			parts := strings.Split(word, "…")
			for j := range parts {
				parts[j] = regexp.QuoteMeta(parts[j])
			}
			words[i] = strings.Join(parts, `.*?`)
		}
		pattern.WriteString(`[ \t]*` + strings.Join(words, `[ \t]+`) + `[ \t]*(\n|$)`)
	}
	pattern.WriteString(`\s*$`)
	return regexp.MustCompile(pattern.String()).MatchString(printed)
}
