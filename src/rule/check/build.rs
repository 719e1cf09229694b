//! One rule file → one rule: what all kinds share.

use std::sync::Arc;

use super::header::{self, Header};
use super::keys::{self, Reader};
use super::{baseline, fingerprint, matching, names, test_cases, threshold};
use crate::alert::{RuleInfo, Severity};
use crate::diagnostic::{Diagnostic, Gravity, suggest};
use crate::event::Type;
use crate::rule::expr::node::{Node, Op};
use crate::rule::expr::parse::{Let, LetValue, Place, Scope, Tree, a, check_syntax, conjuncts};
use crate::rule::file::{Span, Table, Text};
use crate::rule::lookup::Lookups;
use crate::rule::{Clock, EntityPart, Escalate, Inputs, KeyPart, Kind, Placement, Rule, RuleTest, Suppress};
use crate::schema::Schema;

/// Filters of a rule: bits of one word a row.
const MAX_STEPS: usize = 32;

/// A rule in the making.
pub struct Draft<'a> {
    pub file: &'a str,
    pub schema: &'a Schema,
    pub scope: Scope<'a>,
    pub key: Vec<KeyPart>,
    pub inputs: Inputs,
    /// `where` and `having`, as read.
    pub conditions: Vec<Tree>,
    /// The conditions of escalations.
    pub whens: Vec<Tree>,
    /// Whether more filters were asked for than there are bits.
    overfull: bool,
}

/// An escalation whose condition has been read.
pub struct Raise<'t> {
    pub when: Tree,
    pub text: &'t Text,
    pub severity: Severity,
    pub risk: Option<u8>,
}

/// What the kind's own module finds out.
pub struct Judged {
    pub kind: Kind,
    pub escalate: Vec<Escalate>,
    pub observed: Vec<(Arc<str>, Node)>,
    /// The judgement before its leaves were bound: what the fingerprint goes by.
    pub having: Option<Node>,
    /// Likewise of the value, if it has one.
    pub value: Option<Node>,
}

/// What a rule may name beside what its own file says.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The names that its folder shares.
    pub shared: &'a [Let],
    pub schemas: &'a [Arc<Schema>],
    pub lookups: &'a Lookups,
}

/// Compiles one file. All its problems are added; none if one of them is an error.
pub fn compile(
    id: &str,
    path: &str,
    table: &Table,
    Known { shared, schemas, lookups }: Known<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<(Rule, Vec<RuleTest>)> {
    let start = problems.len();
    let mut reader = Reader { file: path, problems };
    reader.known(table, "a rule", &keys::TOP);
    let header = Header::read(&mut reader, table);
    let kind = header::kind(&mut reader, table);
    let own = names::read(&mut reader, table, true);
    let schema = find_schema(&mut reader, table, header.span.clone(), schemas);
    let context = test_cases::Context { rule: id, stream: schema, schemas, lookups };
    let tests = test_cases::read(&mut reader, context, table);
    let (Some(schema), Some((kind, span, inner))) = (schema, kind) else {
        if let Some((_, _, inner)) =
            header::kind(&mut Reader { file: path, problems: &mut Vec::new() }, table)
        {
            syntax_only(inner, problems);
        }
        super::syntax_of(&own, problems);
        return None;
    };
    let lets = names::together(own, shared, schema, problems);
    let mut draft = Draft::new(path, schema, &lets);
    draft.scope.lookups = lookups.clone();
    let rule = draft.rule(id, &header, (kind, span, inner), table);
    problems.append(&mut draft.scope.problems);
    if problems.iter().skip(start).any(|problem| problem.gravity == Gravity::Error) {
        return None;
    }
    header::warn_of_gaps(&mut Reader { file: path, problems }, &header, table);
    Some((rule?, tests))
}

fn find_schema<'s>(
    reader: &mut Reader<'_>,
    table: &Table,
    span: Span,
    schemas: &'s [Arc<Schema>],
) -> Option<&'s Schema> {
    if table.get("stream").is_none() {
        reader.missing(span, "the rule", "stream", "stream = \"telemetry\"");
        return None;
    }
    let text = reader.text(table, "stream")?;
    let found = schemas.iter().find(|schema| *schema.name == *text.text);
    if found.is_none() {
        let hint = suggest(&text.text, schemas.iter().map(|schema| &*schema.name));
        let hint = if schemas.is_empty() { "there is no schema: see --schemas".into() } else { hint };
        reader.error(text.span.clone(), format!("stream \"{}\" has no schema", text.text), hint);
    }
    found.map(|schema| &**schema)
}

/// Without a schema only the syntax of conditions can be checked.
fn syntax_only(inner: &Table, problems: &mut Vec<Diagnostic>) {
    for key in ["where", "having"] {
        if let Some(crate::rule::file::ItemValue::Text(text)) = inner.get(key).map(|entry| &entry.item.value)
        {
            problems.extend(check_syntax(text));
        }
    }
}

impl<'a> Draft<'a> {
    fn new(file: &'a str, schema: &'a Schema, lets: &'a [Let]) -> Draft<'a> {
        Draft {
            file,
            schema,
            scope: Scope::new(schema, lets),
            key: Vec::new(),
            inputs: Inputs::default(),
            conditions: Vec::new(),
            whens: Vec::new(),
            overfull: false,
        }
    }

    /// Says what is wrong in this file.
    pub fn reader(&mut self) -> Reader<'_> {
        Reader { file: self.file, problems: &mut self.scope.problems }
    }

    fn rule(
        &mut self,
        id: &str,
        header: &Header,
        (kind, span, inner): (&'static str, Span, &Table),
        table: &Table,
    ) -> Option<Rule> {
        self.read_where(inner);
        let clock = self.clock(inner);
        self.read_key(kind, inner, span.clone());
        let judged = match kind {
            "match" => matching::judge(self, header, inner, table),
            "baseline" => baseline::judge(self, header, inner, table, span),
            _ => threshold::judge(self, header, inner, table, span),
        };
        let suppress = self.suppress(table, kind);
        let entities = self.entities(table);
        self.warn_of_negations();
        self.warn_of_unused(kind);
        let judged = judged?;
        let fingerprint = fingerprint::of_rule(self, kind, clock, &judged);
        let info = self.info(id, header, kind, fingerprint);
        Some(Rule {
            placement: self.placement(&judged.kind),
            info: Arc::new(info),
            fingerprint,
            stream: self.schema.name.clone(),
            clock,
            key: std::mem::take(&mut self.key),
            kind: judged.kind,
            observed: judged.observed,
            entities,
            escalate: judged.escalate,
            suppress,
            mode: header.mode,
            inputs: std::mem::take(&mut self.inputs),
        })
    }

    fn info(&self, id: &str, header: &Header, kind: &'static str, fingerprint: u128) -> RuleInfo {
        RuleInfo {
            id: id.into(),
            title: header.title.clone(),
            severity: header.severity,
            risk: header.risk,
            version: format!("{:08x}", fingerprint >> 96),
            kind,
            stream: self.schema.name.clone(),
            r155: header.r155.clone(),
            atm: header.atm.clone(),
            attack: header.attack.clone(),
            triage: header.triage.clone(),
            blind_spots: header.blind_spots.clone(),
            key: self.key.iter().map(|part| part.name.clone()).collect(),
        }
    }

    /// In the partition if no event of a key can lie in another one, or if nothing is remembered.
    fn placement(&self, kind: &Kind) -> Placement {
        let holds_key = self.schema.key.is_some_and(|column| {
            self.inputs.values.iter().take(self.key.len()).any(|node| node.op == Op::Column(column))
        });
        match kind {
            Kind::Match(_) => Placement::Partition,
            Kind::Threshold(_) | Kind::Baseline(_) if holds_key => Placement::Partition,
            Kind::Threshold(_) | Kind::Baseline(_) => Placement::Exchange,
        }
    }

    fn read_where(&mut self, inner: &Table) {
        if let Some(text) = self.reader().text(inner, "where")
            && let Some(tree) = self.scope.read_condition(text, Place::Where)
        {
            if tree.refs.is_empty() {
                let message = "`where` reads no column: it lets all events pass, or none";
                self.scope.warning(self.file, text.span.clone(), message, "leave it out, or name a column");
            }
            self.inputs.filters = conjuncts(&tree.node);
            self.conditions.push(tree);
        }
    }

    fn clock(&mut self, inner: &Table) -> Clock {
        let Some(text) = self.reader().text(inner, "clock") else { return Clock::Event };
        match text.text.as_str() {
            "event" => Clock::Event,
            "arrival" => Clock::Arrival,
            other => {
                let hint = "\"event\" goes by the event's own time, \"arrival\" by the broker's";
                self.reader().error(text.span.clone(), format!("there is no clock \"{other}\""), hint);
                Clock::Event
            }
        }
    }

    fn read_key(&mut self, kind: &str, inner: &Table, span: Span) {
        if inner.get("key").is_none() {
            match (kind, self.schema.key) {
                ("match", Some(column)) => {
                    let name = self.schema.column_name(column).to_string();
                    let kind = self.schema.column_type(column);
                    self.push_key(name, Node { op: Op::Column(column), args: Vec::new(), kind });
                }
                ("match", None) => {}
                _ => {
                    let example =
                        "key = [\"vin\"], whose events are counted together; key = [] is the whole fleet";
                    self.reader().missing(span, &format!("[{kind}]"), "key", example);
                }
            }
            return;
        }
        let names = header::name_list(&mut self.reader(), inner, "key").unwrap_or_default();
        for text in names {
            let Some(tree) = self.resolve(text) else { continue };
            if self.key.iter().any(|part| part.name == text.text) {
                self.reader().error(
                    text.span.clone(),
                    format!("\"{}\" is in the key twice", text.text),
                    "remove one",
                );
                continue;
            }
            if matches!(tree.node.kind, Type::Float | Type::List) {
                let message = format!("\"{}\" is {}: no key", text.text, a(tree.node.kind));
                let hint = match tree.node.kind {
                    Type::Float => "floats hardly ever repeat: make cells in a let, `floor(x / 5)`",
                    _ => "a key is a single value: a string, an integer, a boolean",
                };
                self.reader().error(text.span.clone(), message, hint);
                continue;
            }
            self.push_key(text.text.clone(), tree.node);
        }
    }

    fn push_key(&mut self, name: String, node: Node) {
        self.key.push(KeyPart { name, kind: node.kind });
        self.inputs.values.push(node);
    }

    /// The column or let that a name in an array means.
    pub fn resolve(&mut self, text: &Text) -> Option<Tree> {
        let plain = |c: char| c.is_alphanumeric() || c == '_';
        if text.text.is_empty() || !text.text.chars().all(plain) {
            let message = format!("\"{}\" is no name", text.text);
            let hint = "names of columns and lets stand here: give an expression a name in [let]";
            self.reader().error(text.span.clone(), message, hint);
            return None;
        }
        let tree = self.scope.read(text, Place::Let)?;
        if tree.node.has_aggregate() {
            let message = format!("let \"{}\" holds an aggregate: one event does not have it", text.text);
            self.reader().error(text.span.clone(), message, "name a column, or a let over one event");
            return None;
        }
        if tree.node.as_const().is_some() {
            let message = format!("\"{}\" is the same for all events", text.text);
            self.reader().error(text.span.clone(), message, "name a column, or a let over columns");
            return None;
        }
        Some(tree)
    }

    /// The column of `Picked::values` that holds a node.
    pub fn value(&mut self, node: Node) -> usize {
        let values = &mut self.inputs.values;
        values.iter().position(|other| *other == node).unwrap_or_else(|| {
            values.push(node);
            values.len() - 1
        })
    }

    /// The bit of `Picked::steps` that says whether a condition is true.
    pub fn step(&mut self, node: Node, span: Span) -> u32 {
        let at = self.inputs.steps.iter().position(|other| *other == node).unwrap_or_else(|| {
            self.inputs.steps.push(node);
            self.inputs.steps.len() - 1
        });
        if at >= MAX_STEPS && !self.overfull {
            self.overfull = true;
            let hint = "write two rules, or put conditions together with OR";
            self.reader().error(span, format!("the rule has more than {MAX_STEPS} filters"), hint);
        }
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    fn suppress(&mut self, table: &Table, kind: &str) -> Option<Suppress> {
        let (entry, inner) = self.reader().table(table, "suppress")?;
        let mut reader = self.reader();
        reader.known(inner, "[suppress]", &keys::SUPPRESS);
        if inner.get("for").is_none() {
            reader.missing(entry.key_span.clone(), "[suppress]", "for", "for = \"1h\"");
        }
        let span = reader.duration(inner, "for");
        let names = header::name_list(&mut reader, inner, "by");
        let by = names.map(|names| {
            names.iter().filter_map(|text| self.suppressed_by(text, kind)).collect::<Vec<usize>>()
        });
        Some(Suppress { span: span?, by })
    }

    fn suppressed_by(&mut self, text: &Text, kind: &str) -> Option<usize> {
        if let Some(part) = self.key.iter().position(|part| part.name == text.text) {
            return Some(part);
        }
        if kind == "match" {
            let tree = self.resolve(text)?;
            return Some(self.value(tree.node));
        }
        let parts: Vec<String> = self.key.iter().map(|part| part.name.clone()).collect();
        let hint = match parts.is_empty() {
            true => "the key is empty: leave `by` out".to_string(),
            false => suggest(&text.text, parts.iter().map(String::as_str)),
        };
        let message = format!("\"{}\" is not a part of the key", text.text);
        self.reader().error(text.span.clone(), message, hint);
        None
    }

    fn entities(&mut self, table: &Table) -> Vec<EntityPart> {
        if table.get("entity").is_none() {
            return self.default_entities();
        }
        let names = header::name_list(&mut self.reader(), table, "entity").unwrap_or_default();
        let mut parts = Vec::new();
        for text in names {
            let Some(tree) = self.resolve(text) else { continue };
            match self.entity_of(&tree.node) {
                Some(kind) => {
                    let value = self.value(tree.node);
                    parts.push(EntityPart { kind, value });
                }
                None => {
                    let message = format!("\"{}\" has no entity type", text.text);
                    let hint = self.entity_hint();
                    self.reader().error(text.span.clone(), message, hint);
                }
            }
        }
        parts
    }

    fn entity_hint(&self) -> String {
        let fields = self.schema.fields.iter().filter(|field| field.entity.is_some());
        let names: Vec<&str> = fields.map(|field| field.name.as_str()).collect();
        match names.is_empty() {
            true => format!("give a field of schemas/{}.toml an `entity`", self.schema.name),
            false => format!("columns with an entity type: {}", names.join(", ")),
        }
    }

    fn entity_of(&self, node: &Node) -> Option<crate::alert::EntityType> {
        match node.op {
            Op::Column(column) => self.schema.fields.get(column)?.entity,
            _ => None,
        }
    }

    /// The parts of the key that have an entity type, else the stream's key.
    fn default_entities(&mut self) -> Vec<EntityPart> {
        let parts = self.inputs.values.iter().take(self.key.len()).enumerate();
        let typed: Vec<EntityPart> = parts
            .filter_map(|(value, node)| Some(EntityPart { kind: self.entity_of(node)?, value }))
            .collect();
        if !typed.is_empty() {
            return typed;
        }
        let Some(column) = self.schema.key else { return Vec::new() };
        let kind = self.schema.column_type(column);
        let node = Node { op: Op::Column(column), args: Vec::new(), kind };
        match self.entity_of(&node) {
            Some(kind) => vec![EntityPart { kind, value: self.value(node) }],
            None => Vec::new(),
        }
    }

    /// Own lets that nothing uses. Reading each also finds the problems in those.
    fn warn_of_unused(&mut self, kind: &str) {
        for (index, each) in self.scope.lets.iter().enumerate().filter(|(_, each)| each.own) {
            let tree = match each.value {
                LetValue::List(_) => None,
                _ => self.scope.read_let(index),
            };
            let reported = kind != "match" && tree.is_some_and(|tree| tree.node.has_aggregate());
            let hides = self.schema.column(&each.name).is_some();
            if !self.scope.is_used(index) && !reported && !hides {
                let message = format!("let \"{}\" is not used", each.name);
                let hint = "use it in a condition, or remove it";
                self.scope.problem(self.file, each.name_span.clone(), message, hint);
            }
        }
    }

    /// `x <> 'a'` is not true where x is NULL. Silent where another conjunct demands a value of x.
    fn warn_of_negations(&mut self) {
        for negation in std::mem::take(&mut self.scope.negations) {
            let open = negation.columns.iter().find(|column| !self.is_demanded(**column));
            let Some(column) = open else { continue };
            let name = self.schema.column_name(*column);
            let message = format!("`{}` is not true where {name} is NULL", negation.written);
            let hint = format!(
                "to take such events too: `{name} IS DISTINCT FROM …` or `{name} IS NULL OR …`; \
                 to say that they do not count: `{name} IS NOT NULL AND …`"
            );
            self.scope.warning(self.file, negation.span, message, hint);
        }
    }

    /// Whether some conjunct of `where` is only true if a column has a value, or `where` speaks of its NULL.
    fn is_demanded(&self, column: usize) -> bool {
        let of_column = |node: &Node| node.args.iter().any(|arg| arg.op == Op::Column(column));
        let mut spoken_of = false;
        for filter in &self.inputs.filters {
            filter.walk(&mut |node| spoken_of |= node.op == Op::IsNull && of_column(node));
        }
        if spoken_of {
            return true;
        }
        self.inputs.filters.iter().any(|filter| match (&filter.op, &filter.args[..]) {
            (Op::Eq | Op::Lt | Op::Le | Op::Gt | Op::Ge, _) => of_column(filter),
            (Op::In | Op::Between | Op::Like(_), [arg, ..]) => arg.op == Op::Column(column),
            _ => filter.op == Op::Column(column),
        })
    }
}

/// Reads `[[escalate]]`: what raises the severity, and when.
pub fn read_escalations<'t>(
    draft: &mut Draft<'_>,
    table: &'t Table,
    header: &Header,
    place: Place,
) -> Vec<Raise<'t>> {
    let mut raises = Vec::new();
    for (item, inner) in draft.reader().tables(table, "escalate") {
        let mut reader = draft.reader();
        reader.known(inner, "[[escalate]]", &keys::ESCALATE);
        if inner.get("when").is_none() {
            reader.missing(item.span.clone(), "[[escalate]]", "when", "when = \"count(*) >= 100\"");
        }
        let severity = header::read_severity(&mut reader, inner, "[[escalate]]", item.span.clone());
        if let (Some(to), Some(entry)) = (severity, inner.get("severity"))
            && to < header.severity
        {
            let message = format!("{} is below the rule's severity, {}", to.name(), header.severity.name());
            let hint = "an escalation raises: lower the rule's severity, or raise this one";
            reader.error(entry.item.span.clone(), message, hint);
        }
        let risk = reader.risk(inner);
        let text = reader.text(inner, "when");
        let when = text.and_then(|text| draft.scope.read_condition(text, place));
        if let (Some(when), Some(text), Some(severity)) = (when, text, severity) {
            raises.push(Raise { when, text, severity, risk });
        }
    }
    raises
}
