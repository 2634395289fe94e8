package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
)

// Streamed gives an operation its request, whose body it reads itself, as it comes.
type Streamed struct {
	request *http.Request
	answer  http.ResponseWriter
}

// Resolve keeps the request.
func (in *Streamed) Resolve(c huma.Context) []error {
	in.request, in.answer = humago.Unwrap(c)
	return nil
}

// The bounds of rows that are sent at once.
const (
	maxRows      = 10_000
	maxRowsBytes = 16 << 20
)

// whole reads the body, of at most so many bytes.
func (in *Streamed) whole(s *Server, most int) ([]byte, error) {
	from, err := s.newUpload(in.request, in.answer)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	text, err := io.ReadAll(io.LimitReader(from, int64(most)+1))
	if err == nil && len(text) > most {
		err = uploadTooLarge(int64(most))
	}
	return text, err
}

// lines reads the rows of the body, one on a line.
func (in *Streamed) lines(s *Server) ([][]byte, error) {
	if format, err := rowFormat(in.request.Header); err != nil || format != "ndjson" {
		return nil, refused(http.StatusUnsupportedMediaType, annona.Invalid("unsupported_media_type", "send the rows as application/x-ndjson, in UTF-8").On("Content-Type"))
	}
	body, err := in.whole(s, maxRowsBytes)
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(bytes.TrimRight(body, "\r\n"), []byte{'\n'})
	if len(lines) > maxRows {
		return nil, refused(http.StatusRequestEntityTooLarge, annona.TooLarge("too_many_rows", "send at most %d rows at once", maxRows))
	}
	return lines, nil
}

// readObject reads one JSON object, numbers as they stand there. A member that is not known would be lost.
func readObject(text []byte, into any) error {
	var object map[string]json.RawMessage
	err := unmarshalStrictly(text, &object)
	if err == nil && object != nil {
		from := json.NewDecoder(bytes.NewReader(text))
		from.UseNumber()
		from.DisallowUnknownFields()
		err = from.Decode(into)
	}
	if err != nil || object == nil {
		return annona.Invalid("body_malformed", "the text is not one JSON object with members that are known here, each once and of its type")
	}
	return nil
}

// why says why a row was refused; nothing of one that was not.
func why(reason error) (code, field, detail string) {
	if reason == nil {
		return "", "", ""
	}
	if e := (*annona.Error)(nil); errors.As(reason, &e) {
		field, detail = e.Name, e.Message
	}
	return annona.CodeOf(reason), field, detail
}
