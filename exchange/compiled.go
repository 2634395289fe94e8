package exchange

import (
	"strings"
	"sync"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// compiled is what the columns of a question are under a grant. Partners ask the same few questions
// again and again, so that it is made once for all of them. It is safe for concurrent use, and what
// it points to never changes.
type compiled struct {
	shape  *annona.Shape
	fields []string  // names of the shape's columns
	plans  sync.Pool // of *privacy.Plan for the shape: each is used by one request at a time
	parts  sync.Map  // of the names of the columns behind that of a part, by that name
}

// columnsKey is all that the columns of a question depend on.
type columnsKey struct {
	terms             termsKey
	effect            uint64 // of the role
	strength          annona.Strength
	datasets          string // of the access token
	purpose, dataset  string
	fields            string
	nilReasons, plain bool
	matters           bool
}

// The bounds of what is kept of questions.
const (
	keptQuestions  = 1000
	keptFieldsText = 4 << 10 // bytes of names
)

// questions keeps compiled questions.
type questions struct {
	mu   sync.Mutex
	kept map[columnsKey]*compiled
}

// compile returns the columns of a question under a grant.
func (s *questions) compile(d *annona.Dictionary, grant *annona.Grant, caller annona.Caller, q Question) (*compiled, error) {
	key := columnsKey{
		terms:  termsKey{grant.Agreement.Name, grant.Agreement.Version, d.Version},
		effect: grant.Decision.Effect, strength: caller.Strength, datasets: strings.Join(grant.Within.Datasets, ","), purpose: grant.Purpose.Code, dataset: q.Dataset,
		fields: strings.Join(q.Fields, ","), nilReasons: q.NilReasons, plain: q.Plain, matters: q.matters,
	}
	// A name with a comma in it is none, and would share its key with two that are.
	keeps := len(key.fields) <= keptFieldsText && strings.Count(key.fields, ",") == max(0, len(q.Fields)-1)
	if known := s.known(key); known != nil && keeps {
		return known, nil
	}
	shape, err := shapeOf(d, grant, q)
	if err != nil {
		return nil, err
	}
	c := &compiled{shape: shape, fields: fieldNames(shape)}
	if keeps {
		s.keep(key, c)
	}
	return c, nil
}

func (s *questions) known(key columnsKey) *compiled {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[key]
}

func (s *questions) keep(key columnsKey, c *compiled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil || len(s.kept) >= keptQuestions {
		s.kept = map[columnsKey]*compiled{}
	}
	s.kept[key] = c
}

// redact turns a page into what may be shown of it, by a plan that is kept for the next one.
func (i *inquiry) redact(page *annona.Page) *privacy.Disclosed {
	if page.Shape != i.shape {
		return i.plan(page.Shape).Redact(page)
	}
	plan, ok := i.compiled.plans.Get().(*privacy.Plan)
	if !ok {
		plan = i.plan(page.Shape)
	}
	disclosed := plan.Redact(page)
	i.compiled.plans.Put(plan)
	return disclosed
}
