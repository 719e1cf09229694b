//! The house rules: which room may name what, and how long things may get.

use std::fs;
use std::path::{Path, PathBuf};

use fleetwarden::alert::Reason;

/// One source file.
struct File {
    path: String,
    text: String,
}

impl File {
    /// The code without comments and without the tests at its end.
    fn code(&self) -> String {
        let is_tests =
            |(_, rest): &(usize, &str)| rest.lines().nth(2).is_some_and(|line| line.ends_with("mod tests {"));
        let heads = self.text.match_indices("\n#[cfg(test)]\n").map(|(at, _)| (at, &self.text[at..]));
        let end = heads.into_iter().find(is_tests).map_or(self.text.len(), |(at, _)| at);
        let code = &self.text[..end];
        code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn collect(dir: &Path, out: &mut Vec<File>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let shown = path.strip_prefix(root()).unwrap().display().to_string();
            out.push(File { path: shown, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

fn sources() -> Vec<File> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    assert!(files.len() > 30);
    files
}

/// Fails with every file below `rooms` (but not below `except`) whose code holds one of `words`.
fn never(rooms: &[&str], except: &[&str], words: &[&str]) {
    let is_test = |path: &str| path.ends_with("tests.rs") || path.contains("/tests/");
    let within = |path: &str, rooms: &[&str]| rooms.iter().any(|room| path.starts_with(room));
    let mut bad = Vec::new();
    let of_rooms = |f: &&File| within(&f.path, rooms) && !within(&f.path, except) && !is_test(&f.path);
    for file in sources().iter().filter(of_rooms) {
        for word in words {
            if file.code().contains(word) {
                bad.push(format!("{}: names {word}", file.path));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn statistics_know_only_numbers() {
    never(&["src/stats"], &[], &["arrow", "datafusion", "serde", "tokio"]);
}

#[test]
fn only_expressions_know_datafusion() {
    never(&["src"], &["src/rule/expr", "src/cli/query"], &["datafusion::"]);
}

#[test]
fn only_the_kafka_room_knows_rdkafka() {
    never(&["src"], &["src/kafka"], &["rdkafka::"]);
}

#[test]
fn nothing_below_the_runtime_reads_a_clock_or_waits() {
    let edges = [
        "src/main.rs",
        "src/cli",
        "src/checkpoint",
        "src/runtime",
        "src/kafka",
        "src/sink",
        "src/files",
        "src/config",
        "src/metrics",
    ];
    let words = ["Instant::now", "SystemTime::now", "thread::spawn", "thread::sleep", ".await", "tokio::"];
    never(&["src"], &edges, &words);
}

#[test]
fn latencies_are_recorded_without_locks() {
    never(&["src/metrics/latency.rs", "src/runtime/worker.rs"], &[], &["Mutex", "RwLock", "Atomic"]);
}

#[test]
fn the_core_does_no_io() {
    let core = [
        "src/pipeline.rs",
        "src/detect",
        "src/decode",
        "src/encode",
        "src/event",
        "src/alert.rs",
        "src/stats",
        "src/fleet",
    ];
    never(&core, &[], &["std::fs", "std::io", "std::net::Tcp", "reqwest", "File::"]);
    never(&["src/runtime/worker.rs"], &[], &["std::fs", "std::io", "Instant::", "SystemTime", "thread::"]);
}

#[test]
fn detectors_know_no_batch_no_sink_no_config() {
    never(
        &["src/detect"],
        &[],
        &["EventBatch", "crate::sink", "crate::config", "crate::metrics", "crate::schema"],
    );
    never(&["src/detect"], &["src/detect/table.rs"], &["HashMap", "BTreeMap"]);
}

#[test]
fn core_types_are_no_wire_format() {
    let core = ["src/event", "src/alert.rs", "src/pipeline.rs", "src/detect", "src/schema", "src/rule"];
    never(&core, &[], &["derive(Serialize", "Serialize,", "Deserialize)"]);
}

#[test]
fn a_pipeline_changes_in_one_way() {
    let files = sources();
    let pipeline = files.iter().find(|file| file.path == "src/pipeline.rs").unwrap();
    let code = pipeline.code();
    let public: Vec<&str> = code
        .split("pub fn ")
        .skip(1)
        .filter(|f| f.split(')').next().is_some_and(|head| head.contains("&mut self")))
        .collect();
    let named: Vec<&str> = public.iter().filter_map(|f| f.split('(').next()).collect();
    let known = ["merge", "apply", "save_some", "abandon_save"];
    assert_eq!(named, known, "`merge` adds counters, saving changes no state; all else is `apply`");
}

#[test]
fn nothing_is_unfinished() {
    never(&["src"], &[], &["todo!", "unimplemented!", "dbg!"]);
}

#[test]
fn one_file_alone_is_unsafe() {
    never(&["src"], &["src/kafka/commit.rs"], &["unsafe ", "allow(unsafe_code)"]);
}

#[test]
fn files_functions_and_lines_stay_short() {
    let mut long = Vec::new();
    for file in sources() {
        let lines: Vec<&str> = file.text.lines().collect();
        if lines.len() > 600 {
            long.push(format!("{}: {} lines", file.path, lines.len()));
        }
        for (number, line) in lines.iter().enumerate() {
            if line.chars().count() > 120 {
                long.push(format!("{}:{}: {} columns", file.path, number + 1, line.chars().count()));
            }
        }
        long.extend(long_functions(&file.path, &lines));
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Functions longer than 70 lines: from `fn` to the brace that closes it at the same indent.
fn long_functions(path: &str, lines: &[&str]) -> Vec<String> {
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let is_fn =
            ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(crate) fn ", "pub(super) fn ", "const fn "]
                .iter()
                .any(|head| code.starts_with(head));
        if !is_fn {
            continue;
        }
        let close = format!("{}}}", &line[..line.len() - code.len()]);
        let end = lines[start..].iter().position(|line| **line == close).unwrap_or(0);
        if end + 1 > 70 {
            long.push(format!("{path}:{}: function of {} lines", start + 1, end + 1));
        }
    }
    long
}

#[test]
fn every_reason_for_blindness_is_explained_to_the_user() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for reason in Reason::ALL {
        assert!(
            readme.contains(&format!("`{}`", reason.name())),
            "README.md does not explain `{}`",
            reason.name()
        );
    }
}

#[test]
fn every_metric_is_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut missing = Vec::new();
    for file in sources().iter().filter(|file| file.path.starts_with("src/metrics")) {
        for name in file.code().split('"').filter(|text| text.starts_with("fleetwarden_")) {
            // The table says the common beginning once, at its head.
            let short = name.trim_start_matches("fleetwarden_");
            if !readme.contains(&format!("`{short}`")) {
                missing.push(name.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "README.md does not list {missing:?}");
}

#[test]
fn the_top_level_holds_what_it_should() {
    let allowed = [
        ".cargo",
        ".ci",
        ".dockerignore",
        ".git",
        ".gitattributes",
        ".gitignore",
        ".rustfmt.toml",
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "Dockerfile",
        "LICENSE",
        "README.md",
        "benches",
        "deny.toml",
        "deploy",
        "docker-compose.yml",
        "docs",
        "fleetwarden.toml",
        "fuzz",
        "lookups",
        "rules",
        "schemas",
        "src",
        "target",
        "testdata",
        "tests",
    ];
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(allowed.contains(&name.as_str()), "{name} does not belong at the top level");
    }
}
