//! The rules that ship, in the binary: what the demo runs, wherever it is started.

use super::RuleFile;
use crate::diagnostic::Source;

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../", $path)))),*]
    };
}

/// Every shipped rule file, as it stands in the repository.
pub fn files() -> Vec<RuleFile> {
    let files = files![
        "rules/cloudtrail/_shared.toml",
        "rules/cloudtrail/aws-logging-impaired.toml",
        "rules/cloudtrail/aws-login-profile-for-another-user.toml",
        "rules/cloudtrail/aws-security-group-open-to-world.toml",
        "rules/cloudtrail/aws-snapshot-or-image-shared-outside.toml",
        "rules/diagnostics/uds-seed-key-bruteforce.toml",
        "rules/telemetry/odometer-stands-still.toml",
        "rules/telemetry/vehicle-moves-in-park.toml",
        "rules/telemetry/vin-on-two-devices.toml",
    ];
    files
        .into_iter()
        .map(|(path, text)| RuleFile { source: Source { path: path.into(), text: text.into() } })
        .collect()
}
