package exchange

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/annona-exchange/annona"
)

// cronForm is the form of schedules: five fields, and none of the words that begin with @.
const cronForm = cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow

// timetable is a schedule, parsed.
type timetable struct {
	cron.Schedule
	zone   *time.Location
	hourly bool // it is of each hour or of every so many hours, and follows the clock, not the wall
}

func parseSchedule(s *annona.Schedule) (t timetable, err error) {
	malformed := annona.Invalid("schedule_malformed", "a schedule has five fields: minute, hour, day of the month, month and day of the week, as 0 6 * * 1").On("schedule.cron")
	fields := strings.Fields(s.Cron)
	if len(fields) != 5 || strings.Contains(s.Cron, "=") {
		return t, malformed
	}
	if t.Schedule, err = cron.NewParser(cronForm).Parse(s.Cron); err != nil {
		return t, malformed
	}
	t.hourly = strings.HasPrefix(fields[1], "*")
	if t.zone, err = time.LoadLocation(s.TimeZone); err != nil || s.TimeZone == "" || s.TimeZone == "Local" {
		return t, annona.Invalid("unknown_time_zone", "a time zone is a name of the IANA database, such as Africa/Accra").On("schedule.time_zone")
	}
	if t.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return t, annona.Invalid("schedule_never", "there is no such day").On("schedule.cron")
	}
	return t, nil
}

// NextRun is when a schedule is due for the first time behind a moment. A time that the clocks skip in spring
// is the same time after the change; of one that comes twice in autumn the first counts. Schedules of each
// hour, or of every so many, follow the hours themselves.
func NextRun(s *annona.Schedule, after time.Time) (time.Time, error) {
	t, err := parseSchedule(s)
	if err != nil {
		return time.Time{}, err
	}
	if t.hourly {
		return t.Next(after.In(t.zone)).UTC(), nil
	}
	// The wall is a clock without changes: its times are found, and then when they are.
	local := after.In(t.zone)
	wall := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), time.UTC).Add(-24 * time.Hour)
	for {
		wall = t.Next(wall)
		if due := onTheWall(wall, t.zone); due.After(after) {
			return due.UTC(), nil
		}
	}
}

// onTheWall is the first moment at which clocks of a zone show a time, or, when they skip it, that much
// behind the change.
func onTheWall(wall time.Time, zone *time.Location) time.Time {
	at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, zone)
	shown := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), 0, 0, time.UTC)
	if shown.Before(wall) {
		return at.Add(wall.Sub(shown)) // skipped
	}
	earlier := at.Add(-time.Hour)
	if earlier.Hour() == at.Hour() && earlier.Minute() == at.Minute() {
		return earlier // it comes twice
	}
	return at
}

// checkSchedule refuses a schedule that is none, or in the name of a client of somebody else.
func (x *Exchange) checkSchedule(ctx context.Context, spec *annona.ExportSpec) error {
	s := spec.Schedule
	if s == nil {
		return nil
	}
	if _, err := parseSchedule(s); err != nil {
		return err
	}
	if s.Webhook != "" {
		u, err := url.Parse(s.Webhook)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || len(s.Webhook) > 500 {
			return annona.Invalid("webhook_malformed", "a webhook is an https address without a user").On("schedule.webhook")
		}
	}
	client, err := x.clientNamed(ctx, s.Client)
	if err != nil {
		return err
	}
	if client == nil || client.Agreement != spec.Agreement {
		return annona.Invalid("schedule_client", "a schedule names a client of the agreement, by its id: annona key list shows them").On("schedule.client")
	}
	return nil
}

// clientNamed finds a client by its id or by the public part of its key; nil when there is none.
func (x *Exchange) clientNamed(ctx context.Context, name string) (*annona.Client, error) {
	if id, err := annona.ParseUID(name); err == nil {
		if client, err := x.Standings.ClientByID(ctx, id); err != nil || client != nil {
			return client, err
		}
	}
	return x.Standings.ClientByKeyID(ctx, name)
}

// StartScheduled starts an export that is due at that time, in the name of its schedule's client. The same due time
// again is the same export.
func (x *Exchange) StartScheduled(ctx context.Context, spec *annona.ExportSpec, due time.Time) (annona.ExportJob, error) {
	client, err := x.clientNamed(ctx, spec.Schedule.Client)
	if err != nil {
		return annona.ExportJob{}, err
	}
	if client == nil || client.Agreement != spec.Agreement {
		return annona.ExportJob{}, annona.Forbidden("schedule_client", "the client of the schedule is not on file any more, or is another agreement's")
	}
	as := annona.Caller{Client: client.ID, Agreement: client.Agreement, Strength: annona.StrengthAPIKey}
	job, _, err := x.StartExport(ctx, as, ExportRequest{Spec: spec.Name, Version: spec.Version, Key: "schedule/" + spec.Name + "/" + due.UTC().Format(time.RFC3339)})
	return job, err
}
