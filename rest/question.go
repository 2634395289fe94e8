package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

// Asked is what every question about people has: the parameters purpose, fields and as_of.
type Asked struct {
	Purpose string   `query:"purpose" required:"true" example:"eligibility-assessment" doc:"What the data is for: the code of a purpose in your agreement."`
	Fields  []string `query:"fields" nullable:"false" example:"individual_id,date_of_birth,sex" doc:"The columns you want, separated by commas; a repeated group by its name, one of its columns as group.column. Without it: everything that your agreement grants."`
	AsOf    string   `query:"as_of" example:"2026-01-31" doc:"The day on which ages and memberships are read. Without it: today."`
}

// Chosen is the filter of a question about many records.
type Chosen struct {
	Filter string `query:"filter" example:"household.poverty_score < 35 && age_on(individual.date_of_birth, as_of) >= 60" doc:"Which records, in the filter language: a subset of CEL. It may name only fields that your agreement grants unaltered."`
}

// Accepts is the header by which a client chooses the format of a page or a record.
type Accepts struct {
	Accept string `header:"Accept" hidden:"true"`
}

func (a Asked) question(dataset string) exchange.Question {
	return exchange.Question{Dataset: dataset, Purpose: a.Purpose, Fields: a.Fields, AsOf: annona.Date(a.AsOf)}
}

// format negotiates the format of a page or a record.
func (a Accepts) format(among ...encode.Format) (encode.Options, error) {
	format, err := encode.Negotiate(a.Accept, among...)
	if err != nil {
		return encode.Options{}, notAcceptable(err)
	}
	o := encode.Options{Format: format}
	if format == encode.CSV {
		o.Layout = encode.Plain // one answer is one file
	}
	return o, nil
}

func notAcceptable(err error) error {
	known := (*annona.Error)(nil)
	if !errors.As(err, &known) {
		return err
	}
	return refused(http.StatusNotAcceptable, known)
}

// written completes a question by what the form of its answer calls for: nested formats say of
// each absent value why it is absent, a plain file has no place for groups.
func written(q exchange.Question, o encode.Options) (exchange.Question, exchange.Form) {
	layout := encode.LayoutOf(q.Dataset, o)
	q.NilReasons, q.Plain = layout == encode.Nested, layout == encode.Plain
	return q, exchange.Form{Format: string(o.Format), Layout: string(layout)}
}

// private is text that may be somebody's personal data. However it is printed, logged or
// encoded, it does not show.
type private string

const redacted = "[redacted]"

func (private) Format(f fmt.State, _ rune)   { fmt.Fprint(f, redacted) }
func (private) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (private) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// Schema tells huma that private is text.
func (private) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeString} }
