package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// sight is what a client sees of a registry after a crash: whole exports.
type sight struct {
	households map[string]seen // by key
	people     map[string]seen
	consenting map[string]bool   // by key of the person
	ids        map[string]string // of people, as partners know them → key
	houseIDs   map[string]bool
}

// seen is a record as it was exported.
type seen struct {
	mark     int
	fullName string
	line     string // without the mark
	record   string // with it
}

const (
	personFields    = "individual_id,household_id,role,area_code,full_name,given_name,preferred_name,sex,date_of_birth,phone_numbers,occupation,identifiers"
	householdFields = "household_id,area_code,locality,full_address,latitude,settlement_type,poverty_score,poverty_band,dwelling_type,household_assets,identifiers"
)

// look exports everything that the checks compare.
func (r *registry) look(ctx context.Context) (*sight, error) {
	s := &sight{households: map[string]seen{}, people: map[string]seen{}, consenting: map[string]bool{}, ids: map[string]string{}, houseIDs: map[string]bool{}}
	err := r.lines(ctx, "/v1/individuals/export", everybody, everyPurpose, personFields, s.person)
	if err == nil {
		err = r.lines(ctx, "/v1/households/export", everybody, everyPurpose, householdFields, s.household)
	}
	if err == nil {
		err = r.lines(ctx, "/v1/individuals/export", consenting, askedPurpose, "individual_id", s.consents)
	}
	return s, err
}

// lines reads an export as NDJSON, to its end.
func (r *registry) lines(ctx context.Context, path, agreement, purpose, fields string, line func([]byte) error) error {
	query := url.Values{"format": {"ndjson"}, "purpose": {purpose}, "fields": {fields}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-API-Key", r.keys[agreement])
	response, err := r.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	in := bufio.NewReaderSize(response.Body, 1<<20)
	rows := 0
	for {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(text) == 0 {
			break
		}
		if err != nil {
			return fmt.Errorf("%s after %d rows: %w", path, rows, err)
		}
		rows++
		if err := line(text); err != nil {
			return err
		}
	}
	if response.Trailer.Get("Annona-Rows") != strconv.Itoa(rows) {
		return fmt.Errorf("%s: %d rows arrived, the trailer says %q", path, rows, response.Trailer.Get("Annona-Rows"))
	}
	return nil
}

func (s *sight) person(line []byte) error {
	var row struct {
		ID       string `json:"individual_id"`
		Name     string `json:"preferred_name"`
		FullName string `json:"full_name"`
	}
	if err := json.Unmarshal(line, &row); err != nil {
		return err
	}
	key, mark, err := readMark(row.Name)
	if err != nil {
		return err
	}
	if _, twice := s.people[key]; twice {
		return fmt.Errorf("%s was exported twice", key)
	}
	s.people[key] = seen{mark: mark, fullName: row.FullName, line: strings.Replace(string(line), markText(mark), "", 1), record: recordOf(line)}
	s.ids[row.ID] = key
	return nil
}

func (s *sight) household(line []byte) error {
	var row struct {
		ID       string `json:"household_id"`
		Locality string `json:"locality"`
		Score    string `json:"poverty_score"`
	}
	if err := json.Unmarshal(line, &row); err != nil {
		return err
	}
	key, mark, err := readMark(row.Locality)
	if err != nil {
		return err
	}
	if score, err := strconv.ParseFloat(row.Score, 64); err != nil || strconv.FormatFloat(score, 'f', -1, 64) != scoreText(mark) {
		return fmt.Errorf("household %s has the mark %d and the score %s: half of a record", key, mark, row.Score)
	}
	if _, twice := s.households[key]; twice {
		return fmt.Errorf("%s was exported twice", key)
	}
	plain := strings.Replace(string(line), `"poverty_score":"`+row.Score+`"`, `"poverty_score":""`, 1)
	s.households[key] = seen{mark: mark, line: strings.Replace(plain, markText(mark), "", 1)}
	s.houseIDs[row.ID] = true
	return nil
}

func (s *sight) consents(line []byte) error {
	var row struct {
		ID string `json:"individual_id"`
	}
	if err := json.Unmarshal(line, &row); err != nil {
		return err
	}
	key, known := s.ids[row.ID]
	if !known {
		return errors.New("somebody who consented is in no export of everybody")
	}
	s.consenting[key] = true
	return nil
}

// readMark reads what country.write wrote.
func readMark(text string) (key string, mark int, err error) {
	key, marked, ok := strings.Cut(text, " ")
	if digits, is := strings.CutPrefix(marked, "m"); ok && is {
		mark, err = strconv.Atoi(digits)
		return key, mark, err
	}
	return key, 0, errors.New("a record has no mark: " + strconv.Quote(text))
}
