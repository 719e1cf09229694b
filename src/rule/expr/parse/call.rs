//! Calls of functions that see one event.

use std::net::IpAddr;

use datafusion::sql::sqlparser::ast::{
    CeilFloorKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
};
use regex::RegexBuilder;

use super::super::node::{Func, JsonStep, Node, Op};
use super::convert::{Converter, constant_text};
use super::words::{ALLOWED, FOREIGN, MEMORY, UNBUILT};
use super::{Place, a};
use crate::diagnostic::nearest;
use crate::event::{Type, Value};
use crate::rule::file::Span;

/// Bytes that a compiled pattern may take.
const PATTERN_LIMIT: usize = 1 << 20;

impl Converter<'_, '_> {
    /// A call: of an aggregate, of a function of the list, or of something else.
    pub fn call(&mut self, expr: &Expr, function: &Function) -> Option<Node> {
        let name = match &function.name.0[..] {
            [part] => part.as_ident().filter(|name| name.quote_style.is_none()),
            _ => None,
        };
        let Some(name) = name.map(|name| name.value.to_ascii_lowercase()) else {
            return self.wrong(expr, "this is not the name of a function", "functions have plain names");
        };
        if function.over.is_some() {
            let hint = "the rule's `window` says which events an aggregate sees";
            return self.wrong(expr, "OVER is not part of the rule language", hint);
        }
        if super::aggregate::is_aggregate(&name) {
            return self.aggregate(expr, &name, function);
        }
        if !ALLOWED.contains(&name.as_str()) {
            return self.unbuilt(expr, &name);
        }
        if function.filter.is_some() {
            let hint = "FILTER belongs to aggregates: `count(*) FILTER (WHERE …)`";
            return self.wrong(expr, format!("\"{name}\" takes no FILTER"), hint);
        }
        let args = self.arguments(expr, &name, function)?;
        self.plain_call(expr, &name, &args)
    }

    /// Says that a function does not exist, or not yet.
    pub fn unbuilt<T>(&mut self, expr: &Expr, name: &str) -> Option<T> {
        let span = self.name_span(expr);
        if MEMORY.contains(&name) && (self.place == Place::Where || self.inside) {
            let message = format!("\"{name}\" looks back, and this place sees one event only");
            let hint = format!("move it to `having`; \"{name}\" is not built yet");
            return self.wrong_at(span, message, hint);
        }
        if let Some((_, instead)) = UNBUILT.iter().find(|(known, _)| *known == name) {
            let hint = match *instead {
                "" => "this version has nothing in its place".to_string(),
                instead => format!("until then: {instead}"),
            };
            return self.wrong_at(span, format!("function \"{name}\" is not built yet"), hint);
        }
        let hint = match FOREIGN.iter().find(|(foreign, _)| *foreign == name) {
            Some((_, ours)) => format!("write {ours}"),
            None => match nearest(name, ALLOWED) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("functions: {}", ALLOWED.join(", ")),
            },
        };
        self.wrong_at(span, format!("function \"{name}\" does not exist"), hint)
    }

    /// Where the name of a called function stands.
    fn name_span(&self, expr: &Expr) -> Span {
        match expr {
            Expr::Function(function) => match super::sql::name_span(&function.name) {
                Some(span) => self.text.place(super::sql::bytes(&self.text.text, span)),
                None => self.span(expr),
            },
            _ => self.span(expr),
        }
    }

    /// The arguments of a call that takes nothing but arguments.
    pub fn arguments<'e>(
        &mut self,
        expr: &Expr,
        name: &str,
        function: &'e Function,
    ) -> Option<Vec<&'e Expr>> {
        let plain = match &function.args {
            FunctionArguments::List(list)
                if list.duplicate_treatment.is_none()
                    && list.clauses.is_empty()
                    && function.within_group.is_empty()
                    && function.null_treatment.is_none() =>
            {
                list.args.iter().map(plain_argument).collect()
            }
            _ => None,
        };
        match plain {
            Some(args) => Some(args),
            None => {
                let hint = format!("write {}", usage(name));
                self.wrong(expr, format!("\"{name}\" is not called like this"), hint)
            }
        }
    }

    /// `floor(x)`, `ceil(x)`: the SQL parser has forms of its own for them.
    pub fn rounding(&mut self, expr: &Expr, name: &str, inner: &Expr, kind: &CeilFloorKind) -> Option<Node> {
        match kind {
            CeilFloorKind::DateTimeField(field) if field.to_string() == "" => {
                self.plain_call(expr, name, &[inner])
            }
            CeilFloorKind::DateTimeField(datafusion::sql::sqlparser::ast::DateTimeField::NoDateTime) => {
                self.plain_call(expr, name, &[inner])
            }
            _ => self.arity(expr, name),
        }
    }

    fn arity<T>(&mut self, expr: &Expr, name: &str) -> Option<T> {
        let span = self.name_span(expr);
        let hint = format!("write {}", usage(name));
        self.wrong_at(span, format!("\"{name}\" has other arguments"), hint)
    }

    fn plain_call(&mut self, expr: &Expr, name: &str, args: &[&Expr]) -> Option<Node> {
        let node = self.dispatch_call(expr, name, args)?;
        let numeric = matches!(
            node.op,
            Op::Call(Func::Abs | Func::Floor | Func::Ceil | Func::Round | Func::Coalesce)
                | Op::Call(Func::SecondsBetween | Func::Cardinality | Func::ArrayHas | Func::Lookup(_))
        );
        if node.has_aggregate() && !numeric {
            let hint = "aggregates take operators, abs, floor, ceil, round, coalesce, cardinality";
            return self.wrong(expr, format!("\"{name}\" cannot read an aggregate"), hint);
        }
        Some(node)
    }

    fn dispatch_call(&mut self, expr: &Expr, name: &str, args: &[&Expr]) -> Option<Node> {
        match (name, args) {
            ("lower", [text]) => Some(call(Func::Lower, vec![self.text_operand(text)?], Type::Text)),
            ("upper", [text]) => Some(call(Func::Upper, vec![self.text_operand(text)?], Type::Text)),
            ("length", [text]) => Some(call(Func::Length, vec![self.text_operand(text)?], Type::Int)),
            ("starts_with", [text, part]) => self.two_texts(Func::StartsWith, text, part),
            ("ends_with", [text, part]) => self.two_texts(Func::EndsWith, text, part),
            ("abs", [x]) => {
                let node = self.number(x)?;
                let kind = node.kind;
                Some(call(Func::Abs, vec![node], kind))
            }
            ("floor", [x]) => Some(call(Func::Floor, vec![self.number(x)?], Type::Int)),
            ("ceil", [x]) => Some(call(Func::Ceil, vec![self.number(x)?], Type::Int)),
            ("round", [x]) => Some(call(Func::Round, vec![self.number(x)?], Type::Int)),
            ("coalesce", [_, _, ..]) => {
                let nodes: Vec<Option<Node>> = args.iter().map(|arg| self.node(arg)).collect();
                let nodes = self.fit(nodes.into_iter().collect::<Option<_>>()?, args)?;
                let kind = nodes.first()?.kind;
                Some(call(Func::Coalesce, nodes, kind))
            }
            ("seconds_between", [from, to]) => {
                let (from, to) = (self.time(from), self.time(to));
                Some(call(Func::SecondsBetween, vec![from?, to?], Type::Float))
            }
            ("array_has", [list, text]) => {
                let (list, text) = (self.list(list), self.text_operand(text));
                Some(call(Func::ArrayHas, vec![list?, text?], Type::Bool))
            }
            ("cardinality", [list]) => Some(call(Func::Cardinality, vec![self.list(list)?], Type::Int)),
            ("json_get", [text, path]) => self.json(text, path, false),
            ("json_list", [text, path]) => self.json(text, path, true),
            ("regexp_like", [text, pattern]) => self.regexp(text, pattern),
            ("lookup", [table, key @ ..]) if !key.is_empty() => self.lookup(expr, table, key),
            ("cidr_match", [ip, networks @ ..]) if !networks.is_empty() => self.cidr(ip, networks),
            _ => self.arity(expr, name),
        }
    }

    fn two_texts(&mut self, func: Func, text: &Expr, part: &Expr) -> Option<Node> {
        let (text, part) = (self.text_operand(text), self.text_operand(part));
        Some(call(func, vec![text?, part?], Type::Bool))
    }

    fn time(&mut self, expr: &Expr) -> Option<Node> {
        let node = self.node(expr)?;
        if let Some(text) = constant_text(&node) {
            return match crate::event::Timestamp::parse_rfc3339(text) {
                Some(time) => Some(Node::constant(Value::Time(time))),
                None => self.not_a_time(expr, text),
            };
        }
        match node.kind {
            Type::Time => Some(node),
            Type::Null => Some(Node { kind: Type::Time, ..node }),
            kind => {
                let written = self.written(expr);
                let hint =
                    "declare the field as a timestamp in the schema, or `TRY_CAST(x AS TIMESTAMP)` a text";
                self.wrong(expr, format!("\"{written}\" is {}, not a timestamp", a(kind)), hint)
            }
        }
    }

    fn list(&mut self, expr: &Expr) -> Option<Node> {
        let node = self.node(expr)?;
        if node.kind == Type::List {
            return Some(node);
        }
        let written = self.written(expr);
        let hint = match node.kind {
            Type::Text => format!("out of JSON text: `json_list({written}, 'path[*]')`"),
            _ => "lists are list fields, and what json_list and values give".into(),
        };
        self.wrong(expr, format!("\"{written}\" is {}, not a list", a(node.kind)), hint)
    }

    /// A literal text argument.
    pub fn literal_text(&mut self, expr: &Expr, what: &str, example: &str) -> Option<String> {
        let node = self.node(expr)?;
        match constant_text(&node) {
            Some(text) => Some(text.to_string()),
            None => {
                let hint = format!("write it as a text: {example}");
                self.wrong(expr, format!("{what} is a literal"), hint)
            }
        }
    }

    fn json(&mut self, text: &Expr, path: &Expr, list: bool) -> Option<Node> {
        let node = self.text_operand(text);
        let literal = self.literal_text(path, "the path", "'a.b[0].c'")?;
        let steps = match json_path(&literal) {
            Ok(steps) => steps,
            Err(message) => {
                let hint = "a path is 'member.member', with [0] for one element and [*] for each";
                return self.wrong(path, message, hint);
            }
        };
        if !list && steps.contains(&JsonStep::Each) {
            let hint = format!("`array_has(json_list({}, '{literal}'), 'text')`", self.written(text));
            return self.wrong(path, "[*] gives many values, and json_get gives one", hint);
        }
        let (func, kind) = match list {
            true => (Func::JsonList(steps), Type::List),
            false => (Func::JsonGet(steps), Type::Text),
        };
        Some(call(func, vec![node?], kind))
    }

    fn regexp(&mut self, text: &Expr, pattern: &Expr) -> Option<Node> {
        let node = self.text_operand(text);
        let literal = self.literal_text(pattern, "the pattern", "'^/admin'")?;
        if let Err(error) = RegexBuilder::new(&literal).size_limit(PATTERN_LIMIT).build() {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or("").trim().trim_start_matches("error: ");
            let hint = "Rust regex syntax: no look-around, no back-references; (?i) ignores case";
            return self.wrong(pattern, format!("not a pattern: {last}"), hint);
        }
        Some(call(Func::RegexpLike(literal), vec![node?], Type::Bool))
    }

    fn cidr(&mut self, ip: &Expr, networks: &[&Expr]) -> Option<Node> {
        let node = self.text_operand(ip);
        let mut found = Vec::new();
        for network in networks {
            for constant in self.constants(network)? {
                let text = constant_text(&constant).unwrap_or("");
                match parse_network(text) {
                    Some(network) => found.push(network),
                    None => {
                        let hint = "a network is an address and a length: '10.0.0.0/8', '2001:db8::/32'";
                        return self.wrong(network, format!("'{text}' is not a network"), hint);
                    }
                }
            }
        }
        Some(call(Func::CidrMatch(found), vec![node?], Type::Bool))
    }
}

fn call(func: Func, args: Vec<Node>, kind: Type) -> Node {
    Node { op: Op::Call(func), args, kind }
}

/// An argument without a name.
pub fn plain_argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// How a function is called.
pub fn usage(name: &str) -> &'static str {
    match name {
        "abs" => "abs(x)",
        "array_has" => "array_has(list, text)",
        "cardinality" => "cardinality(list)",
        "ceil" => "ceil(x)",
        "cidr_match" => "cidr_match(ip, '10.0.0.0/8', …)",
        "coalesce" => "coalesce(a, b, …)",
        "ends_with" => "ends_with(text, suffix)",
        "floor" => "floor(x)",
        "json_get" => "json_get(text, 'a.b')",
        "json_list" => "json_list(text, 'a[*].b')",
        "length" => "length(text)",
        "lookup" => "lookup('table.column', key, …) or lookup('table', key, …)",
        "lower" => "lower(text)",
        "regexp_like" => "regexp_like(text, 'pattern'); (?i) at its start ignores case",
        "round" => "round(x), which gives an integer",
        "seconds_between" => "seconds_between(from, to)",
        "starts_with" => "starts_with(text, prefix)",
        "upper" => "upper(text)",
        "count" => "count(*), count(x) or count(DISTINCT x)",
        "sum" => "sum(x)",
        "avg" => "avg(x)",
        "min" => "min(x)",
        "max" => "max(x)",
        "stddev" => "stddev(x)",
        "percentile" => "percentile(x, 95)",
        "values" => "values(x, 10)",
        _ => "it with plain arguments",
    }
}

/// `a.b[*].c`, `a[0]`, `[*].a` as steps.
pub fn json_path(path: &str) -> Result<Vec<JsonStep>, String> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('[') {
            let (inside, after) = tail.split_once(']').ok_or(format!("'{path}' lacks a ]"))?;
            steps.push(match inside {
                "*" => JsonStep::Each,
                digits => {
                    JsonStep::Index(digits.parse().map_err(|_| format!("[{digits}] is no number and no *"))?)
                }
            });
            rest = match after.strip_prefix('.') {
                Some("") => return Err(format!("'{path}' ends with a dot")),
                Some(more) => more,
                None if after.is_empty() || after.starts_with('[') => after,
                None => return Err(format!("a dot is missing after the ] in '{path}'")),
            };
            continue;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (member, after) = rest.split_at(end);
        if member.is_empty() || (member == "$" && steps.is_empty()) {
            return Err(format!("'{path}' has an empty member, or starts with $"));
        }
        steps.push(JsonStep::Member(member.to_string()));
        rest = match after.strip_prefix('.') {
            Some("") => return Err(format!("'{path}' ends with a dot")),
            Some(more) if more.starts_with('[') => return Err(format!("no dot stands before [ in '{path}'")),
            Some(more) => more,
            None => after,
        };
    }
    if steps.is_empty() { Err("the path is empty".into()) } else { Ok(steps) }
}

/// `10.1.2.3/8` as the network 10.0.0.0/8: bits beyond the length are cleared. An address alone is itself.
pub fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None => bits,
    };
    if length > bits {
        return None;
    }
    Some((masked(address, length), length))
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_paths() {
        let member = |name: &str| JsonStep::Member(name.into());
        assert_eq!(
            json_path("a.b[*].c[0]"),
            Ok(vec![member("a"), member("b"), JsonStep::Each, member("c"), JsonStep::Index(0)])
        );
        assert_eq!(json_path("[*].a"), Ok(vec![JsonStep::Each, member("a")]));
        for bad in ["", ".", "a.", "a..b", "a[", "a[x]", "a[0]b", "a[-1]", "$.a", "a.[0]", "[0]."] {
            assert!(json_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_are_masked() {
        let net = |text: &str| parse_network(text).map(|(ip, length)| format!("{ip}/{length}"));
        assert_eq!(net("10.1.2.3/8"), Some("10.0.0.0/8".into()));
        assert_eq!(net("10.1.2.3"), Some("10.1.2.3/32".into()));
        assert_eq!(net("1.2.3.4/0"), Some("0.0.0.0/0".into()));
        assert_eq!(net("2001:db8::1/32"), Some("2001:db8::/32".into()));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "::1/129", "host/8"] {
            assert_eq!(parse_network(bad), None, "{bad}");
        }
    }
}
