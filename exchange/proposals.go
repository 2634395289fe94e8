package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// proposed reads a request again as the change that it asks for, checked against the state of things as it
// is now.
func (x *Exchange) proposed(ctx context.Context, a *annona.Approval) (proposal, error) {
	switch a.Kind {
	case annona.ApprovePolicy:
		return x.proposedPolicy(ctx, a)
	case annona.ApproveAgreement:
		var body agreed
		if err := readBody(a, &body); err != nil {
			return proposal{}, err
		}
		version := 0
		p, _, err := x.agreementProposal(ctx, body, &version)
		return p, err
	case annona.ApproveSpec:
		return x.proposedSpec(ctx, a)
	case annona.ApproveClient:
		return x.proposedClient(ctx, a)
	case annona.ApproveRole:
		var body givenRole
		if err := readBody(a, &body); err != nil {
			return proposal{}, err
		}
		return x.roleProposal(ctx, body)
	case annona.ApproveProvider:
		var body annona.IdentityProvider
		if err := readBody(a, &body); err != nil {
			return proposal{}, err
		}
		return x.providerProposal(ctx, body)
	case annona.ApproveUser:
		var body userChange
		if err := readBody(a, &body); err != nil {
			return proposal{}, err
		}
		return x.userProposal(ctx, body)
	case annona.ApproveErasure:
		var body liftedRefusals
		if err := readBody(a, &body); err != nil {
			return proposal{}, err
		}
		return x.liftProposal(ctx, body)
	case annona.ApproveRequest:
		var body awaited
		if err := readBody(a, &body); err != nil {
			return proposal{}, err
		}
		return x.awaitedProposal(ctx, body)
	}
	return proposal{base: -1}, nil // a newer version has asked for it
}

func readBody(a *annona.Approval, into any) error {
	if err := json.Unmarshal(a.Body, into); err != nil {
		return annona.Internal("read what waits for a second person", err)
	}
	return nil
}

func (x *Exchange) proposedPolicy(ctx context.Context, a *annona.Approval) (proposal, error) {
	var p annona.Policy
	if err := readBody(a, &p); err != nil {
		return proposal{}, err
	}
	applied, next, err := x.comparePolicy(ctx, p)
	if err != nil || !applied.Changed {
		return proposal{base: -1}, err // the one in force says it already
	}
	return x.policyProposal(p, applied), x.checkLockOut(ctx, next)
}

func (x *Exchange) proposedSpec(ctx context.Context, a *annona.Approval) (proposal, error) {
	var spec annona.ExportSpec
	if err := readBody(a, &spec); err != nil {
		return proposal{}, err
	}
	last, err := x.ExportSpecs.ExportSpec(ctx, spec.Name, 0)
	if err != nil {
		return proposal{}, err
	}
	spec.Version = 1
	if last != nil {
		spec.Version = last.Version + 1
	}
	_, err = x.checkSpec(ctx, spec)
	return x.specProposal(spec), err
}

func (x *Exchange) proposedClient(ctx context.Context, a *annona.Approval) (proposal, error) {
	var c annona.Client
	if err := readBody(a, &c); err != nil {
		return proposal{}, err
	}
	agreement, err := x.Standings.Agreement(ctx, c.Agreement)
	if err != nil {
		return proposal{}, err
	}
	if agreement == nil {
		return proposal{base: -1}, nil
	}
	if err := x.checkPolicyHas(ctx, c.Role); err != nil {
		return proposal{}, err
	}
	return x.clientProposal(ctx, c, agreement)
}

// differences says in plain words what differs between two things, part by part.
func differences(before, after any) (lines []string) {
	was, is := parts(before), parts(after)
	for _, part := range slices.Sorted(maps.Keys(is)) {
		for _, value := range is[part] {
			if !slices.Contains(was[part], value) {
				lines = append(lines, fmt.Sprintf("+ %s: %s", part, value))
			}
		}
	}
	for _, part := range slices.Sorted(maps.Keys(was)) {
		for _, value := range was[part] {
			if !slices.Contains(is[part], value) {
				lines = append(lines, fmt.Sprintf("- %s: %s", part, value))
			}
		}
	}
	return lines
}

// parts takes something apart: the values that stand at each place of its JSON.
func parts(of any) map[string][]string {
	var tree any
	text, _ := json.Marshal(of) // agreements always encode
	_ = json.Unmarshal(text, &tree)
	found := map[string][]string{}
	collect(found, "", tree)
	return found
}

func collect(into map[string][]string, at string, tree any) {
	switch t := tree.(type) {
	case map[string]any:
		for name, value := range t {
			collect(into, strings.TrimPrefix(at+"."+name, "."), value)
		}
		if len(t) == 0 {
			into[at] = append(into[at], "all of it")
		}
	case []any:
		for _, value := range t {
			if inner, is := value.(map[string]any); is {
				into[at] = append(into[at], inline(inner))
				continue
			}
			collect(into, at, value)
		}
	case nil:
	default:
		into[at] = append(into[at], fmt.Sprint(t))
	}
}

// inline writes an object of a list in one line, so that its parts stay together.
func inline(object map[string]any) string {
	text, _ := json.Marshal(object) // it was read from JSON
	return string(text)
}

func joined(names []string) string {
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
