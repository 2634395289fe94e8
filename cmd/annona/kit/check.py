#!/usr/bin/env python3
"""Reads an export and holds it against a contract kit. Start your own reader from here.

    python3 check.py           the kit's own rows: every count has to be the expected one
    python3 check.py FOLDER    what annona pull has fetched: the columns have to be those of the contract

It needs nothing but Python 3. It ends with 1 when something differs, and prints no value of any record.
"""
import csv
import io
import json
import os
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))


def text(value):
    """A value as it stands in a cell: so that all formats count the same."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ";".join(text(v) for v in value)
    return str(value)


def plain(record):
    """An object of JSON as a row and the rows of its members."""
    row = {k: text(v) for k, v in record.items() if not is_group(v)}
    members = [{k: text(v) for k, v in m.items() if not is_group(v)} for m in record.get("members", [])]
    return row, members


def is_group(value):
    return isinstance(value, list) and value and isinstance(value[0], dict)


def cells(row):
    """A row of CSV without its empty cells: what is empty is not on file."""
    return {k: v for k, v in row.items() if v}


def table(lines):
    return (cells(row) for row in csv.DictReader(lines))


def flat(rows, key):
    """Rows with a member each, as households with their members. Rows of a household stand together."""
    household, last = None, None
    for row in rows:
        own = {k: v for k, v in row.items() if not k.startswith("member_")}
        if household is None or own.get(key) != last:
            if household:
                yield household
            household, last = (own, []), own.get(key)
        member = {k[len("member_"):]: v for k, v in row.items() if k.startswith("member_")}
        if member:
            household[1].append(member)
    if household:
        yield household


def linked(file, expected):
    """The tables of a zip: records, and members that name their household by its key."""
    with zipfile.ZipFile(file) as z:

        def rows(name):
            if name not in z.namelist():
                return []
            return list(table(io.TextIOWrapper(z.open(name), "utf-8-sig", newline="")))

        members = {}
        if expected.get("members"):
            for row in rows("individuals.csv"):
                members.setdefault(row.get(expected["key"]), []).append(row)
            key, who = expected["key"], expected["members"]["key"]
            roles = {(m.get(key), m.get(who)): m for m in rows("memberships.csv")}
            for home, people in members.items():
                for person in people:
                    person.update(roles.get((home, person.get(who)), {}))
        for row in rows(expected["dataset"] + ".csv"):
            yield row, members.get(row.get(expected["key"]), [])


def read(path, expected):
    """Yields each record of a file: its cells, and those of its members."""
    if path.endswith(".ndjson"):
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                yield plain(json.loads(line))
    elif path.endswith(".json"):
        with open(path, encoding="utf-8") as file:
            for record in json.load(file)[expected["dataset"]]:
                yield plain(record)
    elif path.endswith(".zip"):
        yield from linked(path, expected)
    elif path.endswith(".csv"):
        with open(path, encoding="utf-8-sig", newline="") as lines:
            if expected.get("layout") == "flat":
                yield from flat(table(lines), expected["key"])
            else:
                for row in table(lines):
                    yield row, []
    else:
        sys.exit("this format is not read here; compare what you read with rows.ndjson and expected.json")


def count(columns, row):
    for name, value in row.items():
        filled, distinct = columns.setdefault(name, [0, set()])
        columns[name][0] = filled + 1
        distinct.add(value)


def differences(what, found, expected, exact):
    for name, (filled, distinct) in found.items():
        if name not in expected:
            yield f"{what} column {name} is not in the contract"
        elif exact and (filled, len(distinct)) != (expected[name]["filled"], expected[name]["distinct"]):
            yield f"{what} column {name}: {filled} filled, {len(distinct)} different; expected {expected[name]['filled']} and {expected[name]['distinct']}"
    for name in expected:
        if exact and expected[name]["filled"] and name not in found:
            yield f"{what} column {name} is missing"


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "data")
    exact = len(sys.argv) == 1
    with open(os.path.join(HERE, "expected.json"), encoding="utf-8") as file:
        expected = json.load(file)
    rows, people, columns, of_members, wrong = 0, 0, {}, {}, []
    for name in sorted(os.listdir(folder)):
        if name.startswith(".") or name in ("manifest.txt", "specification.json"):
            continue
        for row, members in read(os.path.join(folder, name), expected):
            rows, people = rows + 1, people + len(members)
            count(columns, row)
            for member in members:
                if name.endswith(".zip"):  # with the key of the household in front
                    member = {k: v for k, v in member.items() if k in expected["members"]["columns"]}
                count(of_members, member)
    wrong += differences("record", columns, expected["columns"], exact)
    if expected.get("members"):
        wrong += differences("member", of_members, expected["members"]["columns"], exact)
        if exact and people != expected["members"]["rows"]:
            wrong.append(f"{people} members, expected {expected['members']['rows']}")
    if exact and rows != expected["rows"]:
        wrong.append(f"{rows} records, expected {expected['rows']}")
    for line in wrong:
        print(line)
    print(f"{rows} records, {people} members: " + ("as the contract says" if not wrong else "not what the contract says"))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
