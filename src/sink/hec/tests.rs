//! The sink alone, against a collector that misbehaves. That nothing is lost or doubled behind a queue is
//! tested with delivery.

use super::fault::{Reply, Server};
use super::*;
use crate::secret::Secret;
use crate::sink::fault::{encrypted, items, tls};

fn sink(config: &SplunkConfig) -> Hec {
    Hec::open(config).unwrap()
}

fn status(status: u16, body: &str) -> Reply {
    Reply::Status(status, vec![], body.to_string())
}

fn code(code: u64) -> String {
    json!({"text": "about SECRET-VIN", "code": code}).to_string()
}

/// What one attempt on two alerts comes to when the request is answered so.
async fn whole(reply: Reply) -> Result<Vec<Outcome>, Trouble> {
    let server = Server::start().await;
    server.inner().writes.push_back(reply);
    sink(&server.config("")).attempt(&items([1, 2])).await
}

/// Attempts until every alert has its outcome, as a queue does; a refused one is done.
async fn all(sink: &mut Hec, mut batch: Vec<Item>) -> Vec<u128> {
    let mut refused = Vec::new();
    while !batch.is_empty() {
        let done = sink.attempt(&batch).await.unwrap();
        let mut waits = false;
        let mut outcomes = done.into_iter();
        batch.retain(|item| match outcomes.next() {
            Some(Outcome::Delivered | Outcome::Present) => false,
            Some(Outcome::Refused { .. }) => {
                refused.push(item.alert.id);
                false
            }
            Some(Outcome::Pending(_)) => {
                waits = true;
                true
            }
            Some(Outcome::Failed(_)) | None => true,
        });
        if waits {
            tokio::time::sleep(OFTEN / 4).await;
        }
    }
    refused
}

fn once(ids: impl IntoIterator<Item = u128>) -> BTreeMap<u128, u32> {
    ids.into_iter().map(|id| (id, 1)).collect()
}

#[tokio::test]
async fn the_request_is_what_the_collector_wants() {
    let server = Server::start().await;
    let mut sink = sink(&server.config("index = 'security'"));
    assert_eq!(sink.attempt(&items([1, 2])).await.unwrap(), vec![Outcome::Delivered; 2]);
    let seen = &server.seen("/event")[0];
    assert_eq!(seen.line, "POST /services/collector/event");
    assert_eq!(seen.headers["content-encoding"], "gzip");
    assert!(seen.headers.get("x-splunk-request-channel").is_none());
    let origin = hec::Origin {
        index: Some("security"),
        source: "fleetwarden",
        sourcetype: "fleetwarden:alert",
        host: "fleetwarden",
    };
    let line = |item: &Item| {
        hec::line(&item.alert, &Envelope { detected: item.detected, raw: false }, &origin) + "\n"
    };
    assert_eq!(seen.text, items([1, 2]).iter().map(line).collect::<String>());
    assert_eq!(server.inner().indexed, once([1, 2]));
}

#[tokio::test]
async fn codes_of_the_configuration_block_and_others_pass() {
    for (http, number) in [
        (403, 1),
        (401, 2),
        (401, 3),
        (403, 4),
        (400, 7),
        (400, 10),
        (400, 11),
        (400, 14),
        (400, 16),
        (400, 21),
        (400, 22),
        (400, 28),
    ] {
        let got = whole(status(http, &code(number))).await.unwrap_err();
        let Trouble::Blocked { why, mend } = &got else { panic!("{number}: {got:?}") };
        assert_eq!(*why, format!("{http} code {number}"));
        assert!(!mend.is_empty() && !mend.contains("SECRET"), "{got:?}");
    }
    for (http, number) in [(500, 8), (503, 9), (503, 18), (503, 23), (429, 26), (429, 27)] {
        let got = whole(status(http, &code(number))).await.unwrap_err();
        let why = format!("{http} code {number}");
        assert_eq!(got, Trouble::Retry { after: None, why });
    }
    let busy = Reply::Status(503, vec![("retry-after", "7")], code(9));
    let after = Some(Duration::from_secs(7));
    assert_eq!(whole(busy).await.unwrap_err(), Trouble::Retry { after, why: "503 code 9".into() });
}

#[tokio::test]
async fn bodies_may_be_anything() {
    for (http, body) in [
        (401, "token required"),
        (403, "<html>"),
        (404, "<html>"),
        (415, "<html>"),
        (400, ""),
        (302, ""),
        (400, "[1]"),
    ] {
        let got = whole(status(http, body)).await;
        assert!(matches!(got, Err(Trouble::Blocked { .. })), "{http} {body}: {got:?}");
    }
    for (http, body) in [
        (200, ""),
        (200, "<html>welcome</html>"),
        (200, r#"{"text":"Success","co"#),
        (200, r#"{"code":"0"}"#),
        (502, "<html>"),
        (500, "null"),
        (429, "slow down"),
    ] {
        let got = whole(status(http, body)).await;
        assert!(matches!(got, Err(Trouble::Retry { .. })), "{http} {body}: {got:?}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_blocked_and_never_seen() {
    let server = Server::start().await;
    let mut config = server.config("");
    config.token = Secret::new("hunter2");
    let mut sink = sink(&config);
    let got = sink.attempt(&items([1])).await.unwrap_err();
    assert!(matches!(&got, Trouble::Blocked { why, .. } if why == "403 code 4"), "{got:?}");
    assert!(!format!("{got:?} {sink:?}").contains("hunter2"));
    for token in ["", "a\nb"] {
        config.token = Secret::new(token);
        assert!(Hec::open(&config).unwrap_err().contains("token"));
    }
}

#[tokio::test]
async fn what_comes_before_a_bad_event_is_never_sent_again() {
    for bad in [6, 12, 13, 15] {
        let server = Server::start().await;
        server.inner().bad = [(3, bad), (4, bad), (8, bad)].into();
        let mut sink = sink(&server.config(""));
        let got = sink.attempt(&items(1..=8)).await.unwrap();
        assert_eq!(got.len(), 3);
        let why = format!("400 code {bad}");
        assert_eq!(got[2], Outcome::Refused { why, detail: "about SECRET-VIN".into() });
        assert_eq!(all(&mut sink, items(4..=8)).await, [4, 8]);
        assert_eq!(server.inner().indexed, once([1, 2, 5, 6, 7]), "code {bad}");
    }
}

#[tokio::test]
async fn an_index_that_is_wrong_counts_from_one() {
    let server = Server::start().await;
    server.inner().bad = [(3, 7), (4, 7)].into();
    let mut sink = sink(&server.config(""));
    assert_eq!(sink.attempt(&items(1..=4)).await.unwrap(), vec![Outcome::Delivered; 2]);
    let got = sink.attempt(&items(3..=4)).await.unwrap_err();
    assert!(matches!(&got, Trouble::Blocked { mend, .. } if mend.contains("index")), "{got:?}");
    assert_eq!(server.inner().indexed, once([1, 2]));
}

#[tokio::test]
async fn a_number_that_cannot_be_is_not_believed() {
    for number in ["2", "-1", "\"1\"", "1e99"] {
        let server = Server::start().await;
        let body = format!(r#"{{"text":"x","code":6,"invalid-event-number":{number}}}"#);
        server.inner().writes.push_back(status(400, &body));
        assert_eq!(all(&mut sink(&server.config("")), items([1, 2])).await, [], "{number}");
        assert_eq!(server.inner().indexed, once([1, 2]));
        assert_eq!(server.seen("/event")[1].ids(), [1]);
    }
}

#[tokio::test]
async fn a_bad_event_that_is_not_named_is_found() {
    let server = Server::start().await;
    server.inner().vague = true;
    server.inner().bad = [(1, 6)].into();
    assert_eq!(all(&mut sink(&server.config("")), items(1..=8)).await, [1]);
    assert_eq!(server.inner().indexed, once(2..=8));
}

#[tokio::test]
async fn requests_keep_to_their_limits() {
    let server = Server::start().await;
    let mut sink = sink(&server.config("batch = 3\ngzip = false"));
    assert_eq!(sink.attempt(&items(1..=8)).await.unwrap().len(), 3);
    let one = server.seen("/event")[0].text.len() / 3;
    assert!(server.seen("/event")[0].headers.get("content-encoding").is_none());
    for _ in 0..2 {
        server.inner().writes.push_back(status(413, "<html>"));
    }
    let mut narrow = Hec::open(&server.config(&format!("max_bytes = {}", one * 4))).unwrap();
    assert_eq!(all(&mut narrow, items(11..=18)).await, []);
    let sizes: Vec<usize> = server.seen("/event").iter().map(|seen| seen.ids().len()).collect();
    assert_eq!(sizes, [3, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1]);
    server.inner().writes.push_back(status(413, ""));
    let got = narrow.attempt(&items([19])).await.unwrap();
    assert!(matches!(&got[..], [Outcome::Refused { .. }]), "{got:?}");
}

#[tokio::test]
async fn full_queues_are_delivered_to_and_left_alone() {
    for number in [24, 25] {
        let server = Server::start().await;
        server.inner().writes.push_back(Reply::Taken(number));
        let mut sink = sink(&server.config(""));
        assert_eq!(sink.attempt(&items([1, 2])).await.unwrap(), vec![Outcome::Delivered; 2]);
        assert_eq!((sink.pause(), sink.pause()), (Some(SLOW), None));
        assert_eq!(server.inner().indexed, once([1, 2]));
    }
}

#[tokio::test]
async fn an_alert_is_delivered_once_it_is_acknowledged() {
    let server = Server::start().await;
    (server.inner().ack, server.inner().slow) = (true, Some(2));
    server.inner().bad = [(3, 15)].into();
    let mut sink = sink(&server.config("ack = true"));
    let got = sink.attempt(&items(1..=5)).await.unwrap();
    assert!(matches!(&got[..], [Outcome::Pending(_), Outcome::Pending(_), Outcome::Refused { .. }]));
    assert_eq!(all(&mut sink, items([1, 2, 4, 5])).await, []);
    assert_eq!(server.inner().indexed, once([1, 2, 4, 5]));
    let asks = server.seen("/ack");
    assert!(asks.len() >= 3, "{}", asks.len());
    assert_eq!(asks[0].headers["cookie"], "sticky=a1");
    let other = Hec::open(&server.config("ack = true")).unwrap();
    assert_ne!(sink.channel, other.channel);
}

/// An id answers true once: a question for another alert must not use it up.
#[tokio::test]
async fn an_acknowledgement_is_kept_until_its_alerts_are_asked_for() {
    let server = Server::start().await;
    server.inner().ack = true;
    let mut sink = sink(&server.config("ack = true"));
    for id in [1, 2] {
        assert!(matches!(sink.attempt(&items([id])).await.unwrap()[..], [Outcome::Pending(_)]));
    }
    assert_eq!(sink.attempt(&items([1])).await.unwrap(), [Outcome::Delivered]);
    // The server counts anew, and gives the same ids again.
    server.inner().restart();
    assert!(matches!(sink.attempt(&items([3])).await.unwrap()[..], [Outcome::Pending(_)]));
    assert_eq!(sink.attempt(&items([2])).await.unwrap(), [Outcome::Delivered]);
    assert_eq!(all(&mut sink, items([3])).await, []);
    assert_eq!(server.inner().indexed, once(1..=3));
}

/// Ids that come again stand for the newer events alone.
#[tokio::test]
async fn a_server_that_counts_anew_acknowledges_nothing_older() {
    let server = Server::start().await;
    (server.inner().ack, server.inner().slow) = (true, None);
    let mut sink = sink(&server.config("ack = true"));
    sink.attempt(&items([1])).await.unwrap();
    server.inner().restart();
    sink.attempt(&items([2])).await.unwrap();
    server.inner().slow = Some(0);
    assert_eq!(all(&mut sink, items([1, 2])).await, []);
    assert_eq!(server.inner().indexed, [(1, 2), (2, 1)].into());
}

#[tokio::test]
async fn what_is_not_acknowledged_in_time_is_sent_again() {
    let server = Server::start().await;
    server.inner().ack = true;
    server.inner().never = [0].into();
    let mut sink = sink(&server.config("ack = true\nack_timeout = '300ms'"));
    let batch = items([1, 2]);
    assert!(matches!(sink.attempt(&batch).await.unwrap()[..], [Outcome::Pending(_), _]));
    tokio::time::sleep(Duration::from_millis(350)).await;
    // Without an answer nothing is known, however late it is.
    server.inner().asks.push_back(status(503, "<html>"));
    assert!(matches!(sink.attempt(&batch).await, Err(Trouble::Retry { .. })));
    let got = sink.attempt(&batch).await.unwrap();
    assert!(matches!(&got[0], Outcome::Failed(Trouble::Retry { why, .. }) if why.contains("acknowledged")));
    assert_eq!(all(&mut sink, batch).await, []);
    let writes = server.seen("/event");
    assert_eq!((writes.len(), &writes[0].text), (2, &writes[1].text));
    assert_eq!(server.inner().indexed, [(1, 2), (2, 2)].into());
}

#[tokio::test]
async fn only_so_many_requests_wait_for_an_acknowledgement() {
    let server = Server::start().await;
    (server.inner().ack, server.inner().slow) = (true, None);
    let mut sink = sink(&server.config("ack = true"));
    for id in 1..=70 {
        assert!(matches!(sink.attempt(&items([id])).await.unwrap()[..], [Outcome::Pending(_)]));
    }
    assert_eq!(server.seen("/event").len(), OPEN);
    server.inner().slow = Some(0);
    assert_eq!(all(&mut sink, items(1..=70)).await, []);
    assert_eq!(server.inner().indexed, once(1..=70));
}

#[tokio::test]
async fn what_the_token_does_not_do_is_said() {
    let server = Server::start().await;
    let mut with = sink(&server.config("ack = true"));
    assert_eq!(with.attempt(&items([1])).await.unwrap(), [Outcome::Delivered]);
    server.inner().ack = true;
    let got = sink(&server.config("")).attempt(&items([2])).await.unwrap_err();
    assert!(matches!(&got, Trouble::Blocked { mend, .. } if mend.contains("ack = true")), "{got:?}");
    with.attempt(&items([3])).await.unwrap();
    server.inner().ack = false;
    let got = with.attempt(&items([3])).await.unwrap_err();
    assert!(matches!(&got, Trouble::Blocked { mend, .. } if mend.contains("ack = false")), "{got:?}");
    assert_eq!(server.inner().indexed, once([1, 3]));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_failure_of_the_whole() {
    let server = Server::start().await;
    server.inner().writes.push_back(Reply::Lost);
    let got = sink(&server.config("timeout = '200ms'")).attempt(&items([1])).await;
    assert!(matches!(got, Err(Trouble::Retry { .. })), "{got:?}");
}

#[tokio::test]
async fn certificates_are_looked_at() {
    let server = Server::start().await;
    let mut config = server.config("");
    config.url = encrypted().try_into().unwrap();
    config.ca_file = Some(tls("other.pem"));
    let got = sink(&config).attempt(&items([1])).await.unwrap_err();
    assert!(matches!(&got, Trouble::Blocked { why, .. } if why.contains("certificate")), "{got:?}");
    config.ca_file = Some(tls("ca.pem"));
    // It is trusted, and no collector.
    let got = sink(&config).attempt(&items([1])).await.unwrap_err();
    assert!(matches!(&got, Trouble::Retry { why, .. } if why.contains("cannot be read")), "{got:?}");
}
