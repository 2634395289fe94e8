package rest

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

// readyTimeout bounds the look at store, ledger and vault.
const readyTimeout = 2 * time.Second

type state struct {
	Body struct {
		Status string `json:"status" example:"ok" doc:"ok"`
	}
}

func okay() *state {
	s := &state{}
	s.Body.Status = "ok"
	return s
}

// alive says that the process answers.
func (s *Server) alive(context.Context, *struct{}) (*state, error) { return okay(), nil }

// ready says whether the installation can disclose at this moment. Why not is for its
// operator's log, not for the network.
func (s *Server) ready(ctx context.Context, _ *struct{}) (*state, error) {
	if s.draining.Err() != nil {
		return nil, errShuttingDown
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		s.Log.Warn("not ready", "reason", describe(err))
		return nil, annona.Unavailable("not_ready", "the installation cannot answer at the moment; its log says why")
	}
	return okay(), nil
}
