//! `fleetwarden sink list`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::ConfigArgs;
use crate::cli::{Exit, fail, print};
use crate::kafka::reader::Standing;
use crate::kafka::{Error, Reader};
use crate::runtime::delivery::group;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where each sink stands in the journal, and how much waits for it.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Which configuration
    #[command(flatten)]
    pub config: ConfigArgs,
    /// For people, or for machines: one JSON object a sink
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Who reads the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// People.
    Table,
    /// Machines.
    Json,
}

/// A sink, and where its group stands.
struct Row {
    name: String,
    kind: &'static str,
    group: String,
    standing: Vec<Standing>,
}

/// Prints it; 2 if Kafka does not answer.
pub fn run(args: &ListArgs) -> Exit {
    let config = match super::load(&args.config.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let rows: Result<Vec<Row>, Error> = config
        .sinks
        .iter()
        .map(|(name, sink)| {
            let group = group(&config.kafka, name);
            let standing = Reader::standing(&config.kafka, &config.kafka.journal(), &group, PATIENCE)?;
            Ok(Row { name: name.clone(), kind: sink.kind(), group, standing })
        })
        .collect();
    match rows {
        Err(error) => fail(&error.to_string()),
        Ok(rows) if args.format == Format::Json => print(rows.iter().map(Row::json).collect::<String>()),
        Ok(rows) => print(table(&rows)),
    }
}

impl Row {
    /// Records that wait; none if nothing has been committed.
    fn lag(&self) -> Option<u64> {
        self.standing.iter().map(Standing::lag).sum()
    }

    /// `0: 4711 of 4720 · 1: –`: the next record, and how many there were ever.
    fn position(&self) -> String {
        let of = |standing: &Standing| match standing.committed {
            Some(next) => format!("{}: {next} of {}", standing.partition, standing.end),
            None => format!("{}: – of {}", standing.partition, standing.end),
        };
        self.standing.iter().map(of).collect::<Vec<_>>().join(" · ")
    }

    fn json(&self) -> String {
        let of = |standing: &Standing| {
            json!({
                "partition": standing.partition,
                "position": standing.committed,
                "oldest": standing.oldest,
                "end": standing.end,
                "lag": standing.lag(),
            })
        };
        let partitions: Vec<_> = self.standing.iter().map(of).collect();
        let row = json!({
            "sink": self.name, "type": self.kind, "group": self.group,
            "lag": self.lag(), "partitions": partitions,
        });
        format!("{row}\n")
    }
}

fn table(rows: &[Row]) -> String {
    let width =
        |of: fn(&Row) -> usize, head: &str| rows.iter().map(of).max().unwrap_or_default().max(head.len());
    let (name, kind) = (width(|row| row.name.len(), "SINK"), width(|row| row.kind.len(), "TYPE"));
    let mut text = format!("{:name$}  {:kind$}  {:>9}  POSITION\n", "SINK", "TYPE", "LAG");
    for row in rows {
        let lag = row.lag().map_or("new".to_string(), |lag| lag.to_string());
        text += &format!("{:name$}  {:kind$}  {lag:>9}  {}\n", row.name, row.kind, row.position());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_waits() {
        let standing = |partition, committed, end| Standing { partition, committed, oldest: 5, end };
        let row = |name: &str, standing| Row { name: name.into(), kind: "file", group: "g".into(), standing };
        let rows = [
            row("archive", vec![standing(0, Some(7), 9), standing(1, Some(2), 6)]),
            row("b", vec![standing(0, None, 9)]),
        ];
        let expected = "SINK     TYPE        LAG  POSITION\n\
                        archive  file          3  0: 7 of 9 · 1: 2 of 6\n\
                        b        file        new  0: – of 9\n";
        assert_eq!(table(&rows), expected, "what is gone waits no more");
        let json: serde_json::Value = serde_json::from_str(&rows[0].json()).unwrap();
        assert_eq!((&json["lag"], &json["partitions"][1]["lag"]), (&json!(3), &json!(1)));
    }
}
