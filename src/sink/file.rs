//! Bodies as lines at the end of a file.
//!
//! The file is opened for each batch, so it may be moved away at any time (log rotation). It is not forced to
//! disk: what is written outlives this process, not a power cut.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::{Attempt, FileConfig, Item, Sink, lines, write_lines};

/// A file that grows.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    raw: bool,
}

impl File {
    /// A sink that appends to the file of that path, which is made with the first alert.
    pub fn new(config: &FileConfig) -> File {
        File { path: config.path.clone(), raw: config.raw }
    }
}

impl Sink for File {
    fn attempt<'a>(&'a mut self, batch: &'a [Item]) -> Attempt<'a> {
        let (text, path) = (lines(batch, self.raw), self.path.clone());
        let mend = "check the path, its permissions and the free space";
        Box::pin(write_lines(batch.len(), move || append(&path, &text), mend))
    }

    fn batch(&self) -> usize {
        super::LINES
    }
}

/// Adds whole lines or nothing: a line that a crash cut off is ended first, and what a failed write left is
/// taken back.
fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return file.write_all(text.as_bytes());
    }
    let whole = if about.len() > 0 && !ends_line(path)? { format!("\n{text}") } else { text.to_string() };
    let written = file.write_all(whole.as_bytes());
    if written.is_err() {
        file.set_len(about.len())?;
    }
    written
}

/// Whether the last byte of a file that is not empty is a line feed.
fn ends_line(path: &Path) -> io::Result<bool> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::ecs::tests::sample;
    use crate::event::Timestamp;
    use crate::sink::{Outcome, Trouble};

    fn at(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("fleetwarden-file-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("alerts.ndjson")
    }

    fn config(path: PathBuf) -> FileConfig {
        FileConfig { start: crate::kafka::Start::Earliest, path, raw: false }
    }

    fn item(id: u128) -> Item {
        Item { alert: sample(id).into(), detected: Timestamp(0) }
    }

    #[tokio::test]
    async fn each_alert_is_a_line_at_the_end() {
        let path = at("append");
        std::fs::write(&path, "old\n").unwrap();
        let mut sink = File::new(&config(path.clone()));
        let outcomes = sink.attempt(&[item(1), item(2)]).await.unwrap();
        assert_eq!(outcomes, [Outcome::Delivered, Outcome::Delivered]);
        std::fs::rename(&path, path.with_extension("1")).unwrap();
        sink.attempt(&[item(3)]).await.unwrap();
        let ids = |path: &Path| -> Vec<String> {
            let text = std::fs::read_to_string(path).unwrap();
            assert!(text.ends_with('\n'));
            let bodies = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            bodies.map(|body| body["id"].as_str().unwrap().trim_start_matches('0').to_string()).collect()
        };
        assert_eq!(
            (ids(&path.with_extension("1")), ids(&path)),
            (vec!["1".into(), "2".into()], vec!["3".into()])
        );
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_line_that_was_cut_off_does_not_spoil_the_next() {
        let path = at("repair");
        std::fs::write(&path, "{\"id\":\"half").unwrap();
        let mut sink = File::new(&config(path.clone()));
        sink.attempt(&[item(1)]).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let (first, second) = text.split_once('\n').unwrap();
        assert_eq!(first, "{\"id\":\"half");
        assert!(serde_json::from_str::<serde_json::Value>(second).is_ok(), "{second}");
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_written_blocks() {
        let path = std::env::temp_dir().join("no-such-folder-of-fleetwarden/alerts.ndjson");
        let mut sink = File::new(&config(path));
        let trouble = sink.attempt(&[item(1)]).await.unwrap_err();
        assert!(matches!(trouble, Trouble::Blocked { .. }), "{trouble:?}");
    }
}
