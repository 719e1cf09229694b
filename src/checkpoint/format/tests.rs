use proptest::prelude::*;

use super::*;
use crate::event::Limits;
use crate::pipeline::{Input, Pipeline};

const GOLDEN: &str = "testdata/checkpoint/1.fwck";

fn bytes(checkpoint: &Checkpoint) -> Vec<u8> {
    encode(checkpoint).unwrap()
}

fn read(bytes: &[u8]) -> Result<Saved, Refused> {
    decode(&Buffer::from(bytes.to_vec()))
}

/// Everything that a checkpoint holds, as text.
fn text(checkpoint: &Checkpoint) -> String {
    format!("{checkpoint:?}")
}

/// Bytes with another byte in them, and a checksum that is right for them.
fn forged(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = byte;
    let end = bytes.len() - 4;
    let sum = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn what_is_written_is_read() {
    let checkpoint = fixture::checkpoint(5);
    let saved = read(&bytes(&checkpoint)).unwrap();
    assert_eq!(text(&saved.checkpoint), text(&checkpoint));
    assert_eq!((saved.engine.as_str(), saved.version), (env!("CARGO_PKG_VERSION"), VERSION));
    let rows = |rule: &str| {
        let found = saved.checkpoint.tables.iter().find(|table| table.rule == rule).unwrap();
        let count = |batches: &Vec<RecordBatch>| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        (count(&found.detector), found.suppress.as_ref().map(count))
    };
    assert_eq!((rows("count"), rows("still"), rows("every").0), ((5, Some(5)), (0, None), 0));
    assert_eq!(bytes(&saved.checkpoint), bytes(&checkpoint));
}

/// A file that the first version wrote. Whatever this version writes, it must read that, and go on from it.
#[test]
fn the_golden_file_of_version_1_is_read_and_loaded() {
    if std::env::var_os("UPDATE").is_some() {
        assert_eq!(VERSION, 1, "a golden file is written by the version that it is of");
        std::fs::write(GOLDEN, bytes(&fixture::checkpoint(5))).unwrap();
    }
    let saved = read(&std::fs::read(GOLDEN).unwrap()).unwrap();
    assert_eq!(saved.version, 1);
    let (rules, _) = fixture::rules();
    let runs: Vec<usize> = (0..rules.rules.len()).collect();
    let cut = (&saved.checkpoint, saved.checkpoint.sources.as_slice());
    let (pipeline, cold) = Pipeline::load(&rules, &runs, false, &Limits::default(), cut);
    assert_eq!(cold, Vec::<String>::new());
    let again = pipeline.save(&saved.checkpoint.sources);
    assert_eq!(format!("{:?}", again.tables), format!("{:?}", saved.checkpoint.tables));
}

#[test]
fn each_kind_of_damage_has_its_own_words() {
    let good = bytes(&fixture::checkpoint(2));
    assert_eq!(read(b"").unwrap_err(), Refused::Foreign);
    assert_eq!(read(b"{\"json\":true, \"and long enough for a head\":1}").unwrap_err(), Refused::Foreign);
    assert_eq!(read(&forged(&good, 8, 9)).unwrap_err(), Refused::TooNew(9));
    let short = read(&good[..good.len() - 1]).unwrap_err();
    assert_eq!(short, Refused::Length { said: good.len() as u64, found: good.len() as u64 - 1 });
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    assert_eq!(read(&flipped).unwrap_err(), Refused::Damaged);
    let outside = read(&forged(&good, 31, 0x7f)).unwrap_err();
    assert_eq!(outside, Refused::Unreadable("the directory lies outside".into()));
    for refused in [Refused::TooNew(9), Refused::Foreign, Refused::Damaged, short, outside] {
        let said = refused.to_string();
        assert!(said.contains(": ") && !said.ends_with('.') && said.starts_with("th"), "{said}");
    }
}

#[test]
fn what_breaks_an_invariant_is_neither_written_nor_read() {
    let mut checkpoint = fixture::checkpoint(2);
    checkpoint.next_offset = -1;
    assert_eq!(encode(&checkpoint).unwrap_err(), Refused::Violates("offsets are not negative"));
}

/// However small the slices are, they make the cut that is made at once.
#[test]
fn a_cut_in_slices_is_the_cut_at_once() {
    let cut = fixture::checkpoint(7);
    let (rules, _) = fixture::rules();
    let runs: Vec<usize> = (0..rules.rules.len()).collect();
    let (mut pipeline, _) = Pipeline::load(&rules, &runs, false, &Limits::default(), (&cut, &cut.sources));
    let at_once = text(&pipeline.save(&cut.sources));
    for budget in [1, 300, usize::MAX] {
        let sliced = loop {
            match pipeline.save_some(&cut.sources, &mut budget.clone()) {
                Some(sliced) => break sliced,
                None => assert!(pipeline.is_saving()),
            }
        };
        assert_eq!(text(&sliced), at_once, "{budget}");
    }
    pipeline.save_some(&cut.sources, &mut 10);
    pipeline.apply(Input::Rules { rules: &rules, runs: &runs }, &cut.sources, &mut Vec::new());
    assert!(!pipeline.is_saving(), "other rules make another cut");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn truncated_and_changed_bytes_are_refused(cut in 0usize..100_000, at in 0usize..100_000, bit in 0u8..8) {
        let good = bytes_once();
        let shorter = &good[..cut % good.len()];
        prop_assert!(read(shorter).is_err());
        let mut changed = good.to_vec();
        changed[at % good.len()] ^= 1 << bit;
        // Four zeros behind the version mean nothing, but they are under the checksum too.
        prop_assert!(read(&changed).is_err());
        changed.extend_from_slice(shorter);
        prop_assert!(read(&changed).is_err());
    }

    /// Somebody who can compute a checksum may change what is remembered, but not stop a start.
    #[test]
    fn forged_bytes_never_panic(at in 0usize..100_000, byte in any::<u8>()) {
        let good = bytes_once();
        let forged = forged(good, at % (good.len() - 4), byte);
        if let Ok(saved) = read(&forged) {
            let (rules, _) = rules_once();
            let runs: Vec<usize> = (0..rules.rules.len()).collect();
            let cut = (&saved.checkpoint, saved.checkpoint.sources.as_slice());
            Pipeline::load(rules, &runs, false, &Limits::default(), cut);
        }
    }
}

fn bytes_once() -> &'static [u8] {
    static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| bytes(&fixture::checkpoint(3)));
    &BYTES
}

type Rules = (Arc<crate::rule::RuleSet>, Vec<Arc<crate::schema::Schema>>);

fn rules_once() -> &'static Rules {
    static RULES: std::sync::LazyLock<Rules> = std::sync::LazyLock::new(fixture::rules);
    &RULES
}
