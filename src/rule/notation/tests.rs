//! What lines become, and what is said about bad ones.

use super::*;
use crate::event::time::SECOND;

fn steps(text: &str) -> Vec<Step> {
    let parsed = parse(text, "a test");
    assert_eq!(parsed.problems, []);
    parsed.steps
}

fn events(text: &str) -> Vec<(i64, i64, String)> {
    steps(text)
        .into_iter()
        .map(|step| match step {
            Step::Event { at, late, json, .. } => (at / SECOND, late / SECOND, json),
            Step::Tick(at) => (at / SECOND, 0, "tick".into()),
        })
        .collect()
}

/// What is wrong, and what of the text it points to.
fn problems(text: &str) -> Vec<(String, String)> {
    let problems = parse(text, "t").problems;
    problems.into_iter().map(|problem| (text[problem.span].to_owned(), problem.message)).collect()
}

#[test]
fn lines_repeat_and_interleave_by_time() {
    let got =
        events("+0s x2 every 5s for v in 1..2 {\"vin\":\"V${v}\",\"n\":${i*10+v}}\n# a comment\n+3s tick");
    let want = [
        (0, 0, r#"{"vin":"V1","n":1}"#),
        (0, 0, r#"{"vin":"V2","n":2}"#),
        (3, 0, "tick"),
        (5, 0, r#"{"vin":"V1","n":11}"#),
        (5, 0, r#"{"vin":"V2","n":12}"#),
    ];
    assert_eq!(got, want.map(|(at, late, json)| (at, late, json.to_owned())));
}

#[test]
fn late_events_streams_and_choices() {
    assert_eq!(events("+1h late 51m telemetry {}")[0].1, 51 * 60);
    assert_eq!(events("+1h late -5m {}")[0].1, -300);
    let picked: Vec<String> =
        events("+0s x40 {\"c\":\"${pick('lock', 'unlock')}\"}").into_iter().map(|e| e.2).collect();
    assert!(picked.iter().any(|p| p.contains("\"lock\"")) && picked.iter().any(|p| p.contains("unlock")));
}

#[test]
fn an_event_stays_as_it_is_written() {
    let text = r#"{ "vin":"V1", "vin":"V2" , "n": 1.50e0, "s":"a # \" { }" }"#;
    let line = format!("+0s telemetry {text}   # {{ a comment");
    assert_eq!(events(&line)[0].2, text);
    let parsed = parse(&line, "t");
    assert_eq!(parsed.streams, [("telemetry".to_owned(), 4..13)]);
    let Step::Event { written, .. } = &parsed.steps[0] else { panic!("{parsed:?}") };
    assert_eq!(&line[written.clone()], text);
}

#[test]
fn comments_stand_behind_events_and_ticks() {
    let got = events("+0s {\"a\":\"#\"} # one {\"b\":1} ${x}\n+1s tick # {two}\n+2s {}# three\n  # four");
    assert_eq!(got.iter().map(|event| event.2.as_str()).collect::<Vec<_>>(), ["{\"a\":\"#\"}", "tick", "{}"]);
}

#[test]
fn what_cannot_be_read_is_shown_with_its_place() {
    for (bad, place) in [
        ("5s {}", "5s"),
        ("+5s", "+5s"),
        ("+5s tick {}", "{}"),
        ("+5s x2 tick", "x2"),
        ("+5s for v in 5..1 {}", "5..1"),
        ("+5s for v 1..5 {}", "1..5"),
        ("+5s for v in {}", "for"),
        ("+5s {\"a\":${b}}", "${b}"),
        ("+5s x2 every {}", "every"),
        ("+5s x2 every -5s {}", "-5s"),
        ("+5s every 5s {}", "every"),
        ("+5s x0 {}", "x0"),
        ("+5s {\"a\":${1/0}}", "${1/0}"),
        ("+5s x999999 {}", "+5s x999999 {}"),
        ("+5s {} {}", "{}"),
        ("+5s {\"a\":1}} # c", "} # c"),
        ("+5s telemetry diagnostics {}", "diagnostics"),
    ] {
        let text = format!("+0s {{}}\n  {bad}\n");
        let got = problems(&text);
        assert_eq!(
            got.iter().map(|(place, _)| place.as_str()).collect::<Vec<_>>(),
            [place],
            "{bad}: {got:?}"
        );
    }
    assert_eq!(problems("+5s [1]").len(), 2, "no event, and a word that cannot be read");
}

#[test]
fn bad_json_is_shown_where_it_is() {
    for (bad, at, place) in [
        ("+5s {\"a\":}", 9, "}"),
        ("+5s {\"ä\":1,\"b\":tru}", 19, "}"),
        ("+5s {\"n\":${100}, \"b\" 1}", 21, "1"),
        ("+5s {\"n\":1${'x'}}", 10, "${'x'}"),
        ("+5s {\"a\":1", 9, "1"),
        ("+5s {\"a\":\"é", 10, "é"),
    ] {
        let problems = parse(bad, "t").problems;
        assert_eq!(problems.len(), 1, "{bad}");
        assert_eq!((problems[0].span.start, &bad[problems[0].span.clone()]), (at, place), "{bad}");
        assert!(!problems[0].message.contains("column"), "{}", problems[0].message);
    }
}

#[test]
fn every_mistake_of_every_line_is_told() {
    let text = "5s x0 evry 3s {\"a\":}\n+1s {\"b\":${c},\"d\":${e}}\n+2s telemetri {}\n";
    let places: Vec<String> = problems(text).into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, ["5s", "x0", "3s", "}", "${c}", "${e}"]);
    let parsed = parse(text, "t");
    let streams: Vec<&str> = parsed.streams.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(streams, ["evry", "telemetri"]);
    assert_eq!(parsed.steps.len(), 1);
}

proptest::proptest! {
    /// No panic, and every place lies in the text.
    #[test]
    fn any_text_is_read(text in "([+x0-9s {}\"$a#é:,\\\\'-]|every |late |for |tick |\n|\\$\\{){0,30}") {
        for problem in parse(&text, "t").problems {
            proptest::prop_assert!(text.get(problem.span.clone()).is_some(), "{:?}", problem);
        }
    }
}
