//! Where the state of a partition lies, as the text that the group keeps beside its next offset.
//!
//! `fleetwarden 1 epoch=812 journal=4711 checkpoint=telemetry-3-812-4711`; the last member is left out while
//! nothing has been saved. Described in `docs/formats/journal.md`.

use std::sync::Arc;

use super::Error;
use crate::event::Root;

/// What brokers keep for a partition unless they are told otherwise: bytes.
const LIMIT: usize = 4096;

const HEAD: &str = "fleetwarden 1 ";

/// The text of a root. Fails if the name of the checkpoint is not one line of ASCII, or does not fit.
pub fn write(root: &Root) -> Result<String, Error> {
    let mut text = format!("{HEAD}epoch={} journal={}", root.epoch, root.journal);
    if let Some(name) = &root.checkpoint {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            return Err(Error::new(format!(
                "the checkpoint's name {name:?} cannot be committed: one line of ASCII can"
            )));
        }
        text.push_str(&format!(" checkpoint={name}"));
    }
    if text.len() > LIMIT {
        let message = format!(
            "the checkpoint's name cannot be committed: {} bytes, of which a broker keeps {LIMIT}",
            text.len()
        );
        return Err(Error::new(message).hint("give the store of checkpoints a shorter path"));
    }
    Ok(text)
}

/// Reads what [`write`] wrote; none for anything else, such as what other programs commit.
pub fn read(text: &str) -> Option<Root> {
    let rest = text.strip_prefix(HEAD).filter(|_| text.len() <= LIMIT)?;
    let (numbers, checkpoint) = match rest.split_once(" checkpoint=") {
        Some((numbers, name)) => (numbers, Some(Arc::from(name))),
        None => (rest, None),
    };
    let (epoch, journal) = numbers.split_once(' ')?;
    let number = |text: &str, name: &str| text.strip_prefix(name)?.parse().ok();
    let root = Root { epoch: number(epoch, "epoch=")?, journal: number(journal, "journal=")?, checkpoint };
    // One text for each root: so nothing that was changed on the way is believed.
    write(&root).is_ok_and(|written| written == text).then_some(root)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn root(checkpoint: Option<&str>, journal: i64, epoch: i64) -> Root {
        Root { checkpoint: checkpoint.map(Arc::from), journal, epoch }
    }

    #[test]
    fn the_text_is_part_of_the_format() {
        let text = "fleetwarden 1 epoch=812 journal=4711 checkpoint=telemetry/3/812.fwc";
        assert_eq!(write(&root(Some("telemetry/3/812.fwc"), 4711, 812)).unwrap(), text);
        assert_eq!(write(&root(None, 0, -1)).unwrap(), "fleetwarden 1 epoch=-1 journal=0");
    }

    #[test]
    fn what_is_not_ours_is_none() {
        for text in [
            "",
            "fleetwarden 1 ",
            "fleetwarden 2 epoch=1 journal=2",
            "fleetwarden 1 epoch=1",
            "fleetwarden 1 epoch=1 journal=",
            "fleetwarden 1 epoch=+1 journal=2",
            "fleetwarden 1 epoch=01 journal=2",
            "fleetwarden 1 journal=2 epoch=1",
            "fleetwarden 1 epoch=1 journal=2 ",
            "fleetwarden 1 epoch=1 journal=2 checkpoint=",
            "fleetwarden 1 epoch=1 journal=2 checkpoint=ä",
            "fleetwarden 1 epoch=1 journal=99999999999999999999",
            "flink:checkpoint-7",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_broker_would_not_keep_is_refused() {
        assert!(write(&root(Some(&"x".repeat(4000)), i64::MIN, i64::MIN)).is_ok());
        let error = write(&root(Some(&"x".repeat(4096)), 1, 1)).unwrap_err();
        assert!(error.message.contains("4139 bytes"), "{error}");
        for bad in ["", "a\nb", "ä", "\u{7f}"] {
            assert!(write(&root(Some(bad), 1, 1)).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_root_is_read_back(
            name in proptest::option::of("[ -~]{1,40}"), journal in any::<i64>(), epoch in any::<i64>(),
        ) {
            let root = root(name.as_deref(), journal, epoch);
            let text = write(&root).unwrap();
            prop_assert!(text.is_ascii() && text.len() <= LIMIT);
            prop_assert_eq!(read(&text), Some(root));
        }

        #[test]
        fn any_text_at_all_is_survived(text in ".{0,40}", tail in "[ a-z=0-9]{0,40}") {
            prop_assert_eq!(read(&text), None);
            if let Some(root) = read(&format!("{HEAD}{tail}")) {
                prop_assert_eq!(write(&root).unwrap(), format!("{HEAD}{tail}"));
            }
        }
    }
}
