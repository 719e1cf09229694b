//! Records on their way to the broker, and what the broker makes of them: time, partition, offset.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::json::Json;
use super::stream::Stream;

/// A record as the broker has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// Its stream.
    pub stream: Stream,
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// When the broker took it, in milliseconds.
    pub broker_ms: i64,
    /// What it is partitioned by; empty if by nothing.
    pub key: &'a [u8],
    /// The event, as JSON.
    pub payload: &'a [u8],
}

/// Arrival, stream, partition, number, slot: the order in which records come out.
type Place = (i64, Stream, i32, u64, usize);

/// Everything that is under way. Memory: what is sent and has not arrived.
#[derive(Default)]
pub(super) struct Wire {
    under_way: BinaryHeap<Reverse<Place>>,
    packets: Vec<Packet>,
    free: Vec<usize>,
    spare: Vec<Vec<u8>>,
    number: u64,
    offsets: Vec<[i64; 8]>,
}

#[derive(Default)]
struct Packet {
    key: Vec<u8>,
    payload: Vec<u8>,
}

impl Wire {
    /// An open object to write an event into.
    pub fn event(&mut self) -> Json {
        Json::begin(self.spare.pop().unwrap_or_default())
    }

    /// Sends an event, which arrives at `arrival` (milliseconds).
    pub fn send(&mut self, stream: Stream, key: &str, arrival: i64, event: Json) {
        self.send_bytes(stream, key, arrival, event.finish());
    }

    /// Sends a text.
    pub fn send_bytes(&mut self, stream: Stream, key: &str, arrival: i64, payload: Vec<u8>) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.packets.push(Packet::default());
            self.packets.len() - 1
        });
        let packet = &mut self.packets[slot];
        packet.key.clear();
        packet.key.extend_from_slice(key.as_bytes());
        let used = std::mem::replace(&mut packet.payload, payload);
        if used.capacity() > 0 && self.spare.len() < 64 {
            self.spare.push(used);
        }
        self.number += 1;
        let partition = stream.partition(key.as_bytes());
        self.under_way.push(Reverse((arrival, stream, partition, self.number, slot)));
    }

    /// Whether a record arrives at `until` or before.
    pub fn is_ready(&self, until: i64) -> bool {
        self.under_way.peek().is_some_and(|Reverse((arrival, ..))| *arrival <= until)
    }

    /// The next record, whenever it arrives.
    pub fn take(&mut self) -> Option<Sent<'_>> {
        let Reverse((broker_ms, stream, partition, _, slot)) = self.under_way.pop()?;
        self.free.push(slot);
        if self.offsets.is_empty() {
            self.offsets = vec![[0; 8]; Stream::ALL.len()];
        }
        let next = &mut self.offsets[stream as usize][partition.unsigned_abs() as usize % 8];
        let offset = *next;
        *next += 1;
        let Packet { key, payload } = &self.packets[slot];
        Some(Sent { stream, partition, offset, broker_ms, key, payload })
    }

    /// How many records are under way.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.under_way.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_arrive_in_order_and_offsets_count_by_partition() {
        let mut wire = Wire::default();
        for (at, key) in [(30, "a"), (10, "a"), (20, "a"), (10, "b")] {
            let mut event = wire.event();
            event.int("at", at);
            wire.send(Stream::Cloudtrail, key, at, event);
        }
        assert!(!wire.is_ready(9));
        let mut seen = Vec::new();
        while wire.is_ready(20) {
            let sent = wire.take().unwrap();
            seen.push((sent.broker_ms, sent.offset, String::from_utf8(sent.key.to_vec()).unwrap()));
        }
        assert_eq!(seen, [(10, 0, "a".into()), (10, 1, "b".into()), (20, 2, "a".into())]);
        assert_eq!(wire.len(), 1);
        assert_eq!(wire.take().map(|sent| sent.payload.to_vec()), Some(b"{\"at\":30}".to_vec()));
    }
}
