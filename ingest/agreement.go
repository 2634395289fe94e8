package ingest

import (
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

var (
	agreementName  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	recipientRoles = []string{"processor", "joint_controller", "independent_controller", "sub_processor"}
	floors         = []string{"api_key", "oauth", "sender_constrained"}
	lawfulBases    = []annona.Basis{
		annona.BasisConsent, annona.BasisContract, annona.BasisLegalObligation,
		annona.BasisVitalInterest, annona.BasisPublicInterest, annona.BasisLegitimateInterest,
	}
	treatments = []annona.Treatment{
		annona.TreatPass, annona.TreatMask, annona.TreatPseudonym, annona.TreatYear, annona.TreatMonth, annona.TreatBand, annona.TreatDerive,
	}
	classes = []annona.Sensitivity{annona.Public, annona.Personal, annona.Identifies}
)

// ParseAgreement reads a data sharing agreement. It checks the form only: that its fields,
// conditions and areas exist is checked when it is applied.
func ParseAgreement(r io.Reader) (annona.Agreement, error) {
	var a annona.Agreement
	if err := decodeYAML(r, "agreement", &a); err != nil {
		return annona.Agreement{}, err
	}
	for _, check := range []func(*annona.Agreement) error{checkNames, checkPurposes, checkDatasets, checkCredentials, checkImports, checkTerm} {
		if err := check(&a); err != nil {
			return annona.Agreement{}, err
		}
	}
	return a, nil
}

func agreementFault(name, format string, args ...any) error {
	return annona.Invalid("agreement_malformed", format, args...).On(name)
}

func checkNames(a *annona.Agreement) error {
	switch {
	case !agreementName.MatchString(a.Name) || len(a.Name) > 60:
		return agreementFault("name", "an agreement has a name of lower-case letters, digits and hyphens, at most 60 characters long")
	case a.Partner.Name == "" || len(a.Partner.Country) != 2:
		return agreementFault("partner", "the partner has a name and a country of two letters")
	case !agreementName.MatchString(a.Realm):
		return agreementFault("id_realm", "an id realm has a name of lower-case letters, digits and hyphens")
	case !slices.Contains(recipientRoles, a.Recipient):
		return agreementFault("recipient_role", "the role is one of %v", recipientRoles)
	}
	return nil
}

func checkPurposes(a *annona.Agreement) error {
	if len(a.Purposes) == 0 {
		return agreementFault("purposes", "an agreement names at least one purpose")
	}
	seen := map[string]bool{}
	for _, p := range a.Purposes {
		switch {
		case !agreementName.MatchString(p.Code) || seen[p.Code]:
			return agreementFault("purposes", "each purpose has a code of its own, of lower-case letters, digits and hyphens")
		case !slices.Contains(lawfulBases, p.Basis):
			return agreementFault("legal_basis", "the lawful basis of a purpose is one of %v", lawfulBases)
		case !isDate(p.ValidUntil):
			return agreementFault("valid_until", "a date is written 2006-01-02")
		}
		seen[p.Code] = true
	}
	return nil
}

func checkDatasets(a *annona.Agreement) error {
	if len(a.Datasets) == 0 && a.Imports == nil {
		return agreementFault("datasets", "an agreement grants something of at least one dataset, or lets the partner import")
	}
	for _, name := range sortedKeys(a.Datasets) {
		terms := a.Datasets[name]
		if !isDate(terms.ValidUntil) {
			return agreementFault(name+".valid_until", "a date is written 2006-01-02")
		}
		for _, class := range terms.Sensitivities {
			if !slices.Contains(classes, class) {
				return agreementFault(name, "whole classes are public, personal and identifier; special fields are granted one by one, by name")
			}
		}
		for _, field := range sortedKeys(terms.Treatments) {
			treatment := terms.Treatments[field]
			if !slices.Contains(treatments, treatment) {
				return agreementFault(name+"."+field, "a treatment is one of %v", treatments)
			}
			if treatment == annona.TreatBand && terms.Bands[field] < 1 {
				return agreementFault(name+"."+field, "a band has a width, of at least 1, under `bands`")
			}
		}
		for _, field := range sortedKeys(terms.Bands) {
			if terms.Treatments[field] != annona.TreatBand {
				return agreementFault(name+"."+field, "only a field with the treatment band has a width")
			}
		}
	}
	return nil
}

func checkCredentials(a *annona.Agreement) error {
	switch {
	case !slices.Contains(floors, a.Floor):
		return agreementFault("floor", "the weakest credential is one of %v", floors)
	case a.RowCeiling < 0 || a.APIKey != nil && a.APIKey.RowCeiling < 0:
		return agreementFault("row_ceiling", "a row ceiling is a number of rows; 0 means none")
	case a.Line != nil && a.Line.Rows < 0:
		return agreementFault("approvals", "rows is a number of rows, up to which a specification comes on file at once; 0 means any number")
	case a.APIKey != nil && len(a.APIKey.Reason) < 10:
		return agreementFault("api_key", "raising the cap of a plain API key needs its reason, in a sentence")
	}
	return nil
}

func checkImports(a *annona.Agreement) error {
	if a.Imports == nil {
		return nil
	}
	seen := map[string]bool{}
	for _, source := range a.Imports.Sources {
		if strings.TrimSpace(source) != source || source == "" || seen[source] {
			return agreementFault("imports", "each source has a name and stands once")
		}
		seen[source] = true
	}
	for _, mode := range a.Imports.Modes {
		if mode != "upsert" && mode != "full" {
			return agreementFault("imports", "the modes of imports are upsert and full")
		}
	}
	switch {
	case len(seen) == 0:
		return agreementFault("imports", "imports name the sources whose records the partner loads, under `sources`")
	case a.Imports.DeleteGuard != nil && !slices.Contains(a.Imports.Modes, "full"):
		return agreementFault("imports", "only a load of the mode full has a delete guard")
	}
	return nil
}

func checkTerm(a *annona.Agreement) error {
	switch {
	case a.ValidFrom == "" || a.ValidUntil == "" || !isDate(a.ValidFrom) || !isDate(a.ValidUntil):
		return agreementFault("valid_from", "valid_from and valid_until are dates, written 2006-01-02")
	case a.ValidUntil < a.ValidFrom:
		return agreementFault("valid_until", "the agreement ends before it begins")
	case a.Status != "active" && a.Status != "suspended":
		return agreementFault("status", "the status is active or suspended")
	}
	return nil
}

func isDate(d annona.Date) bool {
	if d == "" {
		return true
	}
	_, err := annona.ParseDate(string(d))
	return err == nil
}
