//! Bodies as lines on standard output.

use std::io::Write as _;

use super::{Attempt, Item, Sink, StdoutConfig, lines, write_lines};

/// Standard output.
#[derive(Debug)]
pub struct Stdout {
    raw: bool,
}

impl Stdout {
    /// A sink on the standard output of this process.
    pub fn new(config: &StdoutConfig) -> Stdout {
        Stdout { raw: config.raw }
    }
}

impl Sink for Stdout {
    fn attempt<'a>(&'a mut self, batch: &'a [Item]) -> Attempt<'a> {
        let text = lines(batch, self.raw);
        let write = move || {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        };
        Box::pin(write_lines(batch.len(), write, "keep a reader on standard output, or use a file sink"))
    }

    fn batch(&self) -> usize {
        super::LINES
    }
}
