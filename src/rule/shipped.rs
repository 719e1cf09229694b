//! The rules that ship, in the binary: what the demo runs, wherever it is started.

use super::RuleFile;
use crate::diagnostic::Source;

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../", $path)))),*]
    };
}

/// Path and text of each.
const FILES: &[(&str, &str)] = &files![
    "rules/api_gateway/_shared.toml",
    "rules/api_gateway/attack-payload-got-through.toml",
    "rules/api_gateway/debug-endpoint-answers.toml",
    "rules/api_gateway/invalid-token-accepted.toml",
    "rules/api_gateway/private-account-reads-many-vehicles.toml",
    "rules/api_gateway/staff-looks-up-many-owners.toml",
    "rules/api_gateway/token-used-from-two-countries.toml",
    "rules/api_gateway/unusual-number-of-vehicles.toml",
    "rules/api_gateway/unusual-volume-of-data.toml",
    "rules/api_gateway/vin-probing.toml",
    "rules/charging/_shared.toml",
    "rules/charging/charge-card-at-several-stations.toml",
    "rules/charging/charge-cards-tried-out.toml",
    "rules/charging/firmware-signature-refused.toml",
    "rules/charging/firmware-updated-outside-campaign.toml",
    "rules/charging/maintenance-login-guessed.toml",
    "rules/charging/station-clock-moved.toml",
    "rules/charging/station-connection-attacked.toml",
    "rules/charging/station-log-cleared.toml",
    "rules/charging/station-on-two-connections.toml",
    "rules/charging/station-tampered-with.toml",
    "rules/charging/unusual-message-rate.toml",
    "rules/cloudtrail/_shared.toml",
    "rules/cloudtrail/aws-logging-impaired.toml",
    "rules/cloudtrail/aws-login-profile-for-another-user.toml",
    "rules/cloudtrail/aws-security-group-open-to-world.toml",
    "rules/cloudtrail/aws-snapshot-or-image-shared-outside.toml",
    "rules/diagnostics/remote-writes-on-many-vehicles.toml",
    "rules/diagnostics/uds-invalid-key-repeated.toml",
    "rules/diagnostics/uds-invalid-key-slow.toml",
    "rules/diagnostics/uds-seed-key-bruteforce.toml",
    "rules/identity/_shared.toml",
    "rules/identity/account-taken-over.toml",
    "rules/identity/admin-role-granted-past-process.toml",
    "rules/identity/credential-stuffing-from-one-network.toml",
    "rules/identity/credential-stuffing.toml",
    "rules/identity/dealer-registered-without-approval.toml",
    "rules/identity/many-accounts-recovered-from-one-address.toml",
    "rules/identity/many-vehicles-added-to-one-account.toml",
    "rules/identity/mfa-fatigue.toml",
    "rules/identity/one-time-code-guessing.toml",
    "rules/identity/password-guessing.toml",
    "rules/identity/primary-user-changed-without-consent.toml",
    "rules/identity/safeguard-bypassed.toml",
    "rules/identity/staff-touches-many-accounts.toml",
    "rules/identity/vehicle-taken-over.toml",
    "rules/kafka_audit/_shared.toml",
    "rules/kafka_audit/access-rules-changed.toml",
    "rules/kafka_audit/denied-burst.toml",
    "rules/kafka_audit/group-joined-by-second-principal.toml",
    "rules/kafka_audit/principal-probes-resources.toml",
    "rules/kafka_audit/topic-or-group-deleted.toml",
    "rules/kafka_audit/unusual-denials.toml",
    "rules/kafka_audit/vehicle-data-read-by-nobody-in-particular.toml",
    "rules/kafka_audit/vehicle-data-read-by-unlisted-principal.toml",
    "rules/ota/_shared.toml",
    "rules/ota/artifact-with-two-hashes.toml",
    "rules/ota/campaign-without-second-person.toml",
    "rules/ota/metadata-rolled-back-or-stale.toml",
    "rules/ota/software-downgraded.toml",
    "rules/ota/unsigned-software-installed.toml",
    "rules/ota/unusual-failures-in-a-region.toml",
    "rules/ota/update-refused-again-by-one-vehicle.toml",
    "rules/ota/update-refused-by-many-vehicles.toml",
    "rules/ota/vehicle-reports-update-attack.toml",
    "rules/remote_commands/_shared.toml",
    "rules/remote_commands/command-flood-on-vehicle.toml",
    "rules/remote_commands/dangerous-command-while-moving.toml",
    "rules/remote_commands/immobilisations-surge.toml",
    "rules/remote_commands/mass-lockout.toml",
    "rules/remote_commands/new-access-used-at-night.toml",
    "rules/remote_commands/new-access-used-on-several-vehicles.toml",
    "rules/remote_commands/private-account-commands-many-vehicles.toml",
    "rules/remote_commands/staff-command-without-order.toml",
    "rules/remote_commands/staff-follows-one-vehicle.toml",
    "rules/remote_commands/unusual-command-rate.toml",
    "rules/telemetry/charging-out-of-limits.toml",
    "rules/telemetry/odometer-stands-still.toml",
    "rules/telemetry/position-jumps.toml",
    "rules/telemetry/vehicle-moves-in-park.toml",
    "rules/telemetry/vin-on-two-devices.toml",
    "rules/vehicle_security_events/_shared.toml",
    "rules/vehicle_security_events/bus-off-repeated.toml",
    "rules/vehicle_security_events/diagnostic-authentication-failures.toml",
    "rules/vehicle_security_events/ids-message-signature-invalid.toml",
    "rules/vehicle_security_events/in-vehicle-network-scan.toml",
    "rules/vehicle_security_events/intrusion-detection-overrun.toml",
    "rules/vehicle_security_events/lost-communication-on-many-ecus.toml",
    "rules/vehicle_security_events/malformed-message-on-many-vehicles.toml",
    "rules/vehicle_security_events/secoc-failures-burst.toml",
    "rules/vehicle_security_events/secoc-failures-slow.toml",
    "rules/vehicle_security_events/traces-cleared-after-security-events.toml",
];

/// Every shipped rule file, as it stands in the repository.
pub fn files() -> Vec<RuleFile> {
    FILES
        .iter()
        .map(|(path, text)| RuleFile { source: Source { path: (*path).into(), text: (*text).into() } })
        .collect()
}
