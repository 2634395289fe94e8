"""A second implementation of docs/spec/ledger.md: reproduces vectors.json from its inputs.

usage: python3 verify_vectors.py vectors.json
"""
import hashlib, json, struct, sys
from itertools import groupby


def text(s):
    raw = s if isinstance(s, bytes) else s.encode()
    return struct.pack(">I", len(raw)) + raw


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def container(lows):
    """Returns (is_run, bytes) of one container of ascending 16-bit numbers."""
    runs = []
    for n in lows:
        if runs and n == runs[-1][0] + runs[-1][1] + 1:
            runs[-1][1] += 1
        else:
            runs.append([n, 0])
    if 2 + 4 * len(runs) < min(8192, 2 * len(lows)):
        return True, struct.pack("<H", len(runs)) + b"".join(struct.pack("<HH", *r) for r in runs)
    if len(lows) <= 4096:
        return False, struct.pack(f"<{len(lows)}H", *lows)
    bits = bytearray(8192)
    for n in lows:
        bits[n // 8] |= 1 << n % 8
    return False, bytes(bits)


def roaring32(numbers):
    keys, sizes, runs, bodies = [], [], [], []
    for key, group in groupby(numbers, lambda n: n >> 16):
        lows = [n & 0xFFFF for n in group]
        run, body = container(lows)
        keys.append(key), sizes.append(len(lows)), runs.append(run), bodies.append(body)
    count = len(keys)
    if any(runs):
        flags = bytearray((count + 7) // 8)
        for i, run in enumerate(runs):
            flags[i // 8] |= run << i % 8
        head = struct.pack("<HH", 12347, count - 1) + bytes(flags)
    else:
        head = struct.pack("<II", 12346, count)
    head += b"".join(struct.pack("<HH", k, s - 1) for k, s in zip(keys, sizes))
    if not any(runs) or count >= 4:
        offset = len(head) + 4 * count
        for body in bodies:
            head += struct.pack("<I", offset)
            offset += len(body)
    return head + b"".join(bodies)


def roaring64(numbers):
    buckets = [(high, list(group)) for high, group in groupby(numbers, lambda n: n >> 32)]
    return struct.pack("<Q", len(buckets)) + b"".join(
        struct.pack("<I", high) + roaring32([n & 0xFFFFFFFF for n in group]) for high, group in buckets)


def content(part):
    if "json" in part:
        return canonical(part["json"])
    if "text" in part:
        return part["text"].encode()
    numbers = sorted({n for first, last, step in part["ranges"] for n in range(first, last + 1, step)})
    return text(part["noun"]) + list_hash(part["fields"]) + text(roaring64(numbers))


def list_hash(fields):
    """The hash by which a list of fields is named; zeros when there are none."""
    if not fields:
        return bytes(32)
    return hashlib.sha256(struct.pack(">I", len(fields)) + b"".join(map(text, fields))).digest()


def root(hashes):
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256().digest()
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root(hashes[:split]) + root(hashes[split:])).digest()


def expect(what, made, written):
    if made.hex() != written:
        sys.exit(f"{what} differs:\n  made    {made.hex()[:400]}\n  written {written[:400]}")


def main(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    hashes = []
    expect("root of the empty tree", root(hashes), vectors["empty_root"])
    for i, entry in enumerate(vectors["entries"]):
        leaf = b"\x01" + bytes.fromhex(entry["id"]) + struct.pack(">q", entry["time_us"]) + text(entry["kind"])
        leaf += bytes.fromhex(entry["request"]) + struct.pack(">I", len(entry["parts"]))
        for part in entry["parts"]:
            what = f"entry {i}, {part['name']}"
            made = content(part)
            if part["name"] == "facts" and "fields" in entry:
                expect(f"{what}: fields", list_hash(entry["fields"]), part["json"]["fields"])
            expect(f"{what}: content", made, part["content"])
            commitment = hashlib.sha256(bytes.fromhex(part["salt"]) + made).digest()
            expect(f"{what}: commitment", commitment, part["commitment"])
            leaf += text(part["name"]) + commitment
        hashes.append(hashlib.sha256(b"\x00" + leaf).digest())
        expect(f"entry {i}: leaf", leaf, entry["leaf"])
        expect(f"entry {i}: hash", hashes[-1], entry["hash"])
        expect(f"entry {i}: root", root(hashes), entry["root"])
    print(f"{len(hashes)} entries reproduced")


main(sys.argv[1])
