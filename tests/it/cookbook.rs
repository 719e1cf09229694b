//! Every incident of the cookbook fires what its page says, and nothing else.

use std::path::Path;
use std::process::Command;

/// Severity, rule and key of every alert of a folder, in the order in which they are told.
fn alerts(folder: &Path) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let done = Command::new(env!("CARGO_BIN_EXE_fleetwarden"))
        .args(["replay", "--quiet", "--rules", "rules", "--schemas", "schemas", "--out", "-"])
        .arg(folder)
        .current_dir(root)
        .output()
        .unwrap();
    let told = String::from_utf8(done.stdout).unwrap();
    let line = |text: &str| {
        let alert: serde_json::Value = serde_json::from_str(text).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
        let key: Vec<String> = alert["key"].as_array().unwrap().iter().map(text).collect();
        format!("{:<8} {:<38} {}", text(&alert["severity"]), text(&alert["rule"]["id"]), key.join(", "))
    };
    told.lines().map(line).collect()
}

#[test]
fn cookbook() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/cookbook.md")).unwrap();
    let mut incidents = 0;
    for entry in std::fs::read_dir(root.join("testdata/cookbook")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap();
        let command = format!("fleetwarden replay --out - testdata/cookbook/{name}");
        assert!(page.contains(&command), "docs/cookbook.md does not say: {command}");
        let found = alerts(&folder);
        assert!(!found.is_empty(), "{name}");
        let block = format!("```text\n{}\n```", found.join("\n"));
        assert!(page.contains(&block), "docs/cookbook.md should show of {name}:\n{block}");
        incidents += 1;
    }
    assert!(incidents >= 3);
}
