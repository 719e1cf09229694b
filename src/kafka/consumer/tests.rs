use super::*;
use crate::kafka::Scout;
use crate::kafka::mock::Mock;

#[test]
fn statistics_tell_ends_and_whether_the_group_took_us_in() {
    let topics = Topics::new([(Arc::from("telemetry"), "cars".to_string())]).unwrap();
    let text = r#"{"name":"x","topics":{"cars":{"topic":"cars","partitions":{
        "0":{"hi_offset":42,"committed_offset":-1001,"broker":1},
        "1":{"hi_offset":-1001,"committed_offset":7,"broker":2},"-1":{"hi_offset":-1001,"committed_offset":-1001}}},
        "other":{"partitions":{"0":{"hi_offset":7,"committed_offset":1}}}},"cgrp":{"join_state":"steady"},
        "brokers":{"a:1/bootstrap":{"state":"DOWN","nodeid":-1},"a:1/1":{"state":"UP","nodeid":1,"rxidle":90000,
        "source":"learned"},"a:2/2":{"state":"UP","nodeid":2,"rxidle":7000000,"source":"learned"},
        "GroupCoordinator":{"state":"UP","nodeid":2,"rxidle":10,"source":"logical"}}}"#;
    let report = serde_json::from_str::<Statistics>(text).unwrap().report(&topics);
    let id = |index| PartitionId { stream: "telemetry".into(), index };
    let (ends, committed) = ([(id(0), 42)].into(), [(id(1), 7)].into());
    let silent = [id(1)].into();
    let expected = Report { joined: true, reachable: true, ends, committed, silent };
    assert_eq!(report, expected);
    let empty = serde_json::from_str::<Statistics>("{}").unwrap().report(&topics);
    assert_eq!(empty, Report::default());
}

#[test]
fn a_root_is_kept_beside_the_offset() {
    let mock = Mock::start().unwrap();
    mock.create_topic("cars", 3).unwrap();
    mock.commit("fleetwarden", "cars", 2, 9);
    let names = Arc::new(Topics::new([(Arc::from("telemetry"), "cars".to_string())]).unwrap());
    let settings = Settings::new(mock.brokers());
    let consumer = Consumer::open(&settings, &names, &Arc::default(), "test").unwrap();
    let id = |index| PartitionId { stream: "telemetry".into(), index };
    let root = Root { checkpoint: Some("a/b".into()), journal: 5, epoch: 7 };
    while consumer.notes().is_empty() {
        consumer.poll(Duration::from_millis(10));
    }
    consumer.commit_root(&id(0), 42, &root).unwrap();
    let mut answers = Vec::new();
    while answers.is_empty() {
        consumer.poll(Duration::from_millis(10));
        answers = consumer.committed_results();
    }
    assert_eq!(answers, [Committed { partition: id(0), next_offset: 42, result: Ok(()) }]);
    let scout = Scout::open(&settings, &names).unwrap();
    let found = |index| scout.root(&id(index), Duration::from_secs(10)).unwrap();
    assert_eq!([found(0), found(1), found(2)], [(Some(42), Some(root)), (None, None), (Some(9), None)]);
    let strange = PartitionId { stream: "other".into(), index: 0 };
    let root = Root { checkpoint: Some("ä".into()), journal: 5, epoch: 7 };
    assert!(consumer.commit_root(&strange, 1, &root).is_err());
    assert!(consumer.commit_root(&id(0), 1, &root).is_err());
    assert_eq!(consumer.committed_results(), []);
}
