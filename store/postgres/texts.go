package postgres

import "sync"

// texts are those of statements that were lowered before. Whoever asks the same way again finds the same text, which is
// not made anew for each request: it holds no values.
var texts knownTexts

type knownTexts struct {
	mu    sync.Mutex
	known map[string]string
	paper sync.Pool // of *[]byte to write on
}

// The bounds of what is kept of texts.
const (
	keptTexts    = 500
	keptTextSize = 16 << 10 // bytes
)

// blank returns something to write on, which of takes back.
func (t *knownTexts) blank() []byte {
	if p, ok := t.paper.Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, keptTextSize/2)
}

// of returns the text of what was written.
func (t *knownTexts) of(written []byte) string {
	if len(written) > keptTextSize {
		return string(written)
	}
	defer t.paper.Put(&written)
	t.mu.Lock()
	defer t.mu.Unlock()
	if text, ok := t.known[string(written)]; ok {
		return text
	}
	if t.known == nil || len(t.known) >= keptTexts {
		t.known = map[string]string{}
	}
	text := string(written)
	t.known[text] = text
	return text
}
