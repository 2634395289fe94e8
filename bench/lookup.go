package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	lookupClients = 8
	lookupNumbers = 4_000 // each is looked up once to warm up, then once by each pair of clients
	lookupRounds  = 4
)

// recordP99 is the time within which 99 of 100 records come that are asked for by an identifier,
// with all that is granted of them, on the slower store.
func (b *bench) recordP99(ctx context.Context) (float64, error) {
	slower := 0.0
	for _, store := range []string{sqlite, postgres} {
		took, err := b.lookups(ctx, country{store, large})
		if err != nil {
			return 0, err
		}
		slices.Sort(took)
		at := func(share float64) float64 { return took[int(share*float64(len(took)-1))].Seconds() * 1000 }
		note("look-ups in %s: %d, p50 %.2f ms, p99 %.2f ms, the slowest %.2f ms", store, len(took), at(0.5), at(0.99), at(1))
		slower = max(slower, at(0.99))
	}
	return slower, nil
}

// lookups asks for records over connections that are kept open, and returns how long each took.
func (b *bench) lookups(ctx context.Context, of country) ([]time.Duration, error) {
	set, err := b.dataset(ctx, of)
	if err != nil {
		return nil, err
	}
	numbers, err := b.nationalIDs(ctx, of.size)
	if err != nil {
		return nil, err
	}
	s, err := b.serve(ctx, set)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	key, err := os.ReadFile(set.header())
	if err != nil {
		return nil, err
	}
	_, secret, _ := strings.Cut(strings.TrimSpace(string(key)), ": ")
	l := &lookup{url: s.url + "/v1/lookup", key: secret,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: lookupClients, DisableCompression: true}}}
	defer l.client.CloseIdleConnections()
	var held []string // by one individual alone
	for _, number := range numbers {
		status, _, err := l.ask(ctx, number)
		switch {
		case err != nil:
			return nil, err
		case status == http.StatusOK:
			held = append(held, number)
		case status != http.StatusConflict:
			return nil, fmt.Errorf("a look-up was answered with status %d", status)
		}
	}
	return l.rounds(ctx, held)
}

// nationalIDs returns identifiers of people all over the synthetic country.
func (b *bench) nationalIDs(ctx context.Context, size int) (numbers []string, err error) {
	generate := exec.CommandContext(ctx, b.program, "generate", "--individuals", fmt.Sprint(size), "--seed", "1")
	lines, err := generate.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := generate.Start(); err != nil {
		return nil, err
	}
	every, seen := max(1, size/3/lookupNumbers), 0
	for in := bufio.NewReaderSize(lines, 1<<20); err == nil && len(numbers) < lookupNumbers; {
		var line []byte
		if line, err = in.ReadBytes('\n'); len(line) == 0 {
			break
		}
		var household struct {
			Members []struct {
				Identifiers []struct{ Scheme, Value string }
			}
		}
		if err := json.Unmarshal(line, &household); err != nil {
			return nil, err
		}
		for _, m := range household.Members {
			for _, i := range m.Identifiers {
				if i.Scheme != "national_id_number" {
					continue
				}
				if seen++; seen%every == 0 {
					numbers = append(numbers, i.Value)
				}
			}
		}
	}
	lines.Close() // the generator ends, also when enough was read
	_ = generate.Wait()
	if len(numbers) == 0 {
		return nil, fmt.Errorf("the generator wrote no identifiers: %w", err)
	}
	return numbers, nil
}

// lookup asks for one individual after the other.
type lookup struct {
	url, key string
	client   *http.Client
}

// rounds has every client ask for all of the numbers that are its own, again and again.
func (l *lookup) rounds(ctx context.Context, numbers []string) ([]time.Duration, error) {
	var clients sync.WaitGroup
	took, failed := make([][]time.Duration, lookupClients), make([]error, lookupClients)
	for n := range lookupClients {
		clients.Go(func() {
			for range lookupRounds {
				for i := n; i < len(numbers); i += lookupClients {
					status, d, err := l.ask(ctx, numbers[i])
					if err == nil && status != http.StatusOK {
						err = fmt.Errorf("a look-up was answered with status %d", status)
					}
					if err != nil {
						failed[n] = err
						return
					}
					took[n] = append(took[n], d)
				}
			}
		})
	}
	clients.Wait()
	for _, err := range failed {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(took...), nil
}

// ask looks one identifier up and reads the answer to its end.
func (l *lookup) ask(ctx context.Context, number string) (status int, took time.Duration, err error) {
	body, err := json.Marshal(map[string]string{"type": "national_id_number", "value": number, "purpose": purpose})
	if err != nil {
		return 0, 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	request.Header.Set("X-API-Key", l.key)
	request.Header.Set("Content-Type", "application/json")
	started := time.Now()
	response, err := l.client.Do(request)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, time.Since(started), err
}
