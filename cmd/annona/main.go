// Command annona is the whole product in one program: it makes a registry, fills it, serves
// it, and looks after it. This package wires the others together; it is the only one that
// reads the environment, and nothing imports it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/annona-exchange/annona"
)

// version is the release; the build may set it.
var version = "0.1.0"

// cli lists the commands, one file each.
type cli struct {
	Demo          demoCommand          `cmd:"" help:"Make a synthetic country and serve it, to try the product."`
	Init          initCommand          `cmd:"" help:"Make an empty registry in a data folder."`
	Serve         serveCommand         `cmd:"" help:"Serve a registry over HTTP."`
	Import        importCommand        `cmd:"" help:"Import households and individuals from files."`
	Sync          syncCommand          `cmd:"" help:"Keep a registry in step with its sources: folders that are filled, databases that are asked."`
	Load          loadCommand          `cmd:"" help:"Loads: what each import did, and taking one back."`
	Generate      generateCommand      `cmd:"" help:"Write a synthetic country as NDJSON to standard output."`
	Agreement     agreementCommand     `cmd:"" help:"Data sharing agreements."`
	Policy        policyCommand        `cmd:"" help:"What roles may do: versions, what they newly allow, and why something was granted."`
	BreakGlass    breakGlassCommand    `cmd:"" help:"Emergencies: list them, end them, review them."`
	Approval      approvalCommand      `cmd:"" help:"What waits for a second person: look at it, approve it, reject it."`
	Program       programCommand       `cmd:"" help:"Programs of social protection, and their cycles."`
	Report        reportCommand        `cmd:"" help:"Bring what a program or a case system has, from files, in its name."`
	Crosswalk     crosswalkCommand     `cmd:"" help:"What the codes of sources mean."`
	Export        exportCommand        `cmd:"" help:"Exports that run by themselves and become files."`
	ExportSpec    exportSpecCommand    `cmd:"" help:"What exports hold and how they are written: the recipient's names and codes."`
	Kit           kitCommand           `cmd:"" help:"Write a contract kit of a specification: invented rows, schema, code lists, expectations and a client, for the partner to run alone."`
	Mapping       mappingCommand       `cmd:"" help:"Mappings on file, with which registrars load over HTTP."`
	Area          areaCommand          `cmd:"" help:"Areas: the country's tree of regions, districts and so on."`
	Key           keyCommand           `cmd:"" help:"API keys, and the keys of the registry itself."`
	Client        clientCommand        `cmd:"" help:"Clients of the authorization server: they get access tokens instead of keys."`
	Provider      providerCommand      `cmd:"" name:"identity-provider" help:"Identity providers of others, whose access tokens count here."`
	Admin         adminCommand         `cmd:"" help:"People who sign in: invite, list, disable, enable, roles, reset."`
	Household     householdCommand     `cmd:"" help:"What becomes of households: split, merge, head, join, leave, primary, move, birth."`
	Record        recordCommand        `cmd:"" help:"Set fields of one record by hand."`
	ChangeRequest changeRequestCommand `cmd:"" name:"change-request" help:"What outside systems have asked of records and waits: list, show, approve, reject."`
	Subject       subjectCommand       `cmd:"" help:"Rights of individuals: restriction, objection, consent, erasure, who received their data, and merging two records of one."`
	Match         matchCommand         `cmd:"" help:"Match candidates: pairs of records that may be of one individual."`
	NameSearch    nameSearchCommand    `cmd:"" name:"name-search" help:"The search for individuals by their names: off until it is switched on."`
	Dictionary    dictionaryCommand    `cmd:"" help:"Print the dictionary, or extend it by a country's attributes."`
	Migrate       migrateCommand       `cmd:"" help:"Bring the schema of a PostgreSQL database up to date, or print its version."`
	Log           logCommand           `cmd:"" help:"The log of changes that followers read."`
	Ledger        ledgerCommand        `cmd:"" help:"The ledger: entries, public key, checkpoint, copy, pruning."`
	Backup        backupCommand        `cmd:"" help:"Take a backup of a registry, also while it serves: sealed, and without keys."`
	Restore       restoreCommand       `cmd:"" help:"Make a registry from a backup, and keep those away who were erased."`
	Doctor        doctorCommand        `cmd:"" help:"Say what is wrong with an installation, and how to mend it."`
	Pull          pullCommand          `cmd:"" help:"A partner's side: fetch an export by a specification, checked, opened and unpacked."`
	Assess        assessCommand        `cmd:"" help:"A partner's side: hold an export against a program's rules, and send back what is decided."`
	Verify        verifyCommand        `cmd:"" help:"Walk a ledger, or a copy of one, and check every entry."`
	Version       versionCommand       `cmd:"" help:"Print the version."`
}

// console is where a command reads and writes, so that tests bring their own.
type console struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	forgetDatabaseEnvironment()
	if err := forbidCoreDumps(); err != nil {
		fmt.Fprintln(os.Stderr, "warning: core dumps could not be switched off:", err)
	}
	os.Exit(run(ctx, os.Args[1:], console{os.Stdin, os.Stdout, os.Stderr}))
}

// The exit codes.
const (
	exitFailure = 1 // what was asked could not be done, or a check found something
	exitUsage   = 2 // the command line itself is wrong
	exitWaiting = 3 // what was asked waits for a second person
)

const description = `The open exchange between social registries, programs and case workers.

To try it: annona demo. For a registry of your own: init, import, agreement apply, key create, serve.`

// helpFor is the command line that explains the command of a command line that is wrong.
func helpFor(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) && wrong.Context.Selected() != nil {
		return wrong.Context.Selected().FullPath() + " --help"
	}
	return "annona --help"
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, args []string, c console) int {
	var commands cli
	exit := -1
	parser, err := kong.New(&commands,
		kong.Name("annona"),
		kong.Description(description),
		kong.Writers(c.out, c.err),
		kong.Exit(func(code int) { exit = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(c),
	)
	if err != nil {
		fmt.Fprintln(c.err, "error:", err)
		return exitFailure
	}
	if len(args) == 0 {
		fmt.Fprint(c.err, "error: name a command\nhint: annona --help lists them; annona demo shows the product\n")
		return exitUsage
	}
	command, err := parser.Parse(args)
	if exit >= 0 {
		return exit // help was asked for and printed
	}
	if err != nil {
		fmt.Fprintln(c.err, "error:", err)
		fmt.Fprintln(c.err, "hint:", helpFor(err))
		return exitUsage
	}
	if err := command.Run(); err != nil {
		c.report(err)
		if annona.CodeOf(err) == "approval_needed" {
			return exitWaiting
		}
		return exitFailure
	}
	return 0
}

// report prints an error for the person who reads it.
func (c console) report(err error) {
	if errors.Is(err, context.Canceled) {
		err = annona.Unavailable("interrupted", "interrupted; what was written before stays, and the same command can run again")
	}
	var known *annona.Error
	if !errors.As(err, &known) {
		fmt.Fprintln(c.err, "error:", err)
		return
	}
	fmt.Fprintln(c.err, "error:", known.Error())
	if known.At > 0 {
		fmt.Fprintln(c.err, "at:", known.At)
	}
	fmt.Fprintln(c.err, "code:", known.Code)
	if known.Kind == annona.KindInternal && errors.Unwrap(known) != nil {
		fmt.Fprintln(c.err, "cause:", errors.Unwrap(known))
	}
}

type versionCommand struct{}

func (versionCommand) Run(c console) error {
	_, err := fmt.Fprintln(c.out, "annona", version)
	return err
}
