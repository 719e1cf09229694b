//! The models of cars, their firmware, and what their names and numbers look like.

use super::random::Random;

/// A model.
#[derive(Debug)]
pub(super) struct Model {
    pub name: &'static str,
    /// Three letters of the VIN.
    pub code: &'static str,
    pub pack: Option<Pack>,
    /// Consumption at a steady 100 km/h, without heating.
    pub wh_per_km: f64,
    /// Tonnes.
    pub mass: f64,
    /// Whether it delivers goods.
    pub van: bool,
    /// Whether it cools them.
    pub reefer: bool,
}

/// A traction battery.
#[derive(Debug)]
pub(super) struct Pack {
    pub kwh: f64,
    pub volts: f64,
    /// Highest power of alternating and of direct current.
    pub ac_kw: f64,
    pub dc_kw: f64,
    /// Highest charging current that the pack takes.
    pub max_a: f64,
}

const fn pack(kwh: f64, volts: f64, ac_kw: f64, dc_kw: f64, max_a: f64) -> Option<Pack> {
    Some(Pack { kwh, volts, ac_kw, dc_kw, max_a })
}

/// All models.
pub(super) static MODELS: [Model; 6] = [
    Model {
        name: "Aurora E3",
        code: "EAA",
        pack: pack(58.0, 360.0, 11.0, 120.0, 350.0),
        wh_per_km: 170.0,
        mass: 1.8,
        van: false,
        reefer: false,
    },
    Model {
        name: "Aurora E5",
        code: "EAB",
        pack: pack(82.0, 400.0, 11.0, 170.0, 450.0),
        wh_per_km: 195.0,
        mass: 2.2,
        van: false,
        reefer: false,
    },
    Model {
        name: "Kestrel 2.0",
        code: "CKA",
        pack: None,
        wh_per_km: 0.0,
        mass: 1.5,
        van: false,
        reefer: false,
    },
    Model {
        name: "Kestrel Touring",
        code: "CKB",
        pack: None,
        wh_per_km: 0.0,
        mass: 1.7,
        van: false,
        reefer: false,
    },
    Model {
        name: "Packhorse Van",
        code: "CPV",
        pack: None,
        wh_per_km: 0.0,
        mass: 2.6,
        van: true,
        reefer: false,
    },
    Model {
        name: "Packhorse E-Frost",
        code: "EPF",
        pack: pack(75.0, 400.0, 22.0, 110.0, 320.0),
        wh_per_km: 260.0,
        mass: 3.0,
        van: true,
        reefer: true,
    },
];

/// Software versions of telematics units, the newest last.
pub(super) static FIRMWARE: [&str; 4] = ["tcu-4.1.9", "tcu-4.2.1", "tcu-4.3.0", "tcu-4.4.0"];

/// Weights of the models within a fleet, of 100.
const SHARES: [u64; 6] = [24, 16, 26, 19, 10, 5];

/// A model, as they sell.
pub(super) fn choose(random: &mut Random) -> &'static Model {
    let mut left = random.below(100);
    for (model, share) in MODELS.iter().zip(SHARES) {
        if left < share {
            return model;
        }
        left -= share;
    }
    &MODELS[0]
}

const LETTERS: &[u8] = b"0123456789ABCDEFGHJKLMNPRSTUVWXYZ";

/// A vehicle identification number: maker, model, its check digit (ISO 3779), year, plant, serial number.
pub(super) fn vin(model: &Model, serial: u64, random: &mut Random) -> String {
    let mut text = format!("XFW{}", model.code).into_bytes();
    text.extend((0..2).map(|_| LETTERS[random.index(LETTERS.len())]));
    text.push(b'0');
    text.push(*random.pick(b"RSTV"));
    text.push(*random.pick(b"HLM"));
    let mut digits = Vec::new();
    super::json::push_digits(&mut digits, serial % 1_000_000, 6);
    text.extend(digits);
    text[8] = check_digit(&text);
    String::from_utf8(text).unwrap_or_default()
}

/// The check digit of a VIN: transliterated, weighted, modulo 11 (49 CFR 565.15).
fn check_digit(vin: &[u8]) -> u8 {
    const WEIGHTS: [u64; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let value = |letter: u8| match letter {
        b'0'..=b'9' => u64::from(letter - b'0'),
        b'A'..=b'H' => u64::from(letter - b'A') + 1,
        b'J'..=b'R' => u64::from(letter - b'J') + 1,
        b'S'..=b'Z' => u64::from(letter - b'S') + 2,
        _ => 0,
    };
    let sum: u64 = vin.iter().zip(WEIGHTS).map(|(letter, weight)| value(*letter) * weight).sum();
    match sum % 11 {
        10 => b'X',
        rest => b'0' + rest as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vins_have_seventeen_characters_and_a_check_digit() {
        // A well-known example of the rule.
        assert_eq!(check_digit(b"1M8GDM9A_KP042788"), b'X');
        let mut random = Random::new(1, "vin", 0);
        let text = vin(&MODELS[2], 100_042, &mut random);
        assert_eq!(text.len(), 17);
        assert!(text.starts_with("XFWCKA") && text.ends_with("100042"), "{text}");
        assert_eq!(check_digit(text.as_bytes()), text.as_bytes()[8]);
    }

    #[test]
    fn shares_are_of_a_hundred() {
        assert_eq!(SHARES.iter().sum::<u64>(), 100);
    }
}
