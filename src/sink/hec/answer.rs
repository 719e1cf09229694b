//! What the collector answered, and what that means for each event. Not every answer is the collector's own:
//! what stands before it answers in plain text and HTML.

use serde_json::Value as Json;

use crate::sink::http::{Answer, short};
use crate::sink::{Outcome, Trouble};

/// What an answer to a write comes to.
pub(super) enum Verdict {
    /// The first events were taken, and what follows the one behind them was not looked at.
    Taken {
        /// How many.
        events: usize,
        /// What came of the one behind them, if that is final.
        refused: Option<Outcome>,
        /// By which name they are acknowledged.
        ack: Option<u64>,
        /// Whether the server wants to be left alone for a while.
        slow: bool,
    },
    /// Too many bytes.
    TooLarge,
    /// Some event is bad, and the server does not say which.
    Unclear,
    /// Nothing was taken.
    Trouble(Trouble),
}

/// What an answer to `count` events comes to.
pub(super) fn judge(answer: &Answer, count: usize) -> Verdict {
    let body = answer.json().unwrap_or_default();
    let number = |name: &str| body.get(name).and_then(Json::as_u64);
    let (code, ack) = (number("code"), number("ackId"));
    let bad = number("invalid-event-number").and_then(|number| usize::try_from(number).ok());
    let taken = |events, refused, slow| Verdict::Taken { events, refused, ack, slow };
    match (answer.status, code) {
        (200..=299, Some(code @ (0 | 24 | 25))) => taken(count, None, code != 0),
        // Counted from 1 here, unlike anywhere else.
        (400, Some(7)) => match bad.and_then(|bad| bad.checked_sub(1)).filter(|bad| (1..count).contains(bad))
        {
            Some(events) => taken(events, None, false),
            None => Verdict::Trouble(trouble(answer)),
        },
        (400, Some(6 | 12 | 13 | 15)) => match bad.filter(|bad| *bad < count) {
            Some(events) => taken(events, Some(refused(answer)), false),
            None if count == 1 => taken(0, Some(refused(answer)), false),
            None => Verdict::Unclear,
        },
        (413, _) => Verdict::TooLarge,
        _ => Verdict::Trouble(trouble(answer)),
    }
}

fn refused(answer: &Answer) -> Outcome {
    let text = answer.json().and_then(|body| Some(short(body.get("text")?.as_str()?, 300)));
    Outcome::Refused { why: why(answer), detail: text.unwrap_or_default() }
}

/// Status and code. What the server says in words stays unsaid: it may quote what was sent.
fn why(answer: &Answer) -> String {
    let code = answer.json().and_then(|body| body.get("code").and_then(Json::as_u64));
    let code = code.map(|code| format!(" code {code}")).unwrap_or_default();
    format!("{}{code}", answer.status)
}

/// A failure of the whole.
pub(super) fn trouble(answer: &Answer) -> Trouble {
    let why = why(answer);
    let code = answer.json().and_then(|body| body.get("code").and_then(Json::as_u64));
    let mend = match (answer.status, code) {
        (200..=299, _) => {
            return Trouble::Retry { after: answer.after, why: format!("{why}: the answer cannot be read") };
        }
        (408 | 429 | 500.., _) => return Trouble::Retry { after: answer.after, why },
        (_, Some(1 | 22)) => "enable the token",
        (_, Some(7)) => "let the token write to the index, or set another index",
        (_, Some(10 | 28)) => "set ack = true: the token acknowledges; several indexers need sticky sessions",
        (_, Some(14)) => "turn on indexer acknowledgement for the token, or set ack = false",
        (401 | 403, _) | (_, Some(2 | 3 | 4 | 16 | 21)) => "check token",
        (404 | 405, _) => "check that url is that of the collector, without /services/collector",
        (415, _) => "set gzip = false",
        (300..=399, _) => "set url to where the server redirects",
        _ => "check url and what stands between here and the server",
    };
    Trouble::Blocked { why, mend: mend.to_string() }
}
