//! The streams that the fleet writes.

/// A stream. The order is that of their names, in which equal times are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Access log of the API gateway.
    ApiGateway,
    /// Messages of charging stations.
    Charging,
    /// The cloud account's audit trail.
    Cloudtrail,
    /// Diagnostic requests.
    Diagnostics,
    /// Events of the identity provider.
    Identity,
    /// The broker's authorizer log.
    KafkaAudit,
    /// Software updates over the air.
    Ota,
    /// Remote commands to cars.
    RemoteCommands,
    /// Signals of cars.
    Telemetry,
    /// What cars' own intrusion detection reports.
    VehicleSecurityEvents,
}

/// Partitions of a stream that has a key.
const PARTITIONS: i32 = 4;

impl Stream {
    /// All streams, by name.
    pub const ALL: [Stream; 10] = [
        Stream::ApiGateway,
        Stream::Charging,
        Stream::Cloudtrail,
        Stream::Diagnostics,
        Stream::Identity,
        Stream::KafkaAudit,
        Stream::Ota,
        Stream::RemoteCommands,
        Stream::Telemetry,
        Stream::VehicleSecurityEvents,
    ];

    /// Its name, as the schema's file has it.
    pub fn name(self) -> &'static str {
        match self {
            Stream::ApiGateway => "api_gateway",
            Stream::Charging => "charging",
            Stream::Cloudtrail => "cloudtrail",
            Stream::Diagnostics => "diagnostics",
            Stream::Identity => "identity",
            Stream::KafkaAudit => "kafka_audit",
            Stream::Ota => "ota",
            Stream::RemoteCommands => "remote_commands",
            Stream::Telemetry => "telemetry",
            Stream::VehicleSecurityEvents => "vehicle_security_events",
        }
    }

    /// How many partitions its topic has: one where nothing keeps a key together.
    pub fn partitions(self) -> i32 {
        match self {
            Stream::Cloudtrail => 1,
            _ => PARTITIONS,
        }
    }

    /// Where a key lies.
    pub fn partition(self, key: &[u8]) -> i32 {
        let spread = super::random::hash(key) >> 32;
        i32::try_from(spread % u64::from(self.partitions().unsigned_abs())).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_in_the_order_of_their_names() {
        let names: Vec<&str> = Stream::ALL.iter().map(|stream| stream.name()).collect();
        assert!(names.is_sorted());
        assert!(Stream::ALL.is_sorted());
    }

    #[test]
    fn keys_spread_over_all_partitions() {
        let found: std::collections::BTreeSet<i32> =
            (0..100).map(|n| Stream::Telemetry.partition(format!("V{n}").as_bytes())).collect();
        assert_eq!(found, (0..4).collect());
        assert_eq!(Stream::Cloudtrail.partition(b"anything"), 0);
    }
}
