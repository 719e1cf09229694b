//! `/metrics`, `/livez`, `/readyz`: what the program says about itself to machines; `/api/v1/rules` and
//! `/api/v1/reload`: which rules judge, and that they are to be read anew.
//!
//! Live is a program that need not be restarted; ready is one that reads everything it should. A sink that
//! takes nothing makes it neither dead nor unready: detection goes on, alerts wait in Kafka, and the answer
//! says so.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value as Json, json};

use super::publish::Reloaded;
use crate::event::time::SECOND;
use crate::event::{Micros, Timestamp};
use crate::metrics::{self, Overview};

/// A worker that says nothing for so long is stuck beyond help.
const SILENT: Micros = 120 * SECOND;

/// How long a member may be without its group, or a partition without a reader, before that is told.
const PATIENCE: Micros = 10 * SECOND;

/// What is shown, and what only the runtime knows.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The numbers.
    pub overview: Overview,
    /// Worker threads that have ended, with the reason.
    pub ended: Vec<String>,
    /// When everything started.
    pub started: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// Makes a view; called for every request.
pub type Look = Arc<dyn Fn() -> View + Send + Sync>;

/// Reads rules anew; blocks meanwhile.
pub type Reload = Arc<dyn Fn() -> Reloaded + Send + Sync>;

/// The routes.
pub fn router(look: Look, reload: Reload) -> Router {
    let rules = Router::new().route("/api/v1/reload", post(reload_rules)).with_state(reload);
    Router::new()
        .route("/api/v1/rules", get(rules_of))
        .route("/metrics", get(metrics))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .with_state(look)
        .merge(rules)
}

async fn metrics(State(look): State<Look>) -> Response {
    let page = metrics::render(&look().overview);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response()
}

async fn rules_of(State(look): State<Look>) -> Response {
    let overview = look().overview;
    let rules: Vec<Json> = overview
        .rules
        .iter()
        .map(|rule| json!({ "id": rule.id, "severity": rule.severity.name(), "kind": rule.kind, "mode": rule.mode }))
        .collect();
    let hash = format!("{:032x}", overview.rule_set);
    let body = json!({
        "hash": hash,
        "rules": rules,
        "unplaced": overview.unplaced,
        "refused": overview.refused_rule_sets,
    });
    answer(true, body)
}

/// 200: they judge, or are the same as before; 422: they are refused, and why.
async fn reload_rules(State(reload): State<Reload>) -> Response {
    let reloaded = match tokio::task::spawn_blocking(move || reload()).await {
        Ok(reloaded) => reloaded,
        Err(error) => Reloaded::Refused(error.to_string()),
    };
    let (status, body) = match reloaded {
        Reloaded::Same(hash) => (StatusCode::OK, json!({ "hash": format!("{hash:032x}"), "changed": false })),
        Reloaded::Published { hash, rules } => {
            (StatusCode::OK, json!({ "hash": format!("{hash:032x}"), "changed": true, "rules": rules }))
        }
        Reloaded::Refused(why) => (StatusCode::UNPROCESSABLE_ENTITY, json!({ "refused": why })),
    };
    (status, axum::Json(body)).into_response()
}

async fn live(State(look): State<Look>) -> Response {
    let reasons = why_not_live(&look());
    answer(reasons.is_empty(), json!({ "live": reasons.is_empty(), "reasons": reasons }))
}

async fn ready(State(look): State<Look>) -> Response {
    let view = look();
    let reasons = why_not_ready(&view);
    answer(reasons.is_empty(), describe(&view, &reasons))
}

fn answer(good: bool, body: Json) -> Response {
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(body)).into_response()
}

fn why_not_live(view: &View) -> Vec<String> {
    let mut reasons = view.ended.clone();
    for (index, worker) in view.overview.workers.iter().enumerate() {
        let silent = view.now.0.saturating_sub(worker.at.0.max(view.started.0));
        if silent > SILENT {
            reasons.push(format!("worker {index} has said nothing for {} s", silent / SECOND));
        }
    }
    reasons
}

fn why_not_ready(view: &View) -> Vec<String> {
    let mut reasons = why_not_live(view);
    if view.overview.workers.is_empty() {
        reasons.push("no worker runs".into());
    }
    for (index, worker) in view.overview.workers.iter().enumerate() {
        let unreached = view.now.0.saturating_sub(worker.reached_at.0);
        if unreached > PATIENCE {
            reasons.push(format!("worker {index} has not reached Kafka for {} s", unreached / SECOND));
            continue;
        }
        if !worker.joined && view.now.0.saturating_sub(worker.joined_at.0) > PATIENCE {
            reasons.push(format!("worker {index} is not in the consumer group"));
        }
        for (partition, reading) in &worker.partitions {
            let stuck = reading.stuck_since.map_or(0, |since| view.now.0.saturating_sub(since.0));
            if stuck > PATIENCE {
                reasons.push(format!("{partition} has not been read for {} s", stuck / SECOND));
            } else if reading.next_offset.is_none() {
                reasons.push(format!("{partition} is being taken over"));
            }
        }
    }
    reasons
}

/// The body of `/readyz`: also what makes nothing unready, and somebody should know.
fn describe(view: &View, reasons: &[String]) -> Json {
    let overview = &view.overview;
    let held = overview.workers.iter().filter(|worker| worker.held_since.is_some()).count();
    let partitions: usize = overview.workers.iter().map(|worker| worker.partitions.len()).sum();
    let sinks: serde_json::Map<String, Json> = overview
        .sinks
        .iter()
        .map(|sink| {
            let blocked = sink.blocked.as_ref();
            let blocked =
                blocked.map(|b| json!({ "since": b.since.rfc3339(), "why": b.why, "mend": b.mend }));
            (sink.name.to_string(), json!({ "waiting": sink.waiting, "blocked": blocked }))
        })
        .collect();
    json!({
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "version": env!("CARGO_PKG_VERSION"),
        "rules": overview.rules.len(),
        "rule_set": format!("{:032x}", overview.rule_set),
        "unplaced": overview.unplaced,
        "workers": overview.workers.len(),
        "workers_held": held,
        "partitions": partitions,
        "lag": overview.lag(),
        "sinks": sinks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::PartitionId;
    use crate::metrics::{Reading, Status};

    fn view(now: i64) -> View {
        let at = Timestamp(now);
        let worker = Status { at, joined: true, joined_at: at, reached_at: at, ..Status::default() };
        let overview = Overview { workers: vec![worker], ..Overview::default() };
        View { overview, started: Timestamp(0), now: at, ..View::default() }
    }

    #[test]
    fn ready_is_a_worker_in_its_group_that_reads_everything() {
        let now = 500 * SECOND;
        assert!(why_not_ready(&view(now)).is_empty());
        let mut outside = view(now);
        outside.overview.workers[0].joined = false;
        assert!(why_not_ready(&outside).is_empty(), "a change of hands takes a moment");
        outside.overview.workers[0].joined_at = Timestamp(now - 11 * SECOND);
        assert_eq!(why_not_ready(&outside), ["worker 0 is not in the consumer group"]);
        outside.overview.workers[0].reached_at = Timestamp(now - 12 * SECOND);
        assert_eq!(why_not_ready(&outside), ["worker 0 has not reached Kafka for 12 s"]);
        let mut stuck = view(now);
        let partition = PartitionId { stream: "telemetry".into(), index: 3 };
        let reading = |ago| Reading {
            stuck_since: Some(Timestamp(now - ago * SECOND)),
            next_offset: Some(1),
            end: Some(9),
        };
        stuck.overview.workers[0].partitions.insert(partition.clone(), reading(5));
        assert!(why_not_ready(&stuck).is_empty());
        stuck.overview.workers[0].partitions.insert(partition, reading(12));
        assert_eq!(why_not_ready(&stuck), ["telemetry/3 has not been read for 12 s"]);
        let fresh = Reading { next_offset: None, ..reading(1) };
        stuck.overview.workers[0].partitions.values_mut().for_each(|reading| *reading = fresh);
        assert_eq!(why_not_ready(&stuck), ["telemetry/3 is being taken over"]);
        assert!(why_not_live(&stuck).is_empty());
        assert_eq!(why_not_ready(&View::default()), ["no worker runs"]);
    }

    #[test]
    fn dead_is_what_only_a_restart_helps() {
        let mut silent = view(500 * SECOND);
        silent.now = Timestamp(640 * SECOND);
        assert_eq!(why_not_live(&silent), ["worker 0 has said nothing for 140 s"]);
        let mut ended = view(5);
        ended.ended.push("worker 1 has ended".into());
        assert_eq!(why_not_live(&ended), ["worker 1 has ended"]);
    }

    #[test]
    fn a_blocked_sink_is_told_and_makes_nothing_unready() {
        use crate::metrics::tests::{blockage, sink};
        let mut blocked = view(500 * SECOND);
        blocked.overview.sinks = vec![sink("siem", Some(blockage()))];
        blocked.overview.unplaced = vec!["r".into()];
        let reasons = why_not_ready(&blocked);
        let body = describe(&blocked, &reasons);
        assert_eq!(body["ready"], true);
        assert_eq!(body["sinks"]["siem"]["blocked"]["why"], "no route");
        assert_eq!(body["unplaced"], json!(["r"]));
    }
}
