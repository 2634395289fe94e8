package intake

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
)

// Imports takes in the loads that registrars ask for over a wire. Rows are spooled whole before the
// load begins, so that an upload that breaks off has done nothing; then the load runs by itself, and
// its report is on file. It is safe for concurrent use.
type Imports struct {
	Gate  *exchange.Exchange
	Spool func() (annona.Spool, error) // keeps the rows of a load until they have been read: twice, when it is a full one
	Areas ingest.KnownAreas
	Turn  time.Duration // of a transaction, see FileTurn
	Demo  bool          // it holds invented people only, and takes in nobody
	// Ended is told of each load at its end; nil: nobody is.
	Ended func(exchange.LoadInfo)

	mu      sync.Mutex
	sources map[string]bool // that are being taken in or loaded
	closed  bool
	stop    []context.CancelCauseFunc
	running sync.WaitGroup
}

// mostImports is how many loads may be taken in or run at once: each holds a file and memory.
const mostImports = 4

var (
	errStopped = annona.Unavailable("interrupted", "the server was stopped while the load ran; what it had committed stays. Load the same rows again")
	errClosed  = annona.Unavailable("shutting_down", "the server is shutting down; ask again in a moment")
	errBusy    = annona.Unavailable("imports_busy", "%d loads are being taken in already; ask again later", mostImports)
)

// Import takes in the rows of a load, which are of that format, csv or ndjson, and begins it. It
// returns the load, which runs on; or the one that was asked for before with the same key. An error of
// rows is returned as it is. Codes: those of exchange.ReceiveLoad, mapping_unusable, format_differs,
// mapping_inputs, body_missing, body_compressed, key_reused, imports_busy, and those of a header that is
// not what the mapping describes.
func (i *Imports) Import(ctx context.Context, caller annona.Caller, request exchange.LoadRequest, format string, rows io.Reader) (exchange.LoadInfo, error) {
	if i.Demo {
		return exchange.LoadInfo{}, annona.Forbidden("demo_takes_no_import", "this is a demonstration: it holds invented people only")
	}
	reception, err := i.Gate.ReceiveLoad(ctx, caller, request)
	if err != nil {
		return exchange.LoadInfo{}, err
	}
	mapping, err := ParseMapping(ctx, i.Gate, reception.Mapping.Body)
	if err != nil {
		return exchange.LoadInfo{}, annona.Conflict("mapping_unusable", "the mapping does not fit the registry's dictionary and code lists any more; tell the registry").On("mapping").Because(err)
	}
	if err := fits(mapping, request.Order.Mode, format); err != nil {
		return exchange.LoadInfo{}, err
	}
	if reception.Earlier != nil {
		return i.again(reception, rows)
	}
	life, leave, err := i.enter(mapping.Source())
	if err != nil {
		return exchange.LoadInfo{}, err
	}
	info, begun, err := i.takeIn(ctx, life, caller, reception, mapping, rows, leave)
	if !begun {
		leave()
	}
	return info, err
}

// fits refuses rows of a format that the mapping does not read, and a full load of which they are not
// all.
func fits(m *ingest.Mapping, mode, format string) error {
	formats := m.Formats()
	switch {
	case !slices.Contains(formats, format):
		return annona.Invalid("format_differs", "the mapping reads rows of another format").On("Content-Type")
	case mode == exchange.ModeFull && len(formats) > 1:
		return annona.Invalid("mapping_inputs", "a full load is all rows of the source at once, and this mapping reads them from several files; load them with mode=upsert, or with a mapping of one file").On("mode")
	}
	return nil
}

// again returns the load that was asked for before with the same key, when that was for the same rows.
func (i *Imports) again(reception *exchange.Reception, rows io.Reader) (exchange.LoadInfo, error) {
	sum, err := fill(context.Background(), io.Discard, rows)
	if err == nil {
		err = i.Gate.Repeats(reception, sum)
	}
	if err != nil {
		return exchange.LoadInfo{}, err
	}
	return *reception.Earlier, nil
}

// enter reserves a source for one load. life ends when the server does.
func (i *Imports) enter(source string) (life context.Context, leave func(), err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.closed:
		return nil, nil, errClosed
	case i.sources[source]:
		return nil, nil, annona.Conflict("load_running", "another load of this source is being taken in; wait for its end").On("source")
	case len(i.sources) >= mostImports:
		return nil, nil, errBusy
	}
	if i.sources == nil {
		i.sources = map[string]bool{}
	}
	i.sources[source] = true
	life, cancel := context.WithCancelCause(context.Background())
	i.stop = append(i.stop, cancel)
	i.running.Add(1)
	return life, sync.OnceFunc(func() {
		cancel(nil)
		i.mu.Lock()
		delete(i.sources, source)
		if len(i.sources) == 0 {
			i.stop = nil
		}
		i.mu.Unlock()
		i.running.Done()
	}), nil
}

// Running is how many loads are being taken in or run.
func (i *Imports) Running() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.sources)
}

// Close stops the loads that run, takes in no more, and waits until their ends are on file.
func (i *Imports) Close() {
	i.mu.Lock()
	i.closed = true
	for _, cancel := range i.stop {
		cancel(errStopped)
	}
	i.mu.Unlock()
	i.running.Wait()
}

// takeIn spools the rows and begins the load, which then runs until it leaves.
func (i *Imports) takeIn(ctx, life context.Context, caller annona.Caller, reception *exchange.Reception, m *ingest.Mapping, rows io.Reader, leave func()) (info exchange.LoadInfo, begun bool, err error) {
	spool, err := i.Spool()
	if err != nil {
		return info, false, err
	}
	defer func() {
		if !begun {
			err = errors.Join(err, spool.Close())
		}
	}()
	sum, err := fill(life, spool, rows)
	if err != nil {
		return info, false, err
	}
	if err := spool.End(); err != nil {
		return info, false, err
	}
	source := ingest.Source{Name: "body", Open: spool.Open}
	if err := ingest.Check(m, source); err != nil {
		return info, false, err
	}
	load, err := i.Gate.BeginReceived(life, caller, reception, sum, func(o *exchange.LoadOrder) {
		o.Areas, o.Covers, o.Match = m.Areas(), m.Covers(), m.Match()
	})
	if err != nil {
		return info, false, err
	}
	if info, err = load.Info(ctx); err != nil {
		return info, false, errors.Join(err, load.Fail(life, err))
	}
	go func() {
		defer leave()
		defer spool.Close() // it has no name, and its key goes
		i.run(life, load, m, source)
	}()
	return info, true, nil
}

// fill copies rows and returns their hash.
func fill(life context.Context, to io.Writer, rows io.Reader) ([]byte, error) {
	head := bufio.NewReaderSize(rows, 64<<10)
	switch magic, err := head.Peek(2); {
	case len(magic) == 0 && errors.Is(err, io.EOF):
		return nil, annona.Invalid("body_missing", "the body holds the rows to load, and it is empty")
	case len(magic) == 0:
		return nil, err
	case bytes.Equal(magic, []byte{0x1f, 0x8b}):
		return nil, annona.Invalid("body_compressed", "the body is compressed and does not say so; send it with the header Content-Encoding: gzip").On("Content-Encoding")
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(to, sum), &living{head, life}); err != nil {
		return nil, err
	}
	return sum.Sum(nil), nil
}

// living reads until the server stops.
type living struct {
	io.Reader
	life context.Context
}

func (l *living) Read(p []byte) (int, error) {
	if l.life.Err() != nil {
		return 0, errClosed
	}
	return l.Reader.Read(p)
}

// run reads the rows and writes them. What becomes of it is on file with the load.
func (i *Imports) run(life context.Context, load *exchange.Loading, m *ingest.Mapping, source ingest.Source) {
	w := WriteBehind(life, load, i.Turn)
	memory, failed := w.Memory(life)
	read := func(yield func(ingest.Batch) error) (ingest.Report, error) {
		return ingest.ReadAgain(life, m, []ingest.Source{source}, i.Areas, memory, nil, yield)
	}
	if failed == nil {
		failed = w.FirstPass(life, load.Mode(), func(yield func(ingest.Batch) error) error {
			_, err := read(yield)
			return err
		})
	}
	var report ingest.Report
	if failed == nil {
		report, failed = read(w.Write)
	}
	if life.Err() != nil {
		failed = context.Cause(life)
	}
	if _, err := w.Finish(life, report, failed); err == nil && failed == nil {
		_ = load.NoteUnmapped(life, Unmapped(m.Source(), report)) // a list to mend mappings by: the load stands without it
	}
	if i.Ended != nil {
		if info, err := load.Info(context.WithoutCancel(life)); err == nil {
			i.Ended(info)
		}
	}
}
