package rest

import (
	"cmp"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

const (
	attachmentsPath = casesPath + "/{id}/attachments"
	attachmentPath  = attachmentsPath + "/{attachment}"
)

func (s *Server) registerAttachments() {
	operation := func(method, path, id, summary, description string, errors ...int) huma.Operation {
		return tagged("cases", people(huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Description: description}, errors...))
	}
	binary := map[string]*huma.MediaType{}
	for _, mediaType := range exchange.AttachmentTypes() {
		binary[mediaType] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
	add := operation(http.MethodPost, attachmentsPath, "addCaseAttachment", "Attach a file to a case",
		"The body is the file, and Content-Disposition has its name: attachment; filename=\"letter.pdf\". It has to be what Content-Type says, and its name ends as that has it. "+
			"An upload that breaks off leaves nothing behind. How large a file may be, the operator of the registry says; 10 MiB unless it says otherwise.",
		http.StatusConflict, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	add.RequestBody = &huma.RequestBody{Required: true, Description: "The file.", Content: binary}
	add.DefaultStatus = http.StatusCreated
	list := operation(http.MethodGet, attachmentsPath, "caseAttachments", "The attachments of a case", "The oldest first, without their contents.", http.StatusGone)
	list.Responses = withCursor(answers("A page.", []string{"application/json"}))
	one := operation(http.MethodGet, attachmentPath, "caseAttachment", "Fetch an attachment",
		"Its content. Your agreement names the fields name, media_type, size and sha256 for that. Each time is decided anew, and stands in the ledger.")
	one.Responses = map[string]*huma.Response{"200": {Description: "The file.", Content: binary}}
	huma.Register(s.api, add, s.addAttachment)
	huma.Register(s.api, list, s.listAttachments)
	huma.Register(s.api, one, s.fetchAttachment)
	remove := operation(http.MethodDelete, attachmentPath, "removeCaseAttachment", "Take an attachment away", "For good: what opens it is destroyed.", http.StatusConflict)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(s.api, remove, s.removeAttachment)
}

type addAttachmentInput struct {
	ID           string `path:"id" minLength:"26" maxLength:"26" doc:"The case's id." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Purpose      string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
	Confidential bool   `query:"confidential" doc:"true: only those see that there is an attachment who are cleared for what is restricted."`
	Disposition  string `header:"Content-Disposition" doc:"The name of the file. Needed." example:"attachment; filename=\"letter.pdf\""`

	Streamed
}

// addAttachment hands a file to the gate as it comes.
func (s *Server) addAttachment(ctx context.Context, in *addAttachmentInput) (*caseOutput, error) {
	a := exchange.Attachment{Confidential: in.Confidential, MediaType: plainMediaType(in.request.Header.Get("Content-Type"))}
	if _, named, err := mime.ParseMediaType(in.Disposition); err == nil {
		a.Name = named["filename"]
	}
	if most := s.Gate.MaxAttachment(); in.request.ContentLength > most {
		return nil, refused(http.StatusRequestEntityTooLarge, annona.TooLarge("attachment_too_large", "an attachment has at most %d bytes", most))
	}
	content, err := s.newUpload(in.request, in.answer)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	v, err := s.Gate.AddAttachment(ctx, visitOf(ctx).caller, in.Purpose, in.ID, a, content)
	http.NewResponseController(in.answer).SetWriteDeadline(time.Now().Add(s.WriteTimeout)) // the upload has used up its own
	if err != nil {
		return nil, fileRefused(err)
	}
	return caseAnswer(v, http.StatusCreated), nil
}

// plainMediaType is a media type without parameters; empty when it is none, or of another charset than UTF-8.
func plainMediaType(said string) string {
	mediaType, named, err := mime.ParseMediaType(said)
	if charset := named["charset"]; err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return ""
	}
	return mediaType
}

// fileRefused gives its own status to what is refused for its kind or its size.
func fileRefused(err error) error {
	status := map[string]int{
		"attachment_type": http.StatusUnsupportedMediaType, "attachment_mismatch": http.StatusUnsupportedMediaType, "attachment_too_large": http.StatusRequestEntityTooLarge,
	}[annona.CodeOf(err)]
	if e := (*annona.Error)(nil); status != 0 && errors.As(err, &e) {
		return refused(status, e)
	}
	return err
}

type listAttachmentsInput struct {
	ID string `path:"id" minLength:"26" maxLength:"26" doc:"The case's id." example:"mfzwizltoq4dgojxge3tgmzyga"`
	CasePage
}

func (s *Server) listAttachments(ctx context.Context, in *listAttachmentsInput) (*reply, error) {
	v := visitOf(ctx)
	answer, err := s.Gate.CaseAttachments(ctx, v.caller, in.Purpose, in.ID, in.Fields, in.After, in.Limit)
	return s.matters(v, "case_attachments", in.Purpose, answer, err)
}

type attachmentInput struct {
	ID         string `path:"id" minLength:"26" maxLength:"26" doc:"The case's id." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Attachment string `path:"attachment" minLength:"26" maxLength:"26" doc:"The attachment's id." example:"mfzwizltoq4dgojxge3tgmzyga"`
	Purpose    string `query:"purpose" required:"true" doc:"A purpose of your agreement." example:"case-management"`
}

// fetchAttachment writes the content of an attachment, as something to be saved and not to be shown.
func (s *Server) fetchAttachment(ctx context.Context, in *attachmentInput) (*reply, error) {
	v := visitOf(ctx)
	c, err := s.Gate.OpenAttachment(ctx, v.caller, in.Purpose, in.ID, in.Attachment)
	if err != nil {
		return nil, err
	}
	v.recognized(c.Request, exchange.Question{Dataset: "case_attachments", Purpose: in.Purpose})
	h := http.Header{}
	h.Set("Content-Type", c.MediaType)
	if strings.HasPrefix(c.MediaType, "text/") {
		h.Set("Content-Type", c.MediaType+"; charset=utf-8")
	}
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": c.Name}))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	return s.sendRows(1, c.Sent, encode.Options{}, h, func(b *body) error {
		var why error
		done := askEachSecond(ctx, c.Ask, func(err error) {
			why = err
			b.wire.stop()
		})
		_, err := io.Copy(b, c)
		done()
		return cmp.Or(why, err)
	}), nil
}

func (s *Server) removeAttachment(ctx context.Context, in *attachmentInput) (*struct{}, error) {
	return nil, s.Gate.RemoveAttachment(ctx, visitOf(ctx).caller, in.Purpose, in.ID, in.Attachment)
}
