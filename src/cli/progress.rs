//! The progress bar of verbs that read much: on stderr, and on a terminal only.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for so many bytes or records, hidden where nobody watches; `what` stands before it.
pub fn bar(what: &str, length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let what = what.replace(['{', '}'], "");
    let style = format!("{what}   ▕{{bar:20}}▏ {{percent:>3}} %   {{msg}}   ETA {{eta}}");
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(&style) {
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// `812k`, `1.2M`: so many a second.
pub fn rate(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n if n >= 1e4 => format!("{:.0}k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// `12.1 GB`, `96 B`.
pub fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([rate(812_400.0), rate(1_240_000.0), rate(950.4)], ["812k", "1.2M", "950"]);
        assert_eq!([size(12_100_000_000), size(1_234), size(96)], ["12.1 GB", "1.2 kB", "96 B"]);
    }
}
