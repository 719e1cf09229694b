//! Certificates, keys and who needs them: whether the files are there and fit, told at their place.
//!
//! Whether a server takes them shows when it is asked.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::read::problem;
use crate::diagnostic::{Diagnostic, Source};
use crate::kafka::security::TAKEN;
use crate::sink::pem::{self, Encrypted, Unfit};

/// Looks at the files of Kafka and of every sink, and at settings that say twice what is said there.
pub(super) fn look(
    source: &Source,
    folder: &Path,
    filled: &[Range<usize>],
    root: &DeTable<'_>,
    problems: &mut Vec<Diagnostic>,
) {
    let mut looking = Looking { source, folder, filled, problems };
    if let Some(kafka) = table(root, "kafka") {
        looking.doubled(kafka);
        if let Some(tls) = table(kafka, "tls") {
            let encrypted =
                if tls.contains_key("key_password") { Encrypted::Allowed } else { Encrypted::Refused };
            looking.files(tls, "kafka.tls", encrypted, true);
        }
    }
    for (name, item) in table(root, "sinks").into_iter().flatten() {
        if let DeValue::Table(sink) = item.get_ref() {
            looking.files(sink, &format!("sinks.{}", name.get_ref()), Encrypted::Refused, false);
        }
    }
}

fn table<'t, 'a>(outer: &'t DeTable<'a>, key: &str) -> Option<&'t DeTable<'a>> {
    outer.get(key)?.get_ref().as_table()
}

struct Looking<'a> {
    source: &'a Source,
    folder: &'a Path,
    /// The places of values that came from elsewhere: not to be quoted, they may be the secret itself.
    filled: &'a [Range<usize>],
    problems: &'a mut Vec<Diagnostic>,
}

impl Looking<'_> {
    /// One of two that contradict each other would win silently.
    fn doubled(&mut self, kafka: &DeTable<'_>) {
        for (name, taken) in TAKEN.iter().filter(|(name, _)| kafka.contains_key(*name)) {
            for below in ["settings", "consumer", "producer"] {
                let keys = table(kafka, below).into_iter().flat_map(|table| table.keys());
                for key in keys.filter(|key| taken.contains(&key.get_ref().as_ref())) {
                    if self.problems.iter().any(|known| known.span == key.span()) {
                        continue;
                    }
                    let message = format!("[kafka.{name}] says \"{}\" already", key.get_ref());
                    let hint =
                        format!("say it there; or everything in [kafka.{below}], without [kafka.{name}]");
                    self.problems.push(problem(self.source, key.span(), message, hint));
                }
            }
        }
    }

    fn files(&mut self, table: &DeTable<'_>, path: &str, encrypted: Encrypted, lapsed_is_wrong: bool) {
        if let Some((ca, place)) = self.path(table, "ca_file")
            && let Err(unfit) = pem::read(&ca).and_then(|text| pem::certificates(&ca, &text))
        {
            self.unfit(place, &format!("{path}.ca_file"), unfit);
        }
        match (self.path(table, "cert_file"), self.path(table, "key_file")) {
            (Some((cert, place)), Some((key, key_place))) => match pem::pair(&cert, &key, encrypted) {
                Ok(Some(lapsed)) if lapsed_is_wrong => {
                    let mend = "nobody would let us in: renew it".to_string();
                    let unfit = Unfit { why: lapsed.to_string(), mend };
                    self.unfit(place, &format!("{path}.cert_file"), unfit);
                }
                Ok(_) => {}
                Err(unfit) if unfit.why.contains("key in") || unfit.why.contains(&*key.to_string_lossy()) => {
                    self.unfit(key_place, &format!("{path}.key_file"), unfit);
                }
                Err(unfit) => self.unfit(place, &format!("{path}.cert_file"), unfit),
            },
            (Some((_, place)), None) => self.lonely(table, place, path, "cert_file", "key_file"),
            (None, Some((_, place))) => self.lonely(table, place, path, "key_file", "cert_file"),
            (None, None) => {}
        }
    }

    /// One of the pair is not said at all.
    fn lonely(
        &mut self,
        table: &DeTable<'_>,
        place: &Spanned<DeValue<'_>>,
        path: &str,
        said: &str,
        other: &str,
    ) {
        if !table.contains_key(other) {
            let message = format!("\"{path}.{said}\" without \"{other}\"");
            let hint = "a certificate and its private key go together";
            self.problems.push(problem(self.source, place.span(), message, hint));
        }
    }

    fn unfit(&mut self, place: &Spanned<DeValue<'_>>, key: &str, unfit: Unfit) {
        let text = place.get_ref().as_str().unwrap_or_default();
        let (why, mend) = if text.contains("-----BEGIN") {
            (
                "this is the text of a file, not its path".into(),
                "write it to a file, and its path here".into(),
            )
        } else if self.filled.contains(&place.span()) {
            ("the value that was filled in names no file that fits".into(), String::new())
        } else {
            (unfit.why, unfit.mend)
        };
        self.problems.push(problem(self.source, place.span(), format!("\"{key}\": {why}"), mend));
    }

    /// A path, and where it stands. None where it is not said, is no text, or could not be filled in: that is
    /// told elsewhere.
    fn path<'t, 'a>(&self, table: &'t DeTable<'a>, key: &str) -> Option<(PathBuf, &'t Spanned<DeValue<'a>>)> {
        let item = table.get(key)?;
        let known = self.problems.iter().any(|problem| problem.span == item.span());
        let text = item.get_ref().as_str().filter(|_| !known)?;
        Some((self.folder.join(text), item))
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::read;
    use super::*;
    use crate::config::Config;

    fn source(text: &str) -> Source {
        Source { path: "f.toml".into(), text: format!("[kafka]\nbrokers = \"k\"\n{text}") }
    }

    fn load(text: &str) -> Result<Config, Vec<Diagnostic>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/wire/tls");
        read(&source(text), &folder, &|_| Some("hunter2".into()))
    }

    /// Every problem as `line:column message | hint`.
    fn told(text: &str) -> Vec<String> {
        let source = source(text);
        let problems = load(text).map(drop).unwrap_err();
        let line = |problem: &Diagnostic| {
            let (line, column) = problem.position(&source.text);
            format!("{line}:{column} {} | {}", problem.message, problem.hint)
        };
        problems.iter().map(line).collect()
    }

    #[test]
    fn what_fits_starts_at_the_configurations_folder() {
        let config = load(
            "[kafka.tls]\nca_file = \"ca.pem\"\ncert_file = \"client.pem\"\nkey_file = \"locked.key\"\n\
             key_password = \"${env:X}\"\n[kafka.sasl]\nuser = \"u\"\npassword = \"${env:X}\"\n\
             [sinks.a]\ntype = \"splunk\"\nurl = \"https://a\"\ntoken = \"t\"\nca_file = \"ca.pem\"\n\
             cert_file = \"client.pem\"\nkey_file = \"client.key\"\n[sinks.b]\ntype = \"file\"\npath = \"x\"\n",
        )
        .unwrap();
        assert!(config.kafka.tls.as_ref().unwrap().key_file.as_ref().unwrap().is_absolute());
        assert!(matches!(&config.sinks["a"], crate::sink::SinkConfig::Splunk(s)
            if s.ca_file.as_ref().unwrap().is_absolute()));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn every_file_that_does_not_fit_is_told_at_its_place() {
        let problems = told(
            "[kafka.tls]\nca_file = \"nowhere.pem\"\ncert_file = \"expired.pem\"\nkey_file = \"client.key\"\n\
             [sinks.a]\ntype = \"opensearch\"\nurl = \"https://a\"\ncert_file = \"client.pem\"\n\
             key_file = \"locked.key\"\n[sinks.b]\ntype = \"opensearch\"\nurl = \"https://a\"\n\
             cert_file = \"client.pem\"\nca_file = \"client.key\"\n",
        );
        let starts = [
            "4:11 \"kafka.tls.ca_file\": cannot read ",
            "5:13 \"kafka.tls.cert_file\": the certificate in ",
            "11:12 \"sinks.a.key_file\": the private key in ",
            "15:13 \"sinks.b.cert_file\" without \"key_file\" | a certificate",
            "16:11 \"sinks.b.ca_file\": no certificate in PEM in ",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:#?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem} {start}");
        }
        assert!(problems[1].contains("expired on 2025-02-01"), "{}", problems[1]);
    }

    #[test]
    fn a_key_that_belongs_to_another_certificate_is_told() {
        let tls = "[kafka.tls]\ncert_file = \"client.pem\"\nkey_file = \"server.key\"\n";
        assert!(told(tls)[0].contains("is not that of the certificate"), "{:?}", told(tls));
        let locked = "[kafka.tls]\ncert_file = \"client.pem\"\nkey_file = \"locked.key\"\n";
        assert!(told(locked)[0].starts_with("5:12 \"kafka.tls.key_file\""), "{:?}", told(locked));
        let lonely = "[kafka.tls]\nkey_file = \"server.key\"\n";
        assert!(told(lonely)[0].contains("without \"cert_file\""), "{:?}", told(lonely));
    }

    #[test]
    fn nothing_is_said_twice_and_mechanisms_are_known() {
        let problems = told(
            "[kafka.tls]\n[kafka.sasl]\nmechanism = \"SCRAM-SHA-521\"\nuser = \"u\"\n[kafka.settings]\n\
             \"ssl.ca.location\" = \"x\"\n\"security.protocol\" = \"ssl\"\n\"ssl.cipher.suites\" = \"x\"\n",
        );
        let expected = [
            "4:1 \"kafka.sasl\": \"password\" is missing | it has no default",
            "5:13 \"kafka.sasl.mechanism\": unknown value \"SCRAM-SHA-521\" | did you mean \"SCRAM-SHA-512\"?",
            "8:1 [kafka.tls] says \"ssl.ca.location\" already | say it there; or everything in \
             [kafka.settings], without [kafka.tls]",
        ];
        assert_eq!(problems[..3], expected, "{problems:#?}");
        assert_eq!(problems.len(), 4, "{problems:#?}");
    }
}
