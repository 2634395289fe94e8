package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

func testCrosswalks(t *testing.T, r *registry) {
	put := func(source, list string, version int, codes map[string]string) error {
		return r.Update(r.ctx, func(tx annona.Tx) error {
			return tx.PutCrosswalk(r.ctx, annona.Crosswalk{Source: source, List: list, Version: version, Codes: codes, AppliedAt: Clock().UTC()})
		})
	}
	for version, codes := range []map[string]string{{"M": "male"}, {"M": "male", "1": "male"}} {
		if err := put("survey", "sex", version+1, codes); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("census", "sex", 1, map[string]string{"m": "male"}); err != nil {
		t.Fatal(err)
	}
	if err := put("survey", "sex", 2, map[string]string{"M": "female"}); annona.CodeOf(err) != "crosswalk_version" {
		t.Errorf("a version twice: %v", err)
	}
	if err := put("survey", "sex", 1, map[string]string{"M": "female"}); annona.CodeOf(err) != "crosswalk_version" {
		t.Errorf("an older version: %v", err)
	}
	all, err := r.Crosswalks(r.ctx)
	if err != nil || len(all) != 2 || all[0].Source != "census" || all[1].Version != 2 || all[1].Codes["1"] != "male" || !all[1].AppliedAt.Equal(Clock()) {
		t.Fatalf("crosswalks: %+v, %v", all, err)
	}
	for day := range 2 {
		at := Clock().UTC().AddDate(0, 0, day)
		r.update(func(tx annona.Tx) error {
			return tx.CountUnmapped(r.ctx, []annona.Unmapped{
				{Source: "survey", Field: "sex", Code: "x", Times: 7, FirstAt: at}, {Source: "survey", Field: "sex", Times: 30, FirstAt: at},
				{Source: "survey", Field: "role", Code: "*", Times: 5, FirstAt: at}, {Source: "census", Field: "sex", Code: "?", Times: 1, FirstAt: at},
			})
		})
	}
	met, err := r.Unmapped(r.ctx, "survey")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, u := range met {
		told = append(told, fmt.Sprintf("%s %q %d in %d, %s to %s", u.Field, u.Code, u.Times, u.Loads, u.FirstAt.Format(time.DateOnly), u.LastAt.Format(time.DateOnly)))
	}
	r.same("codes without a meaning", told, []string{
		`role "*" 10 in 2, 2024-03-01 to 2024-03-02`, `sex "" 60 in 2, 2024-03-01 to 2024-03-02`, `sex "x" 14 in 2, 2024-03-01 to 2024-03-02`,
	})
	if all, err := r.Unmapped(r.ctx, ""); err != nil || len(all) != 4 {
		t.Errorf("of all sources: %+v, %v", all, err)
	}
}
