"""Reads an answer of Annona with the readers of the Python standard library and prints what it
found as JSON: a string for a value, a list for several, an object for each record or item.

usage: read.py json|ndjson|xml|csv FILE
"""
import csv
import json
import sys
import xml.etree.ElementTree as ElementTree


def text_of(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return [text_of(v) for v in value]
    if isinstance(value, dict):
        return {name: text_of(v) for name, v in value.items()}
    return str(value)


def read_json(file):
    with open(file, encoding="utf-8") as f:
        document = json.load(f)
    lists = [v for v in document.values() if isinstance(v, list)]
    assert len(lists) == 1, "the records are the only top-level list"
    return text_of(lists[0])


def read_ndjson(file):
    with open(file, encoding="utf-8", newline="\n") as f:
        return [text_of(json.loads(line)) for line in f]


def field_of(element):
    if len(element) == 0:
        return element.text
    if all(child.tag == "value" and len(child) == 0 for child in element):
        return [child.text for child in element]
    return [record_of(child) for child in element]


def record_of(element):
    return {child.tag: field_of(child) for child in element}


def read_xml(file):
    return [record_of(child) for child in ElementTree.parse(file).getroot()]


def read_csv(file):
    with open(file, encoding="utf-8", newline="") as f:
        rows = list(csv.reader(f, strict=True))
    header = rows[0]
    assert all(len(row) == len(header) for row in rows), "each row has a cell for each column"
    return [{name: cell for name, cell in zip(header, row) if cell != ""} for row in rows[1:]]


if __name__ == "__main__":
    read = {"json": read_json, "ndjson": read_ndjson, "xml": read_xml, "csv": read_csv}[sys.argv[1]]
    json.dump(read(sys.argv[2]), sys.stdout)
