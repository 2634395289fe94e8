package sqlite

import (
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// TestLinesFollowTheCalendar moves somebody by date alone: nothing is written on the day.
func TestLinesFollowTheCalendar(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	tomorrow := storetest.Today.AddDays(1)
	err := load(t, s, storetest.Household("old", map[string]string{"area_code": "XA-1"}), storetest.Household("new", map[string]string{"area_code": "XA-2"}),
		storetest.Person("p", nil, annona.Membership{HouseholdKey: "old", EndDate: tomorrow}, annona.Membership{HouseholdKey: "new", StartDate: tomorrow}),
		storetest.Person("leaves", nil, annona.Membership{HouseholdKey: "old", EndDate: tomorrow}), storetest.Person("comes", nil, annona.Membership{HouseholdKey: "new", StartDate: tomorrow}))
	if err != nil {
		t.Fatal(err)
	}
	area := func(s tested) string {
		t.Helper()
		d, _ := annona.Standard().Dataset("individuals")
		page := annona.NewPage(storetest.Shape(d, "area_code"))
		scope := annona.NewScope(page.Shape, nil, nil, annona.ScopeTerms{AsOf: tomorrow, Today: tomorrow})
		if _, err := s.ReadPage(t.Context(), scope, 0, 0, 10, page); err != nil {
			t.Fatal(err)
		}
		return string(page.Cell(0, 0))
	}
	if got := area(s); got != "XA-1" {
		t.Fatalf("today: %s", got)
	}
	before, _ := s.Events(t.Context())
	clock := func() time.Time { return storetest.Clock().AddDate(0, 0, 1) }
	next, err := Open(dir, Options{Dictionary: annona.Standard(), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if got := area(tested{next}); got != "XA-2" {
		t.Errorf("tomorrow: %s", got)
	}
	after, _ := s.Events(t.Context())
	if n := len(after) - len(before); n != 5 {
		t.Errorf("%d events, want one for each individual and one for each household", n)
	}
	if err := next.Update(t.Context(), func(annona.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if again, _ := s.Events(t.Context()); len(again) != len(after) {
		t.Error("the same day touches them again")
	}
}
