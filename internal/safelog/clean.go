package safelog

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	maxText  = 1 << 10 // bytes of a text
	maxItem  = 128     // bytes of a text in a list or an object
	maxItems = 32      // elements of a list, fields of an object
	maxDepth = 3       // of lists and objects in each other
)

// clean is s without what can't be printed, cut at most bytes.
func clean(s string, most int) string {
	if len(s) <= most && printable(s) {
		return s
	}
	b := make([]byte, 0, min(len(s), most)+32)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		begin := len(b)
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, `\x`+hex.EncodeToString([]byte{s[i]})...)
		case strconv.IsPrint(r):
			b = append(b, s[i:i+n]...)
		default:
			quoted := strconv.QuoteRune(r)
			b = append(b, quoted[1:len(quoted)-1]...)
		}
		if len(b) > most {
			return string(b[:begin]) + "… (" + strconv.Itoa(len(s)) + " bytes)"
		}
		i += n
	}
	return string(b)
}

func printable(s string) bool {
	for i, r := range s {
		if !strconv.IsPrint(r) || r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd") {
			return false
		}
	}
	return true
}

// cleanFields are fields that may be written.
func cleanFields(fields []zapcore.Field) []zapcore.Field {
	list := make([]zapcore.Field, 0, len(fields)+1)
	for _, f := range fields {
		list = appendClean(list, f)
	}
	return list
}

// appendClean appends f, or what can be written of it.
func appendClean(list []zapcore.Field, f zapcore.Field) []zapcore.Field {
	f.Key = clean(f.Key, maxItem)
	switch f.Type {
	case zapcore.StringType:
		f.String = clean(f.String, maxText)
		return append(list, f)
	case zapcore.BoolType, zapcore.DurationType, zapcore.TimeType, zapcore.TimeFullType, zapcore.Float64Type, zapcore.Float32Type,
		zapcore.Int64Type, zapcore.Int32Type, zapcore.Int16Type, zapcore.Int8Type,
		zapcore.Uint64Type, zapcore.Uint32Type, zapcore.Uint16Type, zapcore.Uint8Type, zapcore.UintptrType,
		zapcore.NamespaceType, zapcore.SkipType:
		return append(list, f)
	}
	m := zapcore.NewMapObjectEncoder()
	f.AddTo(m)
	if f.Type == zapcore.ErrorType { // zap adds what an error has to say at length
		delete(m.Fields, f.Key+"Verbose")
		delete(m.Fields, f.Key+"Causes")
	}
	for _, key := range slices.Sorted(maps.Keys(m.Fields)) {
		if text, ok := m.Fields[key].(string); ok {
			list = append(list, zap.String(key, clean(text, maxText)))
		} else {
			list = append(list, zap.Reflect(clean(key, maxItem), cleanValue(m.Fields[key], maxDepth)))
		}
	}
	return list
}

// cleanValue is a value of any kind, as far as it may be written.
func cleanValue(v any, depth int) any {
	switch v := v.(type) {
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, uintptr, float32, float64, time.Duration, time.Time:
		return v
	case string:
		return clean(v, maxItem)
	case []byte:
		return v[:min(len(v), maxText)]
	case []any:
		if depth > 0 {
			list := make([]any, 0, min(len(v), maxItems))
			for _, e := range v[:min(len(v), maxItems)] {
				list = append(list, cleanValue(e, depth-1))
			}
			return list
		}
	case map[string]any:
		if depth > 0 {
			object := map[string]any{}
			for _, key := range slices.Sorted(maps.Keys(v)) {
				if len(object) < maxItems {
					object[clean(key, maxItem)] = cleanValue(v[key], depth-1)
				}
			}
			return object
		}
	}
	return clean(fmt.Sprint(v), maxText)
}
