"""First inputs for the fuzz targets, made of what the tests read: fuzz/seeds.py TARGET FOLDER."""

import hashlib
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Three made streams come first, then the shipped ones by name.
STREAMS = {path.stem: 3 + number for number, path in enumerate(sorted((ROOT / "schemas").glob("*.toml")))}
# All columns, or some; the usual depth, or a small one.
HEADS = [b"\xff" * 8 + b"\x40", b"\x55\x33\x0f\x81\x24\x18\x42\x99\x40", b"\xff" * 8 + b"\x04"]


def events(path):
    """The events of a file, without their envelopes."""
    for line in path.read_bytes().splitlines():
        start = line.find(b'"v":')
        yield line[start + 4:-1] if line.startswith(b'{"_t"') and start >= 0 else line


def decode():
    for path in sorted((ROOT / "testdata/demo").glob("*.ndjson")):
        number, found = STREAMS[path.stem], list(events(path))
        for i in range(0, min(len(found), 240), 6):
            yield bytes([number]) + HEADS[i // 6 % 3] + b"\xff".join(found[i:i + 3])
    for path in sorted((ROOT / "testdata/cloudtrail").rglob("*.json"))[:40]:
        yield bytes([STREAMS["cloudtrail"]]) + HEADS[0] + path.read_bytes()
    for i, line in enumerate((ROOT / "testdata/json/suite.ndjson").read_bytes().splitlines()):
        case = json.loads(line)
        text = bytes.fromhex(case["hex"]) if "hex" in case else case["text"].encode()
        for member in ("plain", "x", "n", "raw", "tags", "t_3339", "nobody"):
            record = b'{"' + member.encode() + b'":' + text + b"}"
            yield bytes([i % 3]) + HEADS[i % 3] + b"\xff".join([b'{"plain":"p","x":2.5}', record])
    everything = (b'{"plain":"p","n":1,"x":2.5,"lit":true,"tags":["a"],"raw":[1],"t_us":5,"ip":"1.2.3.4","low":"\xc3\x89",'
                  b'"up":" a ","t_3339":"2026-11-24T10:00:00.5+02:00","deep":{"one":1,"er":{"two":"2"}},"a\\"b\\\\c":7}')
    for number in range(3):
        yield bytes([number]) + HEADS[0] + b"\xff".join([everything, everything[::-1], everything])
        yield bytes([number]) + HEADS[0] + b'{"Records":[' + everything + b"," + everything + b"]}"


def rule():
    for folder in ("rules", "testdata/bad", "testdata/match", "testdata/threshold"):
        for path in sorted((ROOT / folder).rglob("*.toml")):
            yield path.read_bytes()


def envelope():
    for path in sorted((ROOT / "testdata/demo").glob("*.ndjson")):
        lines = path.read_bytes().splitlines(keepends=True)
        for i in range(0, min(len(lines), 200), 5):
            yield b"".join(lines[i:i + 4])
    yield b'{"_t":1,"_p":0,"_o":1,"v":{"vin":"a"}}\n{"_t":2,"_p":0,"_o":1,"v":{}}\n{"vin":"b"}\n{"_t":3,"_p":1,"_o":0,"v":'


def main():
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for seed in {"decode": decode, "rule": rule, "envelope": envelope}[target]():
        if len(seed) <= 8192:
            (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    print(f"{sum(1 for _ in folder.iterdir())} inputs in {folder}")


main()
