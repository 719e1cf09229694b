//! Threat mappings: which ids of UN R155 Annex 5 and of the Automotive Threat Matrix exist.
//!
//! MITRE ATT&CK grows several times a year, so of its ids only the shape is checked.

use crate::diagnostic::nearest;

/// The numbered attack vectors of UN R155 Annex 5, Part A.
pub const R155: [&str; 67] = [
    "1.1", "1.2", "1.3", "2.1", "3.1", "3.2", "3.3", "3.4", "3.5", "4.1", "4.2", "5.1", "5.2", "5.3", "5.4",
    "5.5", "6.1", "6.2", "6.3", "7.1", "7.2", "8.1", "8.2", "9.1", "10.1", "11.1", "11.2", "11.3", "11.4",
    "12.1", "12.2", "12.3", "12.4", "13.1", "15.1", "15.2", "16.1", "16.2", "16.3", "17.1", "18.1", "18.2",
    "18.3", "19.1", "19.2", "19.3", "20.1", "20.2", "20.3", "20.4", "20.5", "21.1", "22.2", "23.1", "24.1",
    "25.1", "25.2", "26.1", "26.2", "26.3", "27.1", "28.1", "28.2", "29.1", "29.2", "31.1", "32.1",
];

/// The last technique of the Automotive Threat Matrix.
const LAST_ATM: u32 = 77;

/// Numbers that the matrix leaves out.
const NO_ATM: [u32; 2] = [56, 57];

/// What is wrong with an id of UN R155 Annex 5, as a hint; none = it exists.
pub fn r155_fault(id: &str) -> Option<String> {
    (!R155.contains(&id)).then(|| near(id, R155, "vectors are numbered 1.1 to 32.1, as in Annex 5 Part A"))
}

/// What is wrong with an id of the Automotive Threat Matrix.
pub fn atm_fault(id: &str) -> Option<String> {
    let exists = |n: u32| (1..=LAST_ATM).contains(&n) && !NO_ATM.contains(&n);
    let number = id.strip_prefix("ATM-T").filter(|text| digits(text, 4));
    if number.and_then(|digits| digits.parse().ok()).is_some_and(exists) {
        return None;
    }
    let all: Vec<String> = (1..=LAST_ATM).filter(|n| exists(*n)).map(|n| format!("ATM-T{n:04}")).collect();
    Some(near(id, all.iter().map(String::as_str), "techniques are ATM-T0001 to ATM-T0077"))
}

fn digits(text: &str, n: usize) -> bool {
    text.len() == n && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is wrong with an id of MITRE ATT&CK: `T1234` or `T1234.001`.
pub fn attack_fault(id: &str) -> Option<String> {
    let (technique, sub) = id.split_once('.').map_or((id, None), |(technique, sub)| (technique, Some(sub)));
    let shaped = technique.strip_prefix('T').is_some_and(|number| digits(number, 4));
    let shaped = shaped && sub.is_none_or(|sub| digits(sub, 3));
    (!shaped).then(|| "techniques look like T1110 or T1110.004".into())
}

fn near<'a>(id: &str, all: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    match nearest(id, all) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => otherwise.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_exist_pass() {
        for id in ["1.1", "11.3", "22.2", "32.1"] {
            assert_eq!(r155_fault(id), None, "{id}");
        }
        for id in ["ATM-T0001", "ATM-T0033", "ATM-T0077"] {
            assert_eq!(atm_fault(id), None, "{id}");
        }
        for id in ["T1110", "T1110.004"] {
            assert_eq!(attack_fault(id), None, "{id}");
        }
    }

    #[test]
    fn ids_that_do_not_exist_are_named() {
        for id in ["", "14.1", "22.1", "30.1", "1.4", "33.1", "11.3 "] {
            assert!(r155_fault(id).is_some(), "{id}");
        }
        for id in ["", "T0033", "ATM-T0056", "ATM-T0057", "ATM-T0078", "ATM-T0000", "ATM-T33", "ATM-T+033"] {
            assert!(atm_fault(id).is_some(), "{id}");
        }
        for id in ["", "T111", "1110", "T1110.4", "TA0001", "T1110.0044", "t1110"] {
            assert!(attack_fault(id).is_some(), "{id}");
        }
        assert_eq!(r155_fault("11.33").as_deref(), Some("did you mean \"11.3\"?"));
        assert_eq!(atm_fault("ATM-T033").as_deref(), Some("did you mean \"ATM-T0033\"?"));
    }

    #[test]
    fn the_list_is_complete_and_has_no_doubles() {
        let mut sorted = R155.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 67);
    }
}
