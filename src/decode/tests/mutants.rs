//! Many small changes to real records, the same ones every time: both readings say the same of each.

use super::*;

/// A generator of numbers that is good enough here, and always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }
}

/// Pieces that matter to a parser.
const PIECES: [&[u8]; 36] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\n",
    b"\0",
    b"\x1f",
    b"\x7f",
    b"\xff",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\\ud800",
    b"\\udc00",
    b"\\ud83d\\ude00",
    b"\\u0022",
    b"\\n",
    b"-",
    b"0",
    b"00",
    b".",
    b"e",
    b"1e999",
    b"99999999999999999999",
    b"null",
    b"true",
    b"\"vin\":\"V\",",
    b"\"ts\":1,",
    b"\"Records\":[{}],",
    b"\"v\\u0069n\":1,",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// Changes a record; now and then not at all.
fn mutate(dice: &mut Dice, record: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = record.to_vec();
    for _ in 0..dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let to = (at + dice.below(24)).min(bytes.len());
        match dice.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..to)),
            2 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            3 => {
                let again = bytes[at..to].to_vec();
                bytes.splice(to..to, again);
            }
            4 => {
                let from = dice.below(other.len());
                let until = (from + dice.below(64)).min(other.len());
                bytes.splice(at..at, other[from..until].iter().copied());
            }
            // At a place where members begin, so that what comes out is often JSON.
            5 => {
                let commas: Vec<usize> = (0..bytes.len()).filter(|i| bytes[*i] == b',').collect();
                if let Some(comma) = commas.get(dice.below(commas.len())) {
                    let piece = PIECES[31 + dice.below(4)];
                    bytes.splice(comma + 1..comma + 1, piece.iter().copied());
                }
            }
            6 if bytes.len() < 4096 => {
                bytes.splice(at..at, b" \t\r\n"[..dice.below(5)].iter().copied()).for_each(drop)
            }
            _ => {
                let piece = PIECES[dice.below(PIECES.len())];
                bytes.splice(at..to.min(at + dice.below(3)), piece.iter().copied());
            }
        }
    }
    bytes
}

/// Where each token of a record begins and ends: a string, a number or word, a mark.
fn tokens(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        at += 1;
        let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        match byte {
            b'"' => {
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
                at = (at + 1).min(bytes.len());
            }
            byte if in_word(byte) => at += bytes[at..].iter().take_while(|byte| in_word(byte)).count(),
            _ => {}
        }
        tokens.push((start, at));
    }
    tokens
}

/// Changes a record by whole tokens: takes one away, doubles one, swaps two, puts one in another's place, or
/// does so with a run of them, which often is a member or an event.
fn mutate_tokens(dice: &mut Dice, record: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = record.to_vec();
    for _ in 0..=dice.below(3) {
        let tokens = tokens(&bytes);
        let run = |dice: &mut Dice| {
            let first = dice.below(tokens.len());
            // A member is four tokens long: its name, a colon, its value, a comma.
            let last = first + [0, 0, 1, 3, 3, 7][dice.below(6)];
            let start = tokens.get(first).map_or(0, |token| token.0);
            start..tokens.get(last).or(tokens.last()).map_or(start, |token| token.1)
        };
        let (one, another) = (run(dice), run(dice));
        let text = bytes[one.clone()].to_vec();
        match dice.below(5) {
            0 => drop(bytes.drain(one)),
            1 => drop(bytes.splice(one.end..one.end, text)),
            2 => drop(bytes.splice(another, text)),
            3 if one.end <= another.start => {
                let late = bytes[another.clone()].to_vec();
                bytes.splice(another, text);
                bytes.splice(one, late);
            }
            _ => {
                let theirs = self::tokens(other);
                if let Some((start, end)) = theirs.get(dice.below(theirs.len())) {
                    bytes.splice(one, other[*start..*end].iter().copied());
                }
            }
        }
    }
    bytes
}

/// Records of a shipped stream.
fn originals(stream: &str) -> Vec<Vec<u8>> {
    let lines = match stream {
        "cloudtrail" => include_str!("../../../testdata/demo/cloudtrail.ndjson"),
        _ => TELEMETRY,
    };
    let within = |line: &str| match line.split_once("\"v\":") {
        Some((_, event)) if line.starts_with("{\"_t\"") => event.as_bytes()[..event.len() - 1].to_vec(),
        _ => line.as_bytes().to_vec(),
    };
    lines.lines().take(40).map(within).collect()
}

const TELEMETRY: &str = concat!(
    r#"{"vin":"XFWESWMHASL105957","ts":999999304,"seq":88916,"device_id":"tcu-7a7d42c7","#,
    r#""boot_id":"e4167c","src_ip":"100.89.228.218","model":"Aurora E3","region":"IT","#,
    r#""ignition":"on","gear":"D","speed":48.7,"odometer":142819.19,"lat":45.45213,"#,
    r#""lon":9.15779,"heading":318,"fix_type":3,"doors_locked":true,"dtc_count":0,"#,
    r#""dtc_list":[],"soc":55.5,"charging":false}"#,
    "\n",
    r#"{"vin": " xfweswmhasl105957 ", "ts": 1000000304, "seq": 88917, "#,
    r#""dtc_list": ["P0A1F", "U0100\u002d00"], "other": {"a": [1, 2, {"b": "\"\\"}]}, "#,
    r#""src_ip": "::ffff:10.1.2.3", "speed": -1.25e1, "odometer": -0.5, "is_moving": null}"#,
);

/// Rows and rejects of so many changed records; `MUTANTS=n` makes it n times as many, all others.
fn agree(stream: &str, rounds: usize, seed: u64) -> (usize, usize) {
    let times = std::env::var("MUTANTS").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    (0..times).fold((0, 0), |(rows, rejects), time| {
        let found = agree_once(stream, rounds, seed + 1000 * time);
        (rows + found.0, rejects + found.1)
    })
}

fn agree_once(stream: &str, rounds: usize, seed: u64) -> (usize, usize) {
    let schema = crate::schema::built_in().into_iter().find(|schema| &*schema.name == stream).unwrap();
    let originals = originals(stream);
    let mut dice = Dice(seed);
    let (mut rows, mut rejects) = (0, 0);
    for round in 0..rounds / 250 {
        let payloads: Vec<Vec<u8>> = (0..250)
            .map(|_| {
                let pick = dice.below(originals.len());
                let other = dice.below(originals.len());
                let mutate = [mutate, mutate_tokens][dice.below(2)];
                mutate(&mut dice, &originals[pick], &originals[other])
            })
            .collect();
        let projection = (0..schema.fields.len()).map(|_| round % 2 == 0 || dice.below(4) == 0).collect();
        let run = decode_as(&schema, projection, &Limits::default(), &payloads);
        rows += run.rows();
        rejects += run.decoded.rejects.len();
    }
    (rows, rejects)
}

#[test]
fn of_changed_telemetry_both_say_the_same() {
    let (rows, rejects) = agree("telemetry", 46_000, 7);
    assert!(rows > 8_000 && rejects > 8_000, "{rows} rows, {rejects} rejects");
}

#[test]
fn of_changed_cloudtrail_both_say_the_same() {
    let (rows, rejects) = agree("cloudtrail", 14_000, 11);
    assert!(rows > 2_000 && rejects > 2_000, "{rows} rows, {rejects} rejects");
}
