//! One page that needs nothing from outside: figures, and plots drawn as SVG.

use super::Report;
use super::table::{span, totals, verdict};
use crate::fleet::score::quantile;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;\
color:#1c2733;background:#fff}h1{font-size:1.5em}h2{font-size:1.1em;margin-top:2.2em}svg{width:100%;height:auto}\
table{border-collapse:collapse;width:100%;font-size:13px}td,th{padding:.2em .6em;text-align:right;\
border-bottom:1px solid #e3e8ee}td:first-child,th:first-child{text-align:left}.big{font-size:2em;font-weight:600}\
.tiles{display:flex;gap:3em;margin:1.5em 0}.tiles small{display:block;color:#5b6b7b}text{font:12px system-ui,\
sans-serif;fill:#1c2733}.grey{fill:#5b6b7b}";

/// Colours that also differ in brightness.
const GOOD: &str = "#2f7fb8";
const BAD: &str = "#c8502d";
const FAINT: &str = "#dfe6ec";

const WIDTH: f64 = 900.0;
const LABELS: f64 = 290.0;
const ROW: f64 = 20.0;

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
        ("Recall by class", recall(report)),
        ("Time to detect", delays(report)),
        ("Alerts outside an attack, by rule", false_alerts(report)),
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

/// A drawing of so many rows; `row` draws one at a height.
fn drawing<T>(rows: &[T], row: impl Fn(&T, f64) -> String) -> String {
    let height = rows.len() as f64 * ROW + 28.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">");
    for (index, of) in rows.iter().enumerate() {
        svg.push_str(&row(of, index as f64 * ROW + 4.0));
    }
    svg.push_str("</svg>");
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

/// Sorted bars: the weakest class first.
fn recall(report: &Report) -> String {
    let mut rows: Vec<(&str, f64)> = report.score.recall_by_class().into_iter().collect();
    rows.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(b.0)));
    let full = WIDTH - LABELS - 70.0;
    drawing(&rows, |(class, share), y| {
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
    let mut svg = drawing(&rows, |(name, delays), y| {
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
    });
    let y = rows.len() as f64 * ROW + 6.0;
    let marks =
        [(1_000, "1 s"), (10_000, "10 s"), (60_000, "1 min"), (600_000, "10 min"), (3_600_000, "1 h")];
    let axis: String = marks.iter().map(|(ms, text)| note(place(*ms) - 8.0, y, text)).collect();
    svg.insert_str(svg.len() - "</svg>".len(), &axis);
    svg
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
    drawing(&rows, |(id, count), y| {
        let width = full * *count as f64 / most;
        let shown = format!("{count} ({:.2})", report.score.per_thousand(*count));
        label(id, y) + &bar(LABELS, y, width, BAD) + &note(LABELS + width + 8.0, y, &shown)
    })
}

fn rules(report: &Report) -> String {
    let head = ["rule", "alerts", "false", "found", "of", "median", "p95"];
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
