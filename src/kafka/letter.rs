//! A dead letter: a record that could not be read, or an alert that a sink will never take.
//!
//! On the wire the value is what it was, byte for byte, and headers say where it came from and why it is
//! here.

use std::sync::Arc;

use crate::alert::Alert;
use crate::encode::plain;
use crate::event::{PartitionId, Reject};

/// A value longer than the dead-letter topic takes is cut to this many bytes.
pub const CUT: usize = 64 * 1024;

/// One dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// What its writer knows it by; not on the wire.
    pub ticket: u64,
    /// The key of the source record, if it had one.
    pub key: Option<Vec<u8>>,
    /// The source record's value, or the alert as one line of JSON.
    pub value: Vec<u8>,
    /// Names and texts, in the order they are written.
    pub headers: Vec<(&'static str, String)>,
}

impl Letter {
    /// For a record that could not be read.
    pub fn reject(
        ticket: u64,
        partition: &PartitionId,
        topic: &str,
        key: Option<&[u8]>,
        reject: Reject,
    ) -> Letter {
        Letter {
            ticket,
            key: key.map(<[u8]>::to_vec),
            value: reject.payload,
            headers: vec![
                ("stream", partition.stream.to_string()),
                ("topic", topic.to_string()),
                ("partition", partition.index.to_string()),
                ("offset", reject.offset.to_string()),
                ("reason", reject.reason.name().to_string()),
                ("detail", reject.detail),
                ("at", reject.at.to_string()),
            ],
        }
    }

    /// For an alert that a sink refused for good.
    pub fn refused(ticket: u64, sink: &str, reason: String, alert: &Arc<Alert>) -> Letter {
        Letter {
            ticket,
            key: Some(alert.id_hex().into_bytes()),
            value: plain::line(alert).into_bytes(),
            headers: vec![("sink", sink.to_string()), ("reason", reason)],
        }
    }

    /// Shortens the value to what any topic takes, and says so. False if it is that short already.
    pub fn cut(&mut self) -> bool {
        let whole = self.value.len();
        if whole <= CUT {
            return false;
        }
        self.value.truncate(CUT);
        self.headers.push(("cut_from_bytes", whole.to_string()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{RejectReason, Timestamp};

    fn reject(payload: &[u8]) -> Reject {
        Reject {
            source: 5,
            offset: 81_210,
            broker_time: Timestamp(7),
            reason: RejectReason::Syntax,
            at: 17,
            detail: "expected a colon".into(),
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn the_wire_of_a_record_that_could_not_be_read() {
        let partition = PartitionId { stream: "diagnostics".into(), index: 3 };
        let letter = Letter::reject(9, &partition, "vehicle.uds", Some(b"V1"), reject(b"{\"a\" 1}\xff"));
        assert_eq!(letter.key.as_deref(), Some(&b"V1"[..]));
        assert_eq!(letter.value, b"{\"a\" 1}\xff");
        let headers: Vec<String> =
            letter.headers.iter().map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(
            headers.join(" "),
            "stream=diagnostics topic=vehicle.uds partition=3 offset=81210 reason=syntax \
             detail=expected a colon at=17"
        );
    }

    #[test]
    fn a_huge_value_is_cut_once_and_says_so() {
        let partition = PartitionId { stream: "s".into(), index: 0 };
        let mut letter = Letter::reject(1, &partition, "t", None, reject(&[b'x'; CUT + 1]));
        assert!(letter.cut());
        assert_eq!(letter.value.len(), CUT);
        assert_eq!(letter.headers.last(), Some(&("cut_from_bytes", (CUT + 1).to_string())));
        assert!(!letter.cut());
    }
}
