//! Bytes of a file → lines: gzip and zstd are recognised by their first bytes, and no line takes more memory
//! than its limit.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{FilesError, Framing};

const BUFFER: usize = 1 << 17;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Where the bytes of an input come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    Path(PathBuf),
    /// Standard input; it can be read once.
    Stdin,
    /// Bytes at hand, with the name that errors show.
    Bytes(String, Arc<[u8]>),
}

impl Origin {
    /// What errors call it.
    pub fn name(&self) -> String {
        match self {
            Origin::Path(path) => path.display().to_string(),
            Origin::Stdin => "standard input".to_owned(),
            Origin::Bytes(name, _) => name.clone(),
        }
    }

    /// Its length in bytes as stored; 0 if that cannot be known.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Origin::Path(path) => std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
            Origin::Stdin => 0,
            Origin::Bytes(_, bytes) => bytes.len() as u64,
        }
    }

    pub(super) fn failed(&self, error: io::Error) -> FilesError {
        FilesError::Io { name: self.name(), error }
    }
}

/// A line, or the whole file.
pub(super) struct RawLine {
    /// The bytes, without the line's end; at most the limit.
    pub bytes: Vec<u8>,
    /// Whether it was longer.
    pub cut: bool,
}

/// The lines of one input.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    framing: Framing,
    limit: usize,
    /// Whether anything has been read: an empty file is one record all the same.
    done: bool,
}

impl Lines {
    /// Opens an input; `read` counts its bytes as they are stored. A line longer than `limit` is cut there.
    pub fn open(origin: &Origin, framing: Framing, limit: usize, read: Arc<AtomicU64>) -> io::Result<Lines> {
        let plain: Box<dyn Read + Send> = match origin {
            Origin::Path(path) => Box::new(File::open(path)?),
            Origin::Stdin => Box::new(io::stdin()),
            Origin::Bytes(_, bytes) => Box::new(Cursor::new(bytes.clone())),
        };
        let reader = unpacked(Counted { inner: plain, read })?;
        Ok(Lines { reader, framing, limit, done: false })
    }

    /// The next line that is not blank; of a file that is one record, the file, blank or not.
    pub fn next(&mut self) -> io::Result<Option<RawLine>> {
        loop {
            let line = self.any()?;
            if self.framing == Framing::File
                || line.as_ref().is_none_or(|line| line.cut || !line.bytes.trim_ascii().is_empty())
            {
                return Ok(line);
            }
        }
    }

    fn any(&mut self) -> io::Result<Option<RawLine>> {
        let mut bytes = Vec::new();
        let room = self.limit as u64 + 1;
        let mut part = self.reader.by_ref().take(room);
        let length = match self.framing {
            Framing::Lines => part.read_until(b'\n', &mut bytes)?,
            Framing::File => part.read_to_end(&mut bytes)?,
        };
        if length == 0 && (self.framing == Framing::Lines || self.done) {
            return Ok(None);
        }
        self.done = true;
        if self.framing == Framing::Lines && bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        let cut = bytes.len() > self.limit;
        if cut {
            bytes.truncate(self.limit);
            match self.framing {
                Framing::Lines => self.reader.skip_until(b'\n')? as u64,
                Framing::File => io::copy(&mut self.reader, &mut io::sink())?,
            };
        }
        Ok(Some(RawLine { bytes, cut }))
    }
}

/// The bytes behind gzip or zstd, told by their first bytes.
fn unpacked(mut plain: Counted) -> io::Result<Box<dyn BufRead + Send>> {
    let mut first = Vec::new();
    plain.by_ref().take(ZSTD.len() as u64).read_to_end(&mut first)?;
    let (gzip, zstd) = (first.starts_with(&GZIP), first.starts_with(&ZSTD));
    let all = BufReader::with_capacity(BUFFER, Cursor::new(first).chain(plain));
    Ok(if gzip {
        Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(all)))
    } else if zstd {
        Box::new(BufReader::with_capacity(BUFFER, zstd::stream::read::Decoder::with_buffer(all)?))
    } else {
        Box::new(all)
    })
}

/// Counts what is read.
struct Counted {
    inner: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn lines(bytes: &[u8], framing: Framing, limit: usize) -> io::Result<Vec<(String, bool)>> {
        let origin = Origin::Bytes("test".into(), bytes.into());
        let read = Arc::new(AtomicU64::new(0));
        let mut lines = Lines::open(&origin, framing, limit, read.clone())?;
        let mut found = Vec::new();
        while let Some(line) = lines.next()? {
            found.push((String::from_utf8(line.bytes).unwrap(), line.cut));
        }
        assert_eq!(read.load(Ordering::Relaxed), origin.bytes());
        Ok(found)
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn lines_end_with_a_newline_or_the_file_and_blank_ones_are_none() {
        let found = lines(b"a\n\n  \t\nb\r\nc", Framing::Lines, 100).unwrap();
        assert_eq!(found, [("a".into(), false), ("b\r".into(), false), ("c".into(), false)]);
        assert_eq!(lines(b"", Framing::Lines, 100).unwrap(), []);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let text = format!("{}\n12345\n123456\n{}", "x".repeat(1 << 20), "y".repeat(7));
        let found = lines(text.as_bytes(), Framing::Lines, 5).unwrap();
        let expected = [("xxxxx", true), ("12345", false), ("12345", true), ("yyyyy", true)];
        assert_eq!(found, expected.map(|(text, cut)| (text.to_owned(), cut)));
    }

    #[test]
    fn a_file_can_be_one_record() {
        assert_eq!(lines(b"{\n\n}\n", Framing::File, 100).unwrap(), [("{\n\n}\n".into(), false)]);
        assert_eq!(lines(b"12345678", Framing::File, 5).unwrap(), [("12345".into(), true)]);
        // Blank or empty, it is a record all the same: one that is no JSON.
        assert_eq!(lines(b"\n", Framing::File, 5).unwrap(), [("\n".into(), false)]);
        assert_eq!(lines(b"", Framing::File, 5).unwrap(), [(String::new(), false)]);
    }

    #[test]
    fn gzip_and_zstd_are_told_by_their_bytes_and_may_be_joined() {
        let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
        for packed in [[gzip("a\nb"), gzip("c\n")].concat(), [zstd("a\nb"), zstd("c\n")].concat()] {
            let found = lines(&packed, Framing::Lines, 100).unwrap();
            assert_eq!(found, [("a".into(), false), ("bc".into(), false)]);
        }
    }

    #[test]
    fn a_packed_file_that_breaks_off_is_an_error() {
        let packed = gzip(&"line\n".repeat(1000));
        assert!(lines(&packed[..packed.len() - 9], Framing::Lines, 100).is_err());
        assert!(lines(&[&GZIP[..], b"no gzip at all"].concat(), Framing::Lines, 100).is_err());
    }
}
