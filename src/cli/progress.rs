//! The progress bar of verbs that read much: on stderr, and on a terminal only.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for so many bytes or records, hidden where nobody watches.
pub fn bar(verb: &str, length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = format!("{verb}  {{msg}}▕{{bar:20}}▏ {{percent:>3}} %   ETA {{eta}}");
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(&style) {
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
