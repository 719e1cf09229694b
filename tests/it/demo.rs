//! The demo as it is started by somebody who has nothing but the program.

use std::process::Command;

use serde_json::Value as Json;

/// All the way through the in-process Kafka: every attack is found, nothing else is said, and the program says so.
#[test]
fn demo() {
    let folder = std::env::temp_dir().join(format!("fleetwarden-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_fleetwarden"))
        .args(["demo", "--for", "10s", "--seed", "5", "--format", "json"])
        .current_dir(&folder)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{told}{}", String::from_utf8_lossy(&done.stderr));
    let lines: Vec<Json> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, alerts) = lines.split_last().unwrap();
    assert_eq!(summary["attacks_detected"], summary["attacks_injected"]);
    assert!(summary["attacks_injected"].as_u64().unwrap() >= 9);
    assert_eq!(
        (&summary["alerts_outside"], &summary["missed"]),
        (&Json::from(0), &Json::from(Vec::<Json>::new()))
    );
    assert_eq!(summary["alerts"].as_u64().unwrap(), alerts.len() as u64);
    assert!(alerts.iter().any(|alert| alert["rule"]["id"] == "mass-lockout"));
}
