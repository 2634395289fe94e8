package people

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

// Application is an outside program that may act for somebody.
type Application struct {
	ID     annona.UID // of the leave that it has
	Label  string     // what the registry calls it
	Within annona.Authorization
	Since  time.Time
	Until  time.Time
}

// Applications lists what may act for the person, the newest first.
func (d *Desk) Applications(ctx context.Context, p *Person) ([]Application, error) {
	all, err := d.Delegations.DelegationsOf(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	var listed []Application
	for _, leave := range all {
		client, err := d.Clients.ClientByID(ctx, leave.Client)
		if err != nil {
			return nil, err
		}
		if client == nil || !client.RevokedAt.IsZero() {
			continue
		}
		listed = append(listed, Application{ID: leave.ID, Label: NameOf(client), Within: leave.Within, Since: leave.BeganAt, Until: leave.Until})
	}
	return listed, nil
}

// NameOf is what people are told of a client.
func NameOf(client *annona.Client) string {
	if client.Label != "" {
		return client.Label
	}
	return client.KeyID
}

// EndApplication takes the leave of an application back; its access tokens end with it. It is in the
// ledger before. Code not_found when it is not one of the person's.
func (d *Desk) EndApplication(ctx context.Context, b Browser, p *Person, id annona.UID) error {
	all, err := d.Delegations.DelegationsOf(ctx, p.ID)
	if err != nil {
		return err
	}
	for _, leave := range all {
		if leave.ID != id {
			continue
		}
		err := d.Record(ctx, p.caller(b), func(annona.Tx) (map[string]string, error) {
			details := about(p.ID, "application_ended", "")
			details["delegation"] = id.String()
			return details, nil
		})
		if err != nil {
			return err
		}
		return d.Delegations.EndDelegation(ctx, id, d.Clock())
	}
	return annona.NotFound("this application does not act for you any more")
}
