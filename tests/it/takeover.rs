//! What a partition remembers outlives the process that remembered it: on the in-process cluster, one run goes on
//! where another has stopped.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fleetwarden::checkpoint::Store;
use fleetwarden::diagnostic::Source;
use fleetwarden::event::Value;
use fleetwarden::kafka::mock::Mock;
use fleetwarden::kafka::{Settings, Topics};
use fleetwarden::rule::{self, RuleFile};
use fleetwarden::runtime::delivery::Outlet;
use fleetwarden::runtime::run::{Plan, Running, edges};
use fleetwarden::runtime::thread::wall;
use fleetwarden::runtime::worker::Compiled;
use fleetwarden::schema;
use fleetwarden::sink::Item;
use fleetwarden::sink::channel::Channel;

const PATIENCE: Duration = Duration::from_secs(30);

fn compiled() -> Compiled {
    let schemas = schema::built_in();
    let text = "title = \"T\"\nseverity = \"high\"\nrisk = 10\nstream = \"telemetry\"\ntriage = \"x\"\n\
                blind_spots = \"x\"\n[threshold]\nwhere = \"speed > 100\"\nkey = [\"vin\"]\nwindow = \"1h\"\n\
                having = \"count(*) >= 6\"\n";
    let source = Source { path: "six.toml".into(), text: text.into() };
    let loaded = rule::load(&[RuleFile { source }], &schemas);
    assert_eq!(loaded.rules.rules.len(), 1, "{:?}", loaded.problems);
    Compiled { rules: Arc::new(loaded.rules), schemas: schemas.into() }
}

/// A run on the cluster, whose state is in that store.
fn start(mock: &Mock, store: &Store) -> (Running, Receiver<Item>) {
    let mut kafka = Settings::new(mock.brokers());
    for (key, value) in
        [("fetch.wait.max.ms", "10"), ("session.timeout.ms", "4000"), ("heartbeat.interval.ms", "300")]
    {
        kafka.consumer.0.insert(key.into(), value.into());
    }
    let topics = Topics::new([("telemetry".into(), "cars".to_owned())]).unwrap();
    let (tap, alerts) = channel();
    let mut plan = Plan::passing(kafka, topics, compiled()).unwrap();
    plan.saving.store = store.clone();
    plan.sinks = vec![Outlet::new("test", Box::new(Channel(tap)))];
    (Running::start(plan, edges().unwrap()).unwrap(), alerts)
}

fn send(mock: &Mock, records: usize) {
    for _ in 0..records {
        let text = format!("{{\"vin\":\"V1\",\"ts\":{},\"speed\":120}}", wall().millis());
        mock.send("cars", 0, b"V1", text.as_bytes(), wall()).unwrap();
    }
    mock.flush().unwrap();
}

fn wait_for_events(running: &Running, events: u64) {
    let end = Instant::now() + PATIENCE;
    while running.overview().events() < events {
        assert!(Instant::now() < end, "{} of {events} events", running.overview().events());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn three_failures_before_a_restart_and_three_after_it_are_six() {
    let mock = Mock::start().unwrap();
    for topic in ["cars", "fleetwarden.dead-letters", "fleetwarden.journal"] {
        mock.create_topic(topic, 1).unwrap();
    }
    let store = Store::unchecked("memory:").unwrap();
    let (first, alerts) = start(&mock, &store);
    send(&mock, 3);
    wait_for_events(&first, 3);
    assert!(first.stop());
    assert!(alerts.try_iter().next().is_none(), "three are not six");

    let (second, alerts) = start(&mock, &store);
    send(&mock, 3);
    let Item { alert, .. } = alerts.recv_timeout(PATIENCE).unwrap();
    assert_eq!((alert.count, alert.key.as_slice()), (6, [Value::text("V1")].as_slice()));
    let evidence: Vec<i64> = alert.evidence.iter().map(|event| event.offset).collect();
    assert_eq!((evidence.first(), evidence.last()), (Some(&0), Some(&5)));
    wait_for_events(&second, 3);
    let totals = second.overview().totals();
    assert_eq!((totals.divergence, totals.unknown_sets), (0, 0));
    assert!(second.stop());
    assert!(alerts.try_iter().next().is_none(), "said once");
}
