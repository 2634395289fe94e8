package suggest

import (
	"embed"
	"encoding/csv"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
	"golang.org/x/text/unicode/norm"
)

// words.csv holds what sources call a target, by language; a target is a field of the
// dictionary (individuals.sex) or another place of a mapping (households.key). A row that
// begins with ~ spells a word out: hh is household. codes.csv holds what they call a code.
//
//go:embed words.csv codes.csv
var tables embed.FS

// vocabulary is what columns and codes may be called.
type vocabulary struct {
	dictionary *annona.Dictionary
	aliases    map[string][]string
	phrases    []phrase
	index      map[string][]int             // phrases by the beginning of each of their words, and by all of them
	codes      map[string]map[string]string // by list: folded word → code
}

// phrase is one name of a target.
type phrase struct {
	target string
	words  []string
	joined string
	worth  float64 // 1 for a name that people use, less for one made from the dictionary
}

var rows = sync.OnceValue(func() map[string][][]string {
	all := map[string][][]string{}
	for _, name := range []string{"words.csv", "codes.csv"} {
		file, err := tables.Open(name)
		if err != nil {
			panic(err)
		}
		all[name], err = csv.NewReader(file).ReadAll()
		if err != nil {
			panic("the words of package suggest: " + err.Error()) // a test reads the same tables
		}
	}
	return all
})

func newVocabulary(d *annona.Dictionary) *vocabulary {
	v := &vocabulary{dictionary: d, aliases: map[string][]string{}, index: map[string][]int{}, codes: map[string]map[string]string{}}
	words := rows()["words.csv"][1:]
	for _, row := range words {
		if spelled, ok := strings.CutPrefix(row[0], "~"); ok {
			for alias := range strings.SplitSeq(row[2], "|") {
				v.aliases[alias] = strings.Fields(spelled)
			}
		}
	}
	for _, row := range words {
		worth := 1.0
		if row[0] == "ignore" {
			worth = 0.7 // a country may have declared an attribute for it
		}
		if !strings.HasPrefix(row[0], "~") {
			v.call(row[0], strings.Split(row[2], "|"), worth)
		}
	}
	for _, dataset := range []string{"households", "individuals"} {
		v.nameFields(dataset)
	}
	for _, name := range d.CodeLists() {
		list, _ := d.CodeList(name)
		for _, c := range list.Codes {
			v.spell(name, c.Code, c.Code)
			v.spell(name, c.Label, c.Code)
		}
	}
	for _, row := range rows()["codes.csv"][1:] {
		for word := range strings.SplitSeq(row[3], "|") {
			v.spell(row[0], word, row[1])
		}
	}
	v.indexPhrases()
	return v
}

func (v *vocabulary) indexPhrases() {
	for i := range v.phrases {
		p := &v.phrases[i]
		for _, key := range append(beginnings(p.words), p.joined) {
			if known := v.index[key]; len(known) == 0 || known[len(known)-1] != i {
				v.index[key] = append(known, i)
			}
		}
	}
}

// beginnings are the first letters of words: as many as words must share to be alike.
func beginnings(words []string) []string {
	keys := make([]string, len(words))
	for i, word := range words {
		letters := []rune(word)
		keys[i] = string(letters[:min(alikeLetters, len(letters))])
	}
	return keys
}

// near returns the phrases that share a word with a header.
func (v *vocabulary) near(words []string) []int {
	var found []int
	for _, key := range append(beginnings(words), strings.Join(words, "")) {
		found = append(found, v.index[key]...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// call adds names of a target. One of a field that households have too is one of theirs.
func (v *vocabulary) call(target string, names []string, worth float64) {
	targets := []string{target}
	if code, ok := strings.CutPrefix(target, "individuals."); ok && v.fills("households", code) {
		targets = append(targets, "households."+code)
	}
	for _, name := range names {
		words := v.split(name)
		for _, t := range targets {
			v.phrases = append(v.phrases, phrase{target: t, words: words, joined: strings.Join(words, ""), worth: worth})
		}
	}
}

// fills reports whether a source may fill the field.
func (v *vocabulary) fills(dataset, code string) bool {
	d, ok := v.dictionary.Dataset(dataset)
	if !ok {
		return false
	}
	f, ok := d.Field(code)
	return ok && !f.Derived && f.Type != annona.TypeGroup && f.Aspect == annona.AspectValue
}

// nameFields adds each field under its own code and label; a declared attribute also without
// the country before it.
func (v *vocabulary) nameFields(dataset string) {
	d, ok := v.dictionary.Dataset(dataset)
	if !ok {
		return
	}
	for _, f := range d.Fields {
		if !v.fills(dataset, f.Code) {
			continue
		}
		code := strings.TrimPrefix(f.Code, strings.ToLower(f.Country)+"_")
		for _, name := range []string{code, f.Label} {
			words := v.split(name)
			v.phrases = append(v.phrases, phrase{target: dataset + "." + f.Code, words: words, joined: strings.Join(words, ""), worth: 0.97})
		}
	}
}

func (v *vocabulary) spell(list, word, code string) {
	if v.codes[list] == nil {
		v.codes[list] = map[string]string{}
	}
	if folded := fold(word); folded != "" && v.codes[list][folded] == "" {
		v.codes[list][folded] = code
	}
}

// code returns the code that a word of a source means in a list.
func (v *vocabulary) code(list, word string) (string, bool) {
	code, ok := v.codes[list][fold(word)]
	if l, closed := v.dictionary.CodeList(list); ok && closed && !l.Has(code) {
		return "", false
	}
	return code, ok
}

// filler are words that tell nothing.
var filler = []string{"of", "the", "a", "an", "to", "de", "du", "des", "la", "le", "les", "el", "los", "las", "del", "do", "da", "dos", "das",
	"d", "l", "y", "e", "et", "and", "is", "in", "ya", "wa", "za", "cha", "kwa", "في"}

// split cuts a name into words that can be compared: without case, accents and fillers, with
// short forms spelled out.
func (v *vocabulary) split(name string) []string {
	var words []string
	for _, word := range cut(name) {
		if spelled, ok := v.aliases[word]; ok {
			words = append(words, spelled...)
		} else if !slices.Contains(filler, word) {
			words = append(words, word)
		}
	}
	if words == nil {
		return cut(name)
	}
	return words
}

// cut cuts a name where its letters change: at marks, digits and capitals inside a word.
func cut(name string) []string {
	var words []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			words = append(words, plain(string(word)))
		}
		word = word[:0]
	}
	for _, r := range norm.NFKC.String(name) {
		last := rune(0)
		if len(word) > 0 {
			last = word[len(word)-1]
		}
		switch {
		case unicode.IsLetter(r) && (unicode.IsDigit(last) || unicode.IsUpper(r) && unicode.IsLower(last)), unicode.IsDigit(r) && unicode.IsLetter(last):
			end()
			word = append(word, r)
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.Is(unicode.M, r):
			word = append(word, r)
		case r != '\'' && r != '’' && !unicode.Is(unicode.Cf, r):
			end()
		}
	}
	end()
	return words
}

// plain writes a word without case, accents and vowel points, and without the article of
// Arabic.
func plain(word string) string {
	word = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r), r == 'ـ':
			return -1
		case r == 'ى':
			return 'ي'
		case r == 'ة':
			return 'ه'
		}
		return unicode.ToLower(r)
	}, norm.NFKD.String(word))
	if rest, ok := strings.CutPrefix(word, "ال"); ok && len([]rune(rest)) > 2 {
		return rest
	}
	return word
}

// fold writes the words of a text as one.
func fold(text string) string { return strings.Join(cut(text), " ") }

// resembles says how well the words of a header name what the phrase names, from 0 to 1.
func (p *phrase) resembles(words []string) float64 {
	if strings.Join(words, "") == p.joined {
		return p.worth
	}
	found, weight := 0, 0.0
	used := make([]bool, len(words))
	for _, w := range p.words {
		best, at := 0.0, -1
		for i, h := range words {
			if like := alike(w, h); !used[i] && like > best {
				best, at = like, i
			}
		}
		if at >= 0 {
			used[at], weight = true, weight+best
			found++
		}
	}
	if found == 0 {
		return 0
	}
	ofPhrase, ofHeader := weight/float64(len(p.words)), weight/float64(len(words))
	if found < len(p.words) && (found < len(words) || ofPhrase < 0.5) {
		return 0 // each says something that the other does not
	}
	return p.worth * (0.5*ofPhrase + 0.45*ofHeader)
}

// alikeLetters is how many letters of a word must stand for the rest of it.
const alikeLetters = 4

// alike compares two words; one may be the beginning of the other.
func alike(a, b string) float64 {
	if a == b {
		return 1
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	if strings.HasPrefix(b, a) && utf8.RuneCountInString(a) >= alikeLetters {
		return 0.9
	}
	return 0
}
