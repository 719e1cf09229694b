//! Where cars live: cities with their markets, the carriers that connect them, and points on the map.

use super::random::Random;

/// A city.
#[derive(Debug)]
pub(super) struct City {
    /// Its market, a country code.
    pub region: &'static str,
    /// Its centre.
    pub centre: Point,
    /// Hours ahead of UTC.
    pub hours: i64,
    /// First octets of the addresses of its homes and offices.
    pub network: [u8; 2],
    /// Autonomous system of those.
    pub asn: i64,
}

/// A point on the map, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub lat: f64,
    pub lon: f64,
}

/// Kilometres a degree of latitude is long, on a sphere of 6,371 km.
pub(super) const KM_PER_DEGREE: f64 = 111.194_926_644_558_74;

const fn city(region: &'static str, lat: f64, lon: f64, hours: i64, network: [u8; 2], asn: i64) -> City {
    City { region, centre: Point { lat, lon }, hours, network, asn }
}

/// All cities.
pub(super) static CITIES: [City; 10] = [
    city("DE", 48.137, 11.575, 1, [84, 137], 3320),
    city("DE", 53.551, 9.994, 1, [84, 138], 3320),
    city("DE", 50.938, 6.960, 1, [91, 64], 8422),
    city("FR", 48.857, 2.352, 1, [82, 64], 3215),
    city("FR", 45.764, 4.836, 1, [82, 65], 12322),
    city("IT", 45.464, 9.190, 1, [79, 20], 3269),
    city("ES", 40.417, -3.704, 1, [83, 40], 3352),
    city("NL", 51.924, 4.478, 1, [84, 80], 1136),
    city("US", 42.331, -83.046, -5, [68, 40], 7922),
    city("US", 30.267, -97.743, -6, [70, 112], 7018),
];

/// A mobile carrier of cars.
#[derive(Debug)]
pub(super) struct Carrier {
    /// First octets of its pool: shared address space (RFC 6598).
    pub network: [u8; 2],
    /// Usual time from car to broker, in milliseconds.
    pub latency: i64,
    /// How often it loses an acknowledgement, so that the car sends again.
    pub resend: f64,
}

/// All carriers.
pub(super) static CARRIERS: [Carrier; 3] = [
    Carrier { network: [100, 72], latency: 90, resend: 0.001 },
    Carrier { network: [100, 89], latency: 160, resend: 0.003 },
    Carrier { network: [100, 114], latency: 320, resend: 0.010 },
];

/// An address within a network.
pub(super) fn address(network: [u8; 2], random: &mut Random) -> String {
    let (third, fourth) = (random.below(256), random.between(1, 255));
    format!("{}.{}.{third}.{fourth}", network[0], network[1])
}

impl Point {
    /// A point some kilometres away.
    pub fn moved(self, km: f64, heading: f64) -> Point {
        let radians = heading.to_radians();
        let lat = self.lat + km * libm::cos(radians) / KM_PER_DEGREE;
        let lon = self.lon + km * libm::sin(radians) / (KM_PER_DEGREE * libm::cos(self.lat.to_radians()));
        Point { lat, lon }
    }

    /// A point around here: `spread` is the standard deviation in kilometres, in each direction.
    pub fn around(self, spread: f64, random: &mut Random) -> Point {
        self.moved(random.normal() * spread, 0.0).moved(random.normal() * spread, 90.0)
    }

    /// North and east of the way to another point, in kilometres. Good for the width of a country.
    fn way(self, to: Point) -> (f64, f64) {
        let middle = f64::midpoint(self.lat, to.lat).to_radians();
        ((to.lat - self.lat) * KM_PER_DEGREE, (to.lon - self.lon) * KM_PER_DEGREE * libm::cos(middle))
    }

    /// Kilometres to another point.
    pub fn distance(self, to: Point) -> f64 {
        let (north, east) = self.way(to);
        (north * north + east * east).sqrt()
    }

    /// The compass direction to another point, 0 to below 360 degrees.
    pub fn bearing(self, to: Point) -> f64 {
        let (north, east) = self.way(to);
        libm::atan2(east, north).to_degrees().rem_euclid(360.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_there_has_its_length_and_direction() {
        let munich = CITIES[0].centre;
        let there = munich.moved(10.0, 60.0);
        assert!((munich.distance(there) - 10.0).abs() < 0.01);
        assert!((munich.bearing(there) - 60.0).abs() < 0.1);
        assert!((munich.distance(CITIES[1].centre) - 612.0).abs() < 5.0);
    }
}
