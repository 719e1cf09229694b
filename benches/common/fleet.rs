//! A fleet that drives: the same cars, the same trips, every time.

use fleetwarden::event::{PartitionId, Timestamp};

/// When the first car speaks.
pub const START: i64 = 1_780_000_000_000;

/// One message, with what a broker adds to it.
pub struct Message {
    /// Index into [`Fleet::partitions`].
    pub source: u16,
    pub offset: i64,
    pub broker_time: Timestamp,
    pub payload: Box<[u8]>,
}

/// What a fleet sends.
pub struct Fleet {
    pub partitions: Vec<PartitionId>,
    /// By broker time.
    pub messages: Vec<Message>,
}

/// Numbers that look random and are the same in every run: Knuth's MMIX generator.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// Whether something happens that does so many times in a thousand.
    fn happens(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    /// A number from `low` to `high`.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.below(1 << 20) as f64 / f64::from(1 << 20)
    }
}

struct Car {
    vin: String,
    device: String,
    address: String,
    model: &'static str,
    drives: bool,
    /// Milliseconds after the start at which it speaks first.
    phase: i64,
    odometer: f64,
    sequence: u64,
}

impl Fleet {
    /// `cars` cars that speak `rounds` times, every so many milliseconds, in four partitions of telemetry; two in a
    /// hundred messages come with a diagnostic event. Most drive as cars do; a few have a clone, move in park,
    /// upload late or try keys of an ECU.
    pub fn new(cars: usize, rounds: usize, every: i64) -> Fleet {
        let mut dice = Dice(7);
        let mut all: Vec<Car> = (0..cars).map(|i| car(i, every, &mut dice)).collect();
        let mut order: Vec<usize> = (0..cars).collect();
        order.sort_by_key(|i| all[*i].phase);
        let id = |stream: &str, index| PartitionId { stream: stream.into(), index };
        let partitions = (0..4).map(|i| id("telemetry", i)).chain((0..4).map(|i| id("diagnostics", i)));
        let mut fleet = Fleet { partitions: partitions.collect(), messages: Vec::new() };
        let mut offsets = [0; 8];
        for round in 0..rounds {
            for i in &order {
                let car = &mut all[*i];
                let broker = START + round as i64 * every + car.phase;
                let late = if dice.happens(4) { dice.below(115_000) as i64 + 5000 } else { 0 };
                let time = broker - 40 - dice.below(860) as i64 - late;
                let mut send = |source: usize, payload: String| {
                    fleet.messages.push(Message {
                        source: source as u16,
                        offset: offsets[source],
                        broker_time: Timestamp::from_millis(broker),
                        payload: payload.into_bytes().into(),
                    });
                    offsets[source] += 1;
                };
                send(i % 4, car.telemetry(time, every, &mut dice));
                if dice.happens(20) {
                    send(4 + i % 4, car.diagnostics(time, i % 50 == 0, &mut dice));
                }
            }
        }
        fleet
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.payload.len()).sum()
    }
}

fn car(i: usize, every: i64, dice: &mut Dice) -> Car {
    Car {
        vin: format!("XFWESWMHA{i:08}"),
        device: format!("tcu-{:08x}", dice.below(1 << 31)),
        address: format!("100.{}.{}.{}", 64 + dice.below(63), dice.below(256), 1 + dice.below(254)),
        model: ["Aurora E3", "Borealis X", "Cirrus 2"][dice.below(3) as usize],
        drives: dice.happens(600),
        phase: dice.below(every.unsigned_abs()) as i64,
        odometer: dice.between(10.0, 200_000.0),
        sequence: dice.below(1000),
    }
}

impl Car {
    fn telemetry(&mut self, time: i64, every: i64, dice: &mut Dice) -> String {
        self.drives ^= dice.happens(10);
        let speed = if self.drives { dice.between(25.0, 110.0) } else { 0.0 };
        self.odometer += speed * every as f64 / 3_600_000.0;
        self.sequence += 1;
        let device = if dice.below(2000) == 0 { "tcu-clone" } else { &self.device };
        let gear = if self.drives && dice.below(2000) > 0 { "D" } else { "P" };
        let rpm = if self.drives { 800.0 + speed * 30.0 } else { 0.0 };
        format!(
            concat!(
                r#"{{"vin":"{}","ts":{},"seq":{},"device_id":"{}","boot_id":"e4167c","src_ip":"{}","model":"{}","#,
                r#""region":"IT","firmware":"tcu-4.1.9","ignition":"on","gear":"{}","speed":{:.1},"#,
                r#""odometer":{:.2},"rpm":{:.0},"throttle":{:.1},"brake":0,"steering_deg":{:.2},"#,
                r#""accel_long":{:.3},"accel_lat":{:.3},"lat":{:.5},"lon":{:.5},"heading":{},"fix_type":3,"#,
                r#""battery_v":{:.2},"doors_locked":true,"dtc_count":0,"dtc_list":[],"soc":{:.1},"#,
                r#""charging":false,"alarm_flags":0}}"#
            ),
            self.vin,
            time,
            self.sequence,
            device,
            self.address,
            self.model,
            gear,
            speed,
            self.odometer,
            rpm,
            dice.between(0.0, 60.0),
            dice.between(-9.0, 9.0),
            dice.between(-1.0, 1.0),
            dice.between(-1.0, 1.0),
            dice.between(40.0, 55.0),
            dice.between(0.0, 20.0),
            dice.below(360),
            dice.between(12.0, 14.0),
            dice.between(20.0, 90.0),
        )
    }

    fn diagnostics(&self, time: i64, attacked: bool, dice: &mut Dice) -> String {
        let service = if attacked || dice.happens(200) { 39 } else { 34 };
        let (response, code) = if attacked { ("negative", 53) } else { ("positive", 0) };
        format!(
            concat!(
                r#"{{"vin":"{}","ts":{},"ecu":"{}","service":{},"subfunction":2,"response":"{}","nrc":{},"#,
                r#""count":3,"session":3,"client_address":3712,"bus":"can1"}}"#
            ),
            self.vin,
            time,
            ["BCM", "GW", "ECM"][dice.below(3) as usize],
            service,
            response,
            code,
        )
    }
}
