//! A table and how its rows are found.
//!
//! Exact keys are found by hash in a sorted list; networks by their length, the longest first. A row has a time
//! from which it counts, and of those that count the newest wins.

use std::fmt;
use std::net::IpAddr;

use crate::event::{KeyHasher, Timestamp, Type, Value};
use crate::rule::expr::functions::{Cell, widened};
use crate::rule::expr::parse::parse_network;

/// The most rows of a table.
pub const MOST_ROWS: usize = 1_000_000;

/// How a key is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// It is equal.
    Exact,
    /// It is an address in a network; the longest network wins.
    Cidr,
}

/// What a table is, without its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Names and types of its columns.
    pub columns: Vec<(String, Type)>,
    /// The columns by which rows are found.
    pub key: Vec<usize>,
    /// How.
    pub matching: Matching,
    /// The columns that say from when and until when a row counts.
    pub valid: Option<(usize, usize)>,
}

/// A table.
pub struct Lookup {
    /// Its name.
    pub name: String,
    /// What it is.
    pub shape: Shape,
    /// Over its shape and its rows.
    pub hash: u128,
    rows: Vec<Box<[Value]>>,
    exact: Vec<Entry<u128>>,
    /// Longest first; IPv4 and IPv6 apart.
    networks: Vec<Networks>,
}

/// Where a row is found: sorted by key, then by the time from which it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry<K> {
    key: K,
    from: Timestamp,
    row: u32,
}

/// The networks of one length.
struct Networks {
    bits: u32,
    length: u32,
    entries: Vec<Entry<u128>>,
}

/// A row that is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which row, from 0.
    pub row: usize,
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Lookup {
    /// A table of these rows, each with a value for each column; or what is wrong with them.
    pub fn new(name: String, shape: Shape, rows: Vec<Box<[Value]>>) -> Result<Lookup, Vec<Fault>> {
        let hash = hash(&shape, &rows);
        let mut lookup = Lookup { name, shape, hash, rows, exact: Vec::new(), networks: Vec::new() };
        let mut faults = Vec::new();
        for row in 0..lookup.rows.len() {
            if let Err((message, hint)) = lookup.place(row) {
                faults.push(Fault { row, message, hint });
            }
        }
        lookup.exact.sort_unstable();
        lookup.networks.iter_mut().for_each(|networks| networks.entries.sort_unstable());
        lookup.networks.sort_by_key(|networks| (std::cmp::Reverse(networks.length), networks.bits));
        faults.extend(lookup.doubled());
        faults.sort_by_key(|fault| fault.row);
        if faults.is_empty() { Ok(lookup) } else { Err(faults) }
    }

    fn place(&mut self, row: usize) -> Result<(), (String, String)> {
        let Some(values) = self.rows.get(row) else { return Ok(()) };
        let from = match self.shape.valid.and_then(|(from, _)| values.get(from)) {
            Some(Value::Time(from)) => *from,
            _ => Timestamp(i64::MIN),
        };
        let keys: Vec<&Value> = self.shape.key.iter().filter_map(|column| values.get(*column)).collect();
        if keys.contains(&&Value::Null) {
            return Err(("a part of the key is empty".into(), "such a row is never found".into()));
        }
        let at = u32::try_from(row).unwrap_or(u32::MAX);
        match (self.shape.matching, &keys[..]) {
            (Matching::Exact, _) => {
                let key = exact_key(keys.into_iter().map(Cell::from));
                self.exact.push(Entry { key, from, row: at });
            }
            (Matching::Cidr, [Value::Text(text)]) => {
                let Some((address, length)) = parse_network(text) else {
                    let hint = "a network is an address and a length: 10.0.0.0/8, 2001:db8::/32";
                    return Err((format!("\"{text}\" is no network"), hint.into()));
                };
                let (key, bits) = widened(address);
                let mapped = address.is_ipv6() && bits == 32;
                let length = if mapped { u32::from(length).saturating_sub(96) } else { u32::from(length) };
                self.of_length(bits, length).push(Entry { key, from, row: at });
            }
            (Matching::Cidr, _) => {}
        }
        Ok(())
    }

    fn of_length(&mut self, bits: u32, length: u32) -> &mut Vec<Entry<u128>> {
        let at = self.networks.iter().position(|other| (other.bits, other.length) == (bits, length));
        let at = at.unwrap_or_else(|| {
            self.networks.push(Networks { bits, length, entries: Vec::new() });
            self.networks.len() - 1
        });
        &mut self.networks[at].entries
    }

    /// Rows that no event can tell apart.
    fn doubled(&self) -> Vec<Fault> {
        let lists = self.networks.iter().map(|networks| &networks.entries).chain([&self.exact]);
        let pairs = lists.flat_map(|entries| entries.windows(2));
        let same = pairs.filter(|pair| pair[0].key == pair[1].key && pair[0].from == pair[1].from);
        same.map(|pair| {
            let (message, hint) = match self.shape.valid {
                Some(_) => ("the key stands twice from the same time on", "remove one of the two"),
                None => ("the key stands twice", "remove one, or say `valid = [\"from\", \"to\"]`"),
            };
            Fault { row: pair[1].row as usize, message: message.into(), hint: hint.into() }
        })
        .collect()
    }

    /// The row of a key, of those that count at `at` the one that has counted for the shortest time.
    pub fn find(&self, key: &[Cell<'_>], at: Option<Timestamp>) -> Option<&[Value]> {
        if key.contains(&Cell::Null) {
            return None;
        }
        match (self.shape.matching, key) {
            (Matching::Exact, _) => self.newest(&self.exact, exact_key(key.iter().cloned()), at),
            (Matching::Cidr, [Cell::Text(text)]) => {
                let (address, bits) = widened(text.parse::<IpAddr>().ok()?);
                self.networks.iter().filter(|networks| networks.bits == bits).find_map(|networks| {
                    let below = bits.saturating_sub(networks.length);
                    let network = address.checked_shr(below).unwrap_or(0).checked_shl(below).unwrap_or(0);
                    self.newest(&networks.entries, network, at)
                })
            }
            (Matching::Cidr, _) => None,
        }
    }

    fn newest(&self, entries: &[Entry<u128>], key: u128, at: Option<Timestamp>) -> Option<&[Value]> {
        let start = entries.partition_point(|entry| entry.key < key);
        let end = match at {
            Some(at) => entries.partition_point(|entry| (entry.key, entry.from) <= (key, at)),
            None => entries.partition_point(|entry| entry.key <= key),
        };
        let rows =
            entries.get(start..end)?.iter().rev().filter_map(|entry| self.rows.get(entry.row as usize));
        rows.map(|row| &**row).find(|row| match (self.shape.valid, at) {
            (Some((_, to)), Some(at)) => !matches!(row.get(to), Some(Value::Time(to)) if *to <= at),
            _ => true,
        })
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.shape.columns.iter().position(|(column, _)| column == name)
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lookup {} of {} rows", self.name, self.rows.len())
    }
}

fn exact_key<'a>(cells: impl Iterator<Item = Cell<'a>>) -> u128 {
    let mut hasher = KeyHasher::default();
    cells.for_each(|cell| match cell {
        Cell::Text(text) => hasher.text(&text),
        Cell::Int(int) => hasher.int(int),
        cell => hasher.value(&cell.into()),
    });
    hasher.finish()
}

fn hash(shape: &Shape, rows: &[Box<[Value]>]) -> u128 {
    let mut hasher = KeyHasher::default();
    hasher.text(&format!("{shape:?}"));
    rows.iter().flatten().for_each(|value| hasher.value(value));
    hasher.finish()
}
