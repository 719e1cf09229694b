use super::*;
use crate::event::{Timestamp, Value};
use crate::rule::expr::functions::Cell;

fn tables() -> Lookups {
    let read = read(Path::new("testdata/lookups")).unwrap();
    assert_eq!(read.problems, []);
    read.lookups
}

fn cell(text: &str) -> Cell<'_> {
    Cell::Text(text.into())
}

fn at(text: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(text)
}

#[test]
fn cells_are_texts_until_they_are_declared() {
    let tables = tables();
    let vehicles = &tables.tables["vehicles"];
    let value = |vin: &str, column: &str| {
        vehicles.find(&[cell(vin)], None).map(|row| row[vehicles.column(column).unwrap()].clone())
    };
    assert_eq!(value("V1", "max_charge_a"), Some(Value::Float(32.0)));
    assert_eq!(value("V1", "seats"), Some(Value::Int(5)));
    assert_eq!(value("V1", "leased"), Some(Value::Bool(true)));
    assert_eq!(value("V1", "remark"), Some(Value::text("driven by a, b")));
    assert_eq!(value("V2", "max_charge_a"), Some(Value::Null), "an empty cell");
    assert_eq!(value("V3", "remark"), Some(Value::text("says \"hi\"")));
    assert_eq!(value("V4", "model"), None);
    let two = &tables.tables["entitlements"];
    assert!(two.find(&[cell("a"), Cell::Int(39)], None).is_some());
    assert!(two.find(&[cell("a"), Cell::Int(40)], None).is_none());
    assert!(two.find(&[Cell::Null, Cell::Int(39)], None).is_none());
}

#[test]
fn the_longest_network_wins() {
    let tables = tables();
    let networks = &tables.tables["networks"];
    let column = networks.column("asn").unwrap();
    let found = |address: &str| match networks.find(&[cell(address)], None).map(|row| &row[column]) {
        Some(Value::Int(asn)) => *asn,
        _ => 0,
    };
    assert_eq!(
        ["10.200.0.1", "10.1.200.1", "10.1.2.3", "11.0.0.1", "::ffff:10.1.2.4"].map(found),
        [1, 2, 3, 0, 2]
    );
    assert_eq!(
        ["2001:db8:2::1", "2001:db8:1::1", "2001:db9::", "not an address", ""].map(found),
        [4, 5, 0, 0, 0]
    );
}

#[test]
fn of_the_rows_that_count_the_newest_wins() {
    let tables = tables();
    let orders = &tables.tables["work_orders"];
    let shop = |vin: &str, time: &str| match orders.find(&[cell(vin)], at(time)).map(|row| row[3].clone()) {
        Some(Value::Text(shop)) => shop.to_string(),
        _ => String::new(),
    };
    let day = |time: &str| format!("2025-01-01T{time}Z");
    for (time, expected) in [
        ("07:59:59", ""),
        ("08:00:00", "north"),
        ("09:00:00", "south"),
        ("09:29:59", "south"),
        ("09:30:00", "north"),
        ("10:00:00", ""),
    ] {
        assert_eq!(shop("V1", &day(time)), expected, "{time}");
    }
    assert_eq!(
        (shop("V2", &day("08:00:00")).as_str(), shop("V3", &day("07:59:59")).as_str()),
        ("west", "east")
    );
    assert_eq!((shop("V2", &day("07:00:00")).as_str(), shop("V3", &day("08:00:00")).as_str()), ("", ""));
}

#[test]
fn its_hash_is_that_of_what_it_says() {
    let (one, other) = (tables(), tables());
    assert_eq!(one.tables["vehicles"].hash, other.tables["vehicles"].hash);
    let vehicles = &one.tables["vehicles"];
    let rows = vec![["V1", "M3", "", "", "", ""].map(|_| Value::text("x")).to_vec().into_boxed_slice()];
    let changed = Lookup::new("vehicles".into(), vehicles.shape.clone(), rows).unwrap();
    assert_ne!(changed.hash, vehicles.hash);
}

/// One declaration per mistake; what is said stands in `expected.txt` (`UPDATE=1` writes it anew).
#[test]
fn every_mistake_of_every_table_is_told() {
    let read = read(Path::new("testdata/bad-lookups")).unwrap();
    assert!(read.lookups.tables.is_empty(), "{:?}", read.lookups);
    let mut told = String::new();
    for problem in &read.problems {
        let source = read.sources.iter().find(|source| source.path == problem.file).unwrap();
        let (line, column) = problem.position(&source.text);
        let name = problem.file.strip_prefix("testdata/bad-lookups/").unwrap();
        told += &format!("{name}:{line}:{column}: {} | {}\n", problem.message, problem.hint);
    }
    let expected = "testdata/bad-lookups/expected.txt";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(expected, &told).unwrap();
    }
    assert_eq!(told, std::fs::read_to_string(expected).unwrap(), "UPDATE=1 cargo test writes what is told");
}

#[test]
fn the_nearest_folder_upwards_is_found() {
    assert_eq!(folder_of(&["testdata/bad/lookup-key.toml".into()]), Some("testdata/lookups".into()));
    assert_eq!(folder_of(&["testdata/bad".into()]), Some("testdata/lookups".into()));
}
