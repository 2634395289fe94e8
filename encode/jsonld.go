package encode

// jsonldForm writes one JSON-LD 1.1 document: the records of JSON, each with its type, and the
// context that makes RDF of them. It needs nothing from elsewhere to be understood.
type jsonldForm struct {
	objects
	context []byte
	some    bool // a record was written
}

func (f *jsonldForm) open(dst []byte, _ Part) []byte {
	dst = append(dst, `{"@context":`...)
	dst = append(dst, f.context...)
	return append(dst, `,"@graph":[`+"\n"...)
}

func (f *jsonldForm) row(dst []byte, row int) []byte {
	if f.some {
		dst = append(dst, ",\n"...)
	}
	f.some = true
	return f.objects.row(dst, row)
}

func (f *jsonldForm) close(dst []byte) []byte {
	if f.some {
		dst = append(dst, '\n')
	}
	return append(dst, "]}\n"...)
}
