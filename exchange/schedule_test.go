package exchange

import (
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// TestSchedulesAcrossClockChanges runs through the changes of summer time: a time that is skipped comes after the
// change, one that comes twice counts once, and hours follow the hours.
func TestSchedulesAcrossClockChanges(t *testing.T) {
	for name, c := range map[string]struct {
		cron, zone, from string
		want             []string
	}{
		"skipped in spring":     {"30 2 * * *", "Europe/Berlin", "2025-03-28T12:00:00Z", []string{"2025-03-29T01:30:00Z", "2025-03-30T01:30:00Z", "2025-03-31T00:30:00Z"}},
		"twice in autumn":       {"30 2 * * *", "Europe/Berlin", "2025-10-25T12:00:00Z", []string{"2025-10-26T00:30:00Z", "2025-10-27T01:30:00Z"}},
		"between the two":       {"30 2 * * *", "Europe/Berlin", "2025-10-26T01:00:00Z", []string{"2025-10-27T01:30:00Z"}},
		"each hour in autumn":   {"0 * * * *", "Europe/Berlin", "2025-10-25T23:30:00Z", []string{"2025-10-26T00:00:00Z", "2025-10-26T01:00:00Z", "2025-10-26T02:00:00Z"}},
		"each hour in spring":   {"0 * * * *", "Europe/Berlin", "2025-03-30T00:30:00Z", []string{"2025-03-30T01:00:00Z", "2025-03-30T02:00:00Z"}},
		"morning across spring": {"0 6 * * *", "America/New_York", "2025-03-08T12:00:00Z", []string{"2025-03-09T10:00:00Z", "2025-03-10T10:00:00Z"}},
		"half an hour":          {"15 2 * * *", "Australia/Lord_Howe", "2025-10-04T00:00:00Z", []string{"2025-10-04T15:45:00Z", "2025-10-05T15:15:00Z"}},
		"no changes":            {"0 6 * * 1", "Africa/Accra", "2026-11-22T00:00:00Z", []string{"2026-11-23T06:00:00Z", "2026-11-30T06:00:00Z"}},
		"every leap year":       {"0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, c.from)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if at, err = NextRun(&annona.Schedule{Cron: c.cron, TimeZone: c.zone}, at); err != nil || at.Format(time.RFC3339) != want {
					t.Fatalf("%s, %v; want %s", at.Format(time.RFC3339), err, want)
				}
			}
		})
	}
}

func TestSchedulesThatAreNone(t *testing.T) {
	for _, c := range [][3]string{
		{"", "UTC", "schedule_malformed"}, {"nonsense", "UTC", "schedule_malformed"}, {"61 * * * *", "UTC", "schedule_malformed"}, {"* * * *", "UTC", "schedule_malformed"},
		{"@daily", "UTC", "schedule_malformed"}, {"TZ=UTC 0 6 * *", "UTC", "schedule_malformed"}, {"0 0 0 6 * *", "UTC", "schedule_malformed"},
		{"0 6 * * *", "", "unknown_time_zone"}, {"0 6 * * *", "Local", "unknown_time_zone"}, {"0 6 * * *", "Mars/Olympus", "unknown_time_zone"}, {"0 6 * * *", "../etc/passwd", "unknown_time_zone"},
		{"0 0 31 2 *", "UTC", "schedule_never"},
	} {
		if _, err := NextRun(&annona.Schedule{Cron: c[0], TimeZone: c[1]}, time.Now()); annona.CodeOf(err) != c[2] {
			t.Errorf("%q in %q: %v", c[0], c[1], err)
		}
	}
}
