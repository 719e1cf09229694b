//! Records as streams carry them, the same ones every time.

/// Telemetry of about 500 bytes, each a little different, members always in one order.
pub fn telemetry(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{{{}}}", members(i).join(","))).collect()
}

/// The same with the members of each in an order of its own.
pub fn disordered_telemetry(count: usize) -> Vec<String> {
    let mut dice = 7u64;
    let mut below = |end: usize| {
        // Knuth's MMIX generator; its high bits are good enough to shuffle with.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % end
    };
    let shuffled = |i| {
        let mut members = members(i);
        (1..members.len()).rev().for_each(|at| members.swap(at, below(at + 1)));
        format!("{{{}}}", members.join(","))
    };
    (0..count).map(shuffled).collect()
}

fn members(i: usize) -> Vec<String> {
    let tenth = |n: usize| (i * 7 + n) % 1800;
    let text = format!(
        concat!(
            r#""vin":"XFWESWMHASL1{:05}","ts":{},"seq":{},"device_id":"tcu-7a7d{:04x}","boot_id":"e4167c","#,
            r#""src_ip":"100.89.{}.{}","model":"Aurora E3","region":"IT","firmware":"tcu-4.1.9","#,
            r#""ignition":"on","gear":"D","speed":{}.{},"odometer":{}.19,"rpm":{},"throttle":{}.5,"#,
            r#""brake":0,"steering_deg":-{}.25,"accel_long":0.{:03},"accel_lat":-0.0{},"#,
            r#""lat":45.4{:04},"lon":9.1{:05},"heading":{},"fix_type":3,"battery_v":12.{},"#,
            r#""doors_locked":true,"dtc_count":0,"dtc_list":[],"soc":55.5,"charging":false,"alarm_flags":0"#
        ),
        i,
        1_748_851_199_304_u64 + i as u64,
        88_916 + i,
        i % 65_536,
        i % 256,
        i % 251,
        tenth(0) / 10,
        tenth(0) % 10,
        142_819 + i,
        800 + tenth(1),
        tenth(2) % 100,
        tenth(3) % 45,
        tenth(4) % 1000,
        tenth(5) % 10,
        i % 10_000,
        i,
        tenth(6) % 360,
        tenth(7) % 10,
    );
    text.split(',').map(str::to_owned).collect()
}

/// CloudTrail as it is delivered, a list of events a record: the demo's, again and again.
pub fn cloudtrail(count: usize) -> Vec<String> {
    let lines = include_str!("../../testdata/demo/cloudtrail.ndjson").lines();
    let records: Vec<&str> = lines
        .filter_map(|line| line.split_once("\"v\":"))
        .filter_map(|(_, record)| record.strip_suffix('}'))
        .collect();
    records.iter().cycle().take(count).map(|record| (*record).to_owned()).collect()
}
