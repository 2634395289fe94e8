package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	lookupClients = 8
	lookupNumbers = 4_000 // each is looked up once to warm up, then once by each pair of clients
	lookupRounds  = 4

	steadyRate = 200 // look-ups a second, whether or not the ones before were answered
	steadyTime = 20 * time.Second
)

// asking asks for numbers, and returns how long each took.
type asking func(l *lookup, ctx context.Context, numbers []string) ([]time.Duration, error)

// recordP99 is the time within which 99 of 100 records come that are asked for by an identifier,
// with all that is granted of them, on the slower store.
func (b *bench) recordP99(ask asking) measurement {
	return func(ctx context.Context) (float64, error) {
		slower := 0.0
		for _, store := range []string{sqlite, postgres} {
			began := time.Now()
			took, err := b.lookups(ctx, country{store, large}, ask)
			if err != nil {
				return 0, err
			}
			slices.Sort(took)
			at := func(share float64) float64 { return took[int(share*float64(len(took)-1))].Seconds() * 1000 }
			note("look-ups in %s: %d, p50 %.2f ms, p99 %.2f ms, the slowest %.2f ms; %.0f s with the warming up",
				store, len(took), at(0.5), at(0.99), at(1), time.Since(began).Seconds())
			slower = max(slower, at(0.99))
		}
		return slower, nil
	}
}

// lookups asks for records over connections that are kept open, and returns how long each took.
func (b *bench) lookups(ctx context.Context, of country, ask asking) ([]time.Duration, error) {
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
	l := &lookup{host: strings.TrimPrefix(s.url, "http://"), key: secret}
	held, err := l.held(ctx, numbers) // warms the server up as well
	if err != nil {
		return nil, err
	}
	before := s.processorTime()
	took, err := ask(l, ctx, held)
	note("%.2f ms of processor time of the server for a look-up, load %s", (s.processorTime()-before).Seconds()*1000/float64(max(1, len(took))), load1())
	return took, err
}

// held returns the numbers that one individual alone has.
func (l *lookup) held(ctx context.Context, numbers []string) ([]string, error) {
	status := make([]int, len(numbers))
	_, err := l.clients(ctx, func(n int, ask asker) (err error) {
		for i := n; i < len(numbers) && err == nil; i += lookupClients {
			status[i], err = ask(numbers[i], time.Now())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var held []string
	for i, number := range numbers {
		switch status[i] {
		case http.StatusOK:
			held = append(held, number)
		case http.StatusConflict:
		default:
			return nil, fmt.Errorf("a look-up was answered with status %d", status[i])
		}
	}
	return held, nil
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

// lookup asks a server for one individual after the other.
type lookup struct{ host, key string }

// rounds has every client ask for all of the numbers that are its own, again and again, each as soon
// as the one before was answered.
func (l *lookup) rounds(ctx context.Context, numbers []string) ([]time.Duration, error) {
	return l.clients(ctx, func(n int, ask asker) error {
		for range lookupRounds {
			for i := n; i < len(numbers); i += lookupClients {
				if err := ask.find(numbers[i], time.Now()); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// steady asks at a steady rate. What a look-up waits for a client to be free counts as its own time.
func (l *lookup) steady(ctx context.Context, numbers []string) ([]time.Duration, error) {
	var next atomic.Int64
	began := time.Now()
	return l.clients(ctx, func(_ int, ask asker) error {
		for {
			i := next.Add(1) - 1
			due := began.Add(time.Duration(i) * time.Second / steadyRate)
			if due.Sub(began) > steadyTime {
				return nil
			}
			time.Sleep(time.Until(due))
			if err := ask.find(numbers[int(i)%len(numbers)], due); err != nil {
				return err
			}
		}
	})
}

// asker looks a number up that was due to be at that time.
type asker func(number string, due time.Time) (status int, err error)

// find looks a number up that one individual has.
func (ask asker) find(number string, due time.Time) error {
	status, err := ask(number, due)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("a look-up was answered with status %d", status)
	}
	return err
}

// clients has clients ask side by side, each over a connection of its own, and returns how long each look-up took.
func (l *lookup) clients(ctx context.Context, run func(n int, ask asker) error) ([]time.Duration, error) {
	var all sync.WaitGroup
	took, failed := make([][]time.Duration, lookupClients), make([]error, lookupClients)
	for n := range lookupClients {
		all.Go(func() {
			c, err := l.connect(ctx)
			if err != nil {
				failed[n] = err
				return
			}
			defer c.Close()
			failed[n] = run(n, func(number string, due time.Time) (int, error) {
				status, err := c.ask(number)
				took[n] = append(took[n], time.Since(due))
				return status, err
			})
		})
	}
	all.Wait()
	return slices.Concat(took...), errors.Join(failed...)
}

// connection is one that stays open. It writes requests and reads answers itself: a client with
// more comfort takes as much time from the processors as a part of the server does.
type connection struct {
	net.Conn
	answers *bufio.Reader
	head    string // of every request, up to the length of its body
}

func (l *lookup) connect(ctx context.Context) (*connection, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", l.host)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { c.Close() })
	head := "POST /v1/lookup HTTP/1.1\r\nHost: " + l.host + "\r\nX-API-Key: " + l.key + "\r\nContent-Type: application/json\r\nContent-Length: "
	return &connection{Conn: c, answers: bufio.NewReader(c), head: head}, nil
}

// ask looks one identifier up and reads the answer to its end.
func (c *connection) ask(number string) (status int, err error) {
	body, err := json.Marshal(map[string]string{"type": "national_id_number", "value": number, "purpose": purpose})
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintf(c, "%s%d\r\n\r\n%s", c.head, len(body), body); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}
