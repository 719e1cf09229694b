//! Texts of an alert in bounds: an attacker writes keys and observed values, and an alert that no journal takes
//! would stop its partition.
//!
//! The id is that of the whole values. What is cut off is told by the caller.

use std::sync::Arc;

use super::Alert;
use crate::event::Value;

/// Bytes of one text at most: more than any name, and enough of a path or a command to know it by.
const TEXT: usize = 4 << 10;

/// Bytes of all texts of an alert together, in the order key, entities, observed.
const ALL: usize = 64 << 10;

/// Cuts what is too long; whether anything was.
pub fn shorten(alert: &mut Alert) -> bool {
    let mut left = ALL;
    let mut cut = false;
    let keys = alert.key.iter_mut();
    let entities = alert.entities.iter_mut().map(|entity| &mut entity.value);
    let observed = alert.observed.iter_mut().map(|(_, value)| value);
    for value in keys.chain(entities).chain(observed) {
        cut |= bound(value, &mut left);
    }
    cut
}

fn bound(value: &mut Value, left: &mut usize) -> bool {
    match value {
        Value::Text(text) => {
            let most = TEXT.min(*left);
            let is_cut = text.len() > most;
            if is_cut {
                let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
                *text = Arc::from(format!("{}…", text.get(..end).unwrap_or_default()));
            }
            *left = left.saturating_sub(text.len());
            is_cut
        }
        Value::List(items) => {
            let mut cut = false;
            items.iter_mut().for_each(|item| cut |= bound(item, left));
            cut
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Time(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character_and_many_share_what_is_left() {
        let mut left = ALL;
        let mut short = Value::text("XFW1");
        assert!(!bound(&mut short, &mut left));
        assert_eq!((short, left), (Value::text("XFW1"), ALL - 4));
        let mut long = Value::text(format!("x{}", "é".repeat(TEXT)));
        assert!(bound(&mut long, &mut left));
        let Value::Text(text) = &long else { panic!("{long:?}") };
        assert!(text.ends_with('…') && text.len() <= TEXT + '…'.len_utf8(), "{}", text.len());
        let mut many = Value::List(vec![Value::text("y".repeat(TEXT)); 1000]);
        assert!(bound(&mut many, &mut left));
        let Value::List(items) = &many else { panic!("{many:?}") };
        let bytes: usize =
            items.iter().map(|item| if let Value::Text(text) = item { text.len() } else { 0 }).sum();
        assert!(bytes <= ALL + 1000 * '…'.len_utf8(), "{bytes}");
    }
}
