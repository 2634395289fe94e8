package encode

// ndjsonForm writes one record on each line and nothing else.
type ndjsonForm struct{ objects }

func (f *ndjsonForm) open(dst []byte, _ Part) []byte { return dst }

func (f *ndjsonForm) row(dst []byte, row int) []byte {
	return append(f.objects.row(dst, row), '\n')
}

func (f *ndjsonForm) close(dst []byte) []byte { return dst }
