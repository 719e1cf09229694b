//! What somebody makes a car say that is not so.

use super::place::Point;

/// Overrides of what a car reports. The default changes nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Tamper {
    pub speed: Option<f64>,
    pub gear: Option<&'static str>,
    pub ignition: Option<bool>,
    pub rpm: Option<f64>,
    pub locked: Option<bool>,
    pub doors_open: i64,
    /// The odometer stands still here.
    pub odometer_at: Option<f64>,
    /// Kilometres that are taken away.
    pub odometer_less: f64,
    /// Where the receiver believes to be.
    pub fix: Fix,
    pub soc_shift: f64,
    pub charge_limit: Option<f64>,
    pub charge_max_a: Option<f64>,
    pub alarm_flags: i64,
    pub troubles: &'static [&'static str],
    pub reefer_c: Option<f64>,
    /// Says nothing at all.
    pub silent: bool,
}

/// What a satellite receiver is made to believe.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Fix {
    /// The truth.
    #[default]
    True,
    /// This point, wherever it is.
    At(Point),
    /// So many kilometres from the truth, in a direction.
    Off { km: f64, heading: f64 },
}

impl Tamper {
    /// The odometer as it is reported.
    pub fn odometer(&self, true_km: f64) -> f64 {
        (self.odometer_at.unwrap_or(true_km) - self.odometer_less).max(0.0)
    }

    /// The position as it is reported.
    pub fn position(&self, at: Point) -> Point {
        match self.fix {
            Fix::True => at,
            Fix::At(point) => point,
            Fix::Off { km, heading } => at.moved(km, heading),
        }
    }
}
