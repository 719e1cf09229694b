//! The sink alone, against a server that misbehaves.

use std::time::Duration;

use super::*;
use crate::encode::ecs::tests::{assert_golden, sample};
use crate::event::Timestamp;
use crate::secret::Secret;
use crate::sink::fault::{Reply, Server, breaking, encrypted, error_body, items, mutual, tls};

fn sink(config: &ElasticConfig) -> Elastic {
    Elastic::open(config).unwrap()
}

fn status(status: u16, kind: &str) -> Reply {
    Reply::Status(status, vec![], error_body(status, kind))
}

/// What one attempt on a single alert comes to when the whole request is answered so.
async fn whole(reply: Reply) -> Result<Vec<Outcome>, Trouble> {
    let server = Server::start().await;
    server.bulk(reply);
    sink(&server.config()).attempt(&items([1])).await
}

#[tokio::test]
async fn the_request_is_the_golden_one() {
    let server = Server::start().await;
    let mut batch = items([0x3f9c, 0xff]);
    let mut older = sample(0xff);
    older.broker_time = Timestamp::parse_rfc3339("2026-10-31T23:59:59.999Z").unwrap();
    batch[1].alert = older.into();
    sink(&server.config()).attempt(&batch).await.unwrap();
    let seen = &server.seen("_bulk")[0];
    assert_eq!(seen.line, "POST /_bulk?filter_path=errors,error.type,items.*.status,items.*.error");
    assert_eq!(seen.headers["content-type"], "application/x-ndjson");
    assert_eq!(seen.headers["content-encoding"], "gzip");
    assert_eq!(
        seen.names(),
        [
            ("fleetwarden-alerts-2026.11".into(), "00000000000000000000000000003f9c".into()),
            ("fleetwarden-alerts-2026.10".into(), "000000000000000000000000000000ff".into()),
        ]
    );
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    assert_golden("bulk.ndjson", &seen.text.replace(&version, "\"version\":\"VERSION\""));
}

#[tokio::test]
async fn what_is_there_already_is_told_from_what_is_new() {
    let server = Server::start().await;
    let mut sink = sink(&server.config());
    assert_eq!(sink.attempt(&items([1, 2])).await.unwrap(), [Outcome::Delivered, Outcome::Delivered]);
    let again = sink.attempt(&items([2, 3])).await.unwrap();
    assert_eq!(again, [Outcome::Present, Outcome::Delivered]);
    assert_eq!(server.ids(), [1, 2, 3]);
}

#[tokio::test]
async fn each_document_has_its_own_outcome() {
    let server = Server::start().await;
    server.bulk(Reply::Items(vec![
        (0, ""),
        (429, "rejected_execution_exception"),
        (503, "unavailable_shards_exception"),
        (400, "mapper_parsing_exception"),
        (403, "cluster_block_exception"),
        (404, "index_not_found_exception"),
        (400, "invalid_index_name_exception"),
        (400, "Preview of SECRET-VIN"),
    ]));
    let got = sink(&server.config()).attempt(&items(1..=8)).await.unwrap();
    assert_eq!(got[0], Outcome::Delivered);
    for (at, why) in [
        (1, "429 rejected_execution_exception (index fleetwarden-alerts-2026.11)"),
        (2, "503 unavailable_shards_exception (index fleetwarden-alerts-2026.11)"),
    ] {
        assert_eq!(got[at], Outcome::Failed(Trouble::Retry { after: None, why: why.into() }));
    }
    let detail = "failed to parse 'SECRET-VIN': inner".to_string();
    let why = "400 mapper_parsing_exception (index fleetwarden-alerts-2026.11)".to_string();
    assert_eq!(got[3], Outcome::Refused { why, detail });
    for outcome in &got[4..7] {
        let Outcome::Failed(Trouble::Blocked { why, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(!why.contains("SECRET"), "{why}");
    }
    let Outcome::Refused { why, .. } = &got[7] else { panic!("{:?}", got[7]) };
    assert!(!why.contains("SECRET"), "{why}");
}

#[tokio::test]
async fn a_failure_of_the_whole_is_told_by_its_status() {
    let busy = Reply::Status(429, vec![("retry-after", "7")], "slow down".into());
    let after = Some(Duration::from_secs(7));
    assert_eq!(whole(busy).await.unwrap_err(), Trouble::Retry { after, why: "429".into() });
    for (code, kind) in [(503, "cluster_manager_not_discovered_exception"), (502, ""), (504, ""), (500, "x")]
    {
        let got = whole(status(code, kind)).await.unwrap_err();
        assert!(matches!(&got, Trouble::Retry { .. }), "{code}: {got:?}");
    }
    for (code, kind) in
        [(401, "security_exception"), (403, "security_exception"), (400, "x"), (404, ""), (302, "")]
    {
        let got = whole(status(code, kind)).await.unwrap_err();
        let Trouble::Blocked { why, mend } = &got else { panic!("{code}: {got:?}") };
        assert!(why.starts_with(&code.to_string()) && !mend.is_empty(), "{got:?}");
        assert!(!format!("{got:?}").contains("SECRET"), "{got:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_a_failure_of_the_whole() {
    let answer = |body: &str| Reply::Status(200, vec![], body.into());
    for body in [
        "",
        "<html>",
        r#"{"errors":false,"items":[{"create":{"sta"#,
        r#"{"errors":false,"items":[]}"#,
        r#"{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}"#,
        r#"{"errors":false,"items":[{}]}"#,
        r#"{"errors":false}"#,
    ] {
        let got = whole(answer(body)).await;
        assert!(matches!(got, Err(Trouble::Retry { .. })), "{body}: {got:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved() {
    let server = Server::start().await;
    server.bulk(status(413, "")).bulk(status(413, ""));
    let mut sink = sink(&server.config());
    let mut batch = items(1..=8);
    let mut sizes = Vec::new();
    while !batch.is_empty() {
        let done = sink.attempt(&batch).await.unwrap();
        assert!(done.iter().all(|outcome| *outcome == Outcome::Delivered));
        batch.drain(..done.len());
    }
    sizes.extend(server.seen("_bulk").iter().map(|seen| seen.names().len()));
    assert_eq!(sizes, [8, 4, 2, 2, 2, 2]);
    assert_eq!(server.ids(), (1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_document_that_is_too_large_is_refused() {
    let server = Server::start().await;
    server.bulk(status(413, "")).bulk(status(413, ""));
    let got = sink(&server.config()).attempt(&items(1..=2)).await.unwrap();
    assert!(matches!(got.as_slice(), [Outcome::Refused { .. }]), "{got:?}");
}

#[tokio::test]
async fn a_batch_is_cut_at_the_limit_of_bytes() {
    let server = Server::start().await;
    let mut config = server.config();
    config.max_bytes = std::num::NonZeroUsize::MIN;
    let got = sink(&config).attempt(&items(1..=3)).await.unwrap();
    assert_eq!(got, [Outcome::Delivered]);
}

#[tokio::test]
async fn a_large_request_that_breaks_the_connection_is_halved_once() {
    let batch = |bytes: usize| {
        let text = "x".repeat(4000);
        let mut batch = items(0..(bytes / 5000) as u128);
        for item in &mut batch {
            let mut alert = sample(item.alert.id);
            alert.event = Some(text.as_str().into());
            item.alert = alert.into();
        }
        batch
    };
    for (limit, passes) in [(LARGE, true), (LARGE / 4, false)] {
        let (url, broken) = breaking(limit);
        let mut config: ElasticConfig = toml::from_str(&format!("url = '{url}'")).unwrap();
        (config.gzip, config.raw, config.template) = (false, true, false);
        let got = sink(&config).attempt(&batch(3 * LARGE / 2)).await;
        assert_eq!(got.is_ok(), passes, "{got:?}");
        assert!(passes || matches!(got, Err(Trouble::Retry { .. })));
        assert_eq!(*broken.lock().unwrap(), if passes { 1 } else { 2 });
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let config: ElasticConfig = toml::from_str("url = 'http://127.0.0.1:1'").unwrap();
    let got = sink(&config).attempt(&items([1])).await.unwrap_err();
    let Trouble::Retry { why, .. } = got else { panic!("{got:?}") };
    assert!(why.contains("refused"), "{why}");
}

#[tokio::test]
async fn a_server_that_hangs_is_left_in_time() {
    let server = Server::start().await;
    server.bulk(Reply::Hang);
    let mut config = server.config();
    config.timeout = Duration::from_millis(100);
    let got = sink(&config).attempt(&items([1])).await;
    assert!(matches!(got, Err(Trouble::Retry { .. })), "{got:?}");
}

#[tokio::test]
async fn the_template_is_installed_once_and_looked_at_after_a_failure() {
    let server = Server::start().await;
    let mut sink = sink(&server.config());
    sink.attempt(&items([1])).await.unwrap();
    sink.attempt(&items([2])).await.unwrap();
    let lines = || server.seen("_index_template").into_iter().map(|seen| seen.line).collect::<Vec<_>>();
    let get = "GET /_index_template/fleetwarden-alerts";
    assert_eq!(lines(), [get, "PUT /_index_template/fleetwarden-alerts"]);
    server.bulk(status(503, ""));
    sink.attempt(&items([3])).await.unwrap_err();
    sink.attempt(&items([3])).await.unwrap();
    assert_eq!(lines().len(), 3);
    assert_eq!(lines()[2], get);
}

#[tokio::test]
async fn without_the_template_nothing_is_sent() {
    for (code, kind) in [(400, "illegal_argument_exception"), (403, "security_exception"), (401, "")] {
        let server = Server::start().await;
        server.template(status(404, "")).template(status(code, kind));
        let got = sink(&server.config()).attempt(&items([1])).await.unwrap_err();
        let Trouble::Blocked { why, mend } = got else { panic!("{got:?}") };
        assert!(why.contains("index template \"fleetwarden-alerts\"") && why.contains(kind), "{why}");
        assert!(!mend.is_empty());
        assert!(server.seen("_bulk").is_empty());
    }
    let server = Server::start().await;
    server.template(status(503, ""));
    let got = sink(&server.config()).attempt(&items([1])).await;
    assert!(matches!(got, Err(Trouble::Retry { .. })), "{got:?}");
    let mut config = server.config();
    config.template = false;
    sink(&config).attempt(&items([1])).await.unwrap();
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let server = Server::start().await;
    let mut config = server.config();
    config.user = Some("u".into());
    config.password = Some(Secret::new("hunter2"));
    server.bulk(status(401, "security_exception"));
    let mut basic = sink(&config);
    let trouble = basic.attempt(&items([1])).await.unwrap_err();
    assert!(!format!("{trouble:?} {basic:?}").contains("hunter2"));
    assert_eq!(server.seen("_bulk")[0].headers["authorization"], "Basic dTpodW50ZXIy");
    (config.user, config.password, config.api_key) = (None, None, Some(Secret::new("a2V5")));
    let mut key = sink(&config);
    key.attempt(&items([1])).await.unwrap();
    assert!(!format!("{key:?}").contains("a2V5"));
    assert_eq!(server.seen("_bulk")[1].headers["authorization"], "ApiKey a2V5");
}

#[tokio::test]
async fn only_a_trusted_server_is_told_anything() {
    let open = |ca_file: Option<&str>| {
        let mut config: ElasticConfig = toml::from_str(&format!("url = '{}'", encrypted())).unwrap();
        (config.gzip, config.template) = (false, false);
        config.ca_file = ca_file.map(tls);
        Elastic::open(&config)
    };
    let got = open(Some("ca.pem")).unwrap().attempt(&items([1])).await;
    assert_eq!(got.unwrap(), [Outcome::Delivered]);
    let got = open(Some("other.pem")).unwrap().attempt(&items([1])).await.unwrap_err();
    assert!(matches!(&got, Trouble::Blocked { mend, .. } if mend.contains("ca_file")), "{got:?}");
    // A machine without any certificates says so at the start; all others distrust the server.
    if let Ok(mut sink) = open(None) {
        assert!(sink.attempt(&items([1])).await.is_err());
    }
}

#[tokio::test]
async fn a_server_that_wants_to_know_us_gets_our_certificate() {
    let open = |more: &str| {
        let text = format!("url = '{}'\ngzip = false\ntemplate = false\n{more}", mutual());
        let mut config: ElasticConfig = toml::from_str(&text).unwrap();
        config.ca_file = Some(tls("ca.pem"));
        let there = |file: Option<std::path::PathBuf>| file.map(|file| tls(file.to_str().unwrap()));
        (config.cert_file, config.key_file) = (there(config.cert_file), there(config.key_file));
        Elastic::open(&config).unwrap()
    };
    let got = open("cert_file = 'client.pem'\nkey_file = 'client.key'").attempt(&items([1])).await;
    assert_eq!(got.unwrap(), [Outcome::Delivered]);
    // The end date is the server's to judge: other sinks must not stand still for it.
    for more in ["", "cert_file = 'expired.pem'\nkey_file = 'client.key'"] {
        let got = open(more).attempt(&items([1])).await.unwrap_err();
        assert!(
            matches!(&got, Trouble::Blocked { mend, .. } if mend.contains("cert_file")),
            "{more}: {got:?}"
        );
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |more: &str| {
        let config: ElasticConfig = toml::from_str(&format!("url = 'https://a:9200'\n{more}")).unwrap();
        let error = Elastic::open(&config).err().unwrap_or_default();
        assert!(!error.is_empty() && !error.contains("hunter2"), "{more}: {error}");
    };
    refused("index = 'Alerts'");
    refused("index = '-alerts'");
    refused("index = 'a b'");
    refused("index = ''");
    refused("user = 'u'");
    refused("password = 'hunter2'");
    refused("user = 'u'\npassword = 'hunter2'\napi_key = 'hunter2'");
    refused("api_key = \"hunter2\\n\"");
    refused("ca_file = '/nowhere/ca.pem'");
    refused("ca_file = '/dev/null'");
    let file = |name: &str| tls(name).display().to_string();
    refused(&format!("cert_file = '{}'", file("client.pem")));
    refused(&format!("cert_file = '{}'\nkey_file = '{}'", file("client.pem"), file("server.key")));
    refused(&format!("cert_file = '{}'\nkey_file = '{}'", file("client.pem"), file("locked.key")));
}

/// Against a real server without credentials, whose address `FLEETWARDEN_SEARCH_URL` holds.
#[tokio::test]
async fn a_real_server_takes_template_and_documents() {
    let Ok(url) = std::env::var("FLEETWARDEN_SEARCH_URL") else {
        eprintln!("SKIP: FLEETWARDEN_SEARCH_URL names no OpenSearch or Elasticsearch");
        return;
    };
    let name = format!("fleetwarden-test-{}", std::process::id());
    let mut config: ElasticConfig = toml::from_str(&format!("url = '{url}'\nindex = '{name}'")).unwrap();
    config.raw = true;
    let mut sink = sink(&config);
    let get = async |sink: &Elastic, path: String| -> Json {
        send(sink.request(Method::GET, &path)).await.ok().unwrap().json().unwrap_or_default()
    };
    let mut batch = items(1..=3);
    assert_eq!(sink.attempt(&batch).await.unwrap(), vec![Outcome::Delivered; 3]);
    let mut wrong = sample(4);
    // Five digits of a year are no date for either product.
    wrong.time = Timestamp(253_402_300_800_000_000);
    batch.push(Item { alert: wrong.into(), detected: Timestamp(0) });
    let got = sink.attempt(&batch).await.unwrap();
    assert_eq!(got[..3], vec![Outcome::Delivered; 3]);
    let Outcome::Refused { why, detail } = &got[3] else { panic!("{:?}", got[3]) };
    assert!(why.contains("parsing_exception") && detail.contains("10000"), "{why} {detail}");
    let mapping = get(&sink, format!("{name}-2026.11/_mapping")).await;
    let types = &mapping[format!("{name}-2026.11")]["mappings"]["properties"];
    assert_eq!(types["related"]["properties"]["ip"]["type"], "ip");
    assert_eq!(types["fleetwarden"]["properties"]["observed"]["properties"]["number"]["type"], "double");
    send(sink.request(Method::POST, &format!("{name}/_refresh"))).await.ok().unwrap();
    let found = get(&sink, format!("{name}/_search?q=fleetwarden.observed.value:0x36")).await;
    assert_eq!(found["hits"]["total"]["value"], 3, "{found}");
    let found = get(&sink, format!("{name}/_doc/{:032x}", 1)).await;
    assert_eq!(found["_source"], ecs::document(&sample(1), &Envelope { detected: Timestamp(0), raw: true }));
    for path in [format!("{name}-2026.11"), format!("_index_template/{name}")] {
        assert_eq!(send(sink.request(Method::DELETE, &path)).await.ok().unwrap().status, 200);
    }
}
