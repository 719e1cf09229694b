//! One page that needs nothing from outside: figures, and plots drawn as SVG.

use super::Report;
use super::table::{span, totals, verdict};
use crate::fleet::score::quantile;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;\
color:#1c2733;background:#fff}h1{font-size:1.5em}h2{font-size:1.1em;margin-top:2.2em}svg{width:100%;\
height:auto;min-width:640px}.plot{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13px}\
td,th{padding:.2em .6em;text-align:right;border-bottom:1px solid #e3e8ee}td:first-child,th:first-child{\
text-align:left}.big{font-size:2em;font-weight:600;white-space:nowrap}.tiles{display:flex;flex-wrap:wrap;\
gap:1em 3em;margin:1.5em 0}.tiles small{display:block;color:#5b6b7b}text{font:12px system-ui,sans-serif;\
fill:#1c2733}.grey{fill:#5b6b7b}";

/// Colours that also differ in brightness.
const GOOD: &str = "#2f7fb8";
const BAD: &str = "#c8502d";
const FAINT: &str = "#dfe6ec";

const WIDTH: f64 = 900.0;
const LABELS: f64 = 290.0;
const ROW: f64 = 20.0;

/// What the logarithmic axis of times says, in milliseconds.
const MARKS: [(i64, &str); 6] = [
    (1_000, "≤ 1 s"),
    (10_000, "10 s"),
    (60_000, "1 min"),
    (600_000, "10 min"),
    (3_600_000, "1 h"),
    (86_400_000, "1 d"),
];

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let (found, attacks) = totals(report);
    let wrong = report.score.false_alerts.len();
    let title = "Fleetwarden: rules against a simulated fleet";
    let tiles = [
        tile(&format!("{found} of {attacks}"), "claimed attacks found"),
        tile(&format!("{:.2}", report.score.lowest_recall()), "recall of the weakest class"),
        tile(&format!("{:.1}", report.score.per_thousand(wrong)), "false alerts per 1,000 vehicle-days"),
    ];
    let sections = [
        ("Recall by class", recall(report) + &missed(report)),
        ("Time to detect, from an attack's first event", delays(report)),
        ("Alerts outside an attack, by rule (per 1,000 vehicle-days)", false_alerts(report)),
        ("Rules", rules(report)),
    ];
    let sections = sections.map(|(heading, text)| format!("<h2>{heading}</h2>{text}"));
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style>\
         <h1>{title}</h1><p>{}</p><div class=\"tiles\">{}</div>{}<p>Seed {}. Synthetic data.</p></html>\n",
        escape(verdict(report).trim()),
        tiles.concat(),
        sections.concat(),
        report.played.seed
    )
}

fn tile(figure: &str, what: &str) -> String {
    format!("<div><span class=\"big\">{figure}</span><small>{what}</small></div>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A drawing of so many rows; `row` draws one at a height. An axis has a row above them, and one below.
fn drawing<T>(what: &str, rows: &[T], axis: Option<&str>, row: impl Fn(&T, f64) -> String) -> String {
    let head = if axis.is_some() { ROW } else { 0.0 };
    let height = rows.len() as f64 * ROW + 2.0 * head + 8.0;
    let mut svg = format!(
        "<div class=\"plot\"><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{what}\">{}",
        axis.unwrap_or_default()
    );
    for (index, of) in rows.iter().enumerate() {
        svg.push_str(&row(of, head + index as f64 * ROW + 4.0));
    }
    svg.push_str("</svg></div>");
    svg
}

fn label(text: &str, y: f64) -> String {
    let x = LABELS - 8.0;
    format!("<text x=\"{x}\" y=\"{}\" text-anchor=\"end\">{}</text>", y + 13.0, escape(text))
}

fn bar(x: f64, y: f64, width: f64, colour: &str) -> String {
    format!("<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"14\" rx=\"2\" fill=\"{colour}\"/>")
}

fn note(x: f64, y: f64, text: &str) -> String {
    format!("<text class=\"grey\" x=\"{x:.1}\" y=\"{}\">{}</text>", y + 12.0, escape(text))
}

/// A word of an axis, in its middle.
fn mark(x: f64, y: f64, text: &str) -> String {
    format!("<text class=\"grey\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", y + 12.0)
}

/// The attacks of claimed classes that nobody found, by class and variant.
fn missed(report: &Report) -> String {
    let claimed = report.score.classes.iter().filter(|(_, of)| of.claimed && !of.missed.is_empty());
    let missed: Vec<String> = claimed
        .map(|((class, variant), of)| escape(&format!("{class}/{variant} ({})", of.missed.join(", "))))
        .collect();
    match missed.as_slice() {
        [] => String::new(),
        missed => format!("<p>Missed: {}.</p>", missed.join(", ")),
    }
}

/// Sorted bars: the weakest class first.
fn recall(report: &Report) -> String {
    let mut rows: Vec<(&str, f64)> = report.score.recall_by_class().into_iter().collect();
    rows.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(b.0)));
    let full = WIDTH - LABELS - 70.0;
    drawing("recall by class", &rows, None, |(class, share), y| {
        let colour = if *share < 0.95 { BAD } else { GOOD };
        let shown = format!("{:.0} %", share * 100.0);
        let bars = bar(LABELS, y, full, FAINT) + &bar(LABELS, y, full * share, colour);
        label(class, y) + &bars + &note(LABELS + full + 8.0, y, &shown)
    })
}

/// A dot for each attack that was found, on a logarithmic scale from a second to a day.
fn delays(report: &Report) -> String {
    let mut rows: Vec<(String, &Vec<i64>)> = report
        .score
        .classes
        .iter()
        .filter(|(_, class)| !class.delays_ms.is_empty())
        .map(|((class, variant), of)| (format!("{class} · {variant}"), &of.delays_ms))
        .collect();
    rows.sort_by_key(|(name, delays)| (quantile(delays, 0.5), name.clone()));
    let full = WIDTH - LABELS - 70.0;
    let place = |ms: i64| {
        let seconds = (ms as f64 / 1e3).clamp(1.0, 86_400.0);
        LABELS + full * seconds.log10() / 86_400f64.log10()
    };
    let bottom = (rows.len() + 1) as f64 * ROW;
    let axis: String = MARKS
        .iter()
        .map(|(ms, text)| {
            let x = place(*ms);
            let line = format!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{ROW}\" y2=\"{bottom}\" stroke=\"{FAINT}\"/>"
            );
            line + &mark(x, 4.0, text) + &mark(x, bottom + 2.0, text)
        })
        .collect();
    drawing("time to detect", &rows, Some(&axis), |(name, delays), y| {
        let middle = y + 7.0;
        let line = format!(
            "<line x1=\"{LABELS}\" x2=\"{}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"{FAINT}\"/>",
            LABELS + full
        );
        let dots: String = delays
            .iter()
            .map(|ms| {
                let x = place(*ms);
                format!(
                    "<circle cx=\"{x:.1}\" cy=\"{middle}\" r=\"4\" fill=\"{GOOD}\" fill-opacity=\".65\"/>"
                )
            })
            .collect();
        label(name, y) + &line + &dots + &note(LABELS + full + 8.0, y, &span(quantile(delays, 0.5)))
    })
}

fn false_alerts(report: &Report) -> String {
    let mut rows: Vec<(&String, usize)> = report
        .score
        .rules
        .iter()
        .filter(|(_, rule)| rule.false_alerts > 0)
        .map(|(id, rule)| (id, rule.false_alerts))
        .collect();
    if rows.is_empty() {
        return "<p>None.</p>".into();
    }
    rows.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let most = rows.first().map_or(1, |(_, count)| *count) as f64;
    let full = WIDTH - LABELS - 120.0;
    drawing("alerts outside an attack by rule", &rows, None, |(id, count), y| {
        let width = full * *count as f64 / most;
        let shown = format!("{count} ({:.2})", report.score.per_thousand(*count));
        label(id, y) + &bar(LABELS, y, width, BAD) + &note(LABELS + width + 8.0, y, &shown)
    })
}

fn rules(report: &Report) -> String {
    let head = ["rule", "alerts", "false", "attacks found", "of claimed", "median", "p95"];
    let mut table = String::from("<table><tr>");
    table.extend(head.map(|cell| format!("<th>{cell}</th>")));
    table.push_str("</tr>");
    for (id, rule) in &report.score.rules {
        let cells = [
            escape(id),
            rule.alerts.to_string(),
            rule.false_alerts.to_string(),
            rule.found.to_string(),
            rule.claimed.to_string(),
            span(quantile(&rule.delays_ms, 0.5)),
            span(quantile(&rule.delays_ms, 0.95)),
        ];
        table.push_str("<tr>");
        table.extend(cells.map(|cell| format!("<td>{cell}</td>")));
        table.push_str("</tr>");
    }
    table.push_str("</table>");
    table
}
