//! Text → the SQL parser's tree, its syntax errors put plainly, and where things stand.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

/// Bytes of one expression. Longer ones would take the parser deep.
const MAX_LENGTH: usize = 16 * 1024;

/// How deep parentheses and CASE may nest. The parser tries alternatives at each level of some forms, so that
/// a mistake in the innermost costs it time that doubles with every level.
const MAX_NESTING: usize = 10;

/// How deep the parser may go: a level takes it much stack in builds that are not optimised.
const MAX_RECURSION: usize = 16;

/// Words and operators of one expression, literals and commas not counted. Operators nest to the left without
/// a limit of the parser's, and a tree is as deep as there are operators.
const MAX_WORDS: usize = 1000;

/// A syntax error with its place in the text.
#[derive(Debug)]
pub struct Fault {
    pub span: Range<usize>,
    pub message: String,
    pub hint: String,
}

/// Parses one expression and nothing after it.
pub fn parse(text: &str) -> Result<Expr, Fault> {
    if text.trim().is_empty() {
        return Err(whole(text, "the expression is empty", "leave the key out, or write a condition"));
    }
    if text.len() > MAX_LENGTH {
        let message = format!("the expression is longer than {MAX_LENGTH} bytes");
        return Err(whole(text, &message, "put long lists into lets and use `IN (name)`"));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| explain(text, error.into()))?;
    if tokens.iter().filter(|token| is_word(&token.token)).count() > MAX_WORDS {
        let hint = "a long chain of `x = … OR x = …` is `x IN (…)`; a part can be a let";
        return Err(whole(text, "the expression is too big", hint));
    }
    if nesting(&tokens) > MAX_NESTING {
        return Err(too_deep(text));
    }
    let parser = Parser::new(&GenericDialect {}).with_recursion_limit(MAX_RECURSION);
    let mut parser = parser.with_tokens_with_locations(tokens);
    let expr = parser.parse_expr().map_err(|error| explain(text, error))?;
    let next = parser.peek_token();
    match &next.token {
        Token::EOF => Ok(expr),
        token => Err(Fault {
            span: bytes(text, next.span),
            message: format!("\"{token}\" does not belong here"),
            hint: stray_hint(&token.to_string()).into(),
        }),
    }
}

fn too_deep(text: &str) -> Fault {
    whole(text, "the expression is nested too deeply", "give inner parts a name in [let]")
}

/// How deep brackets and CASE nest in a text.
fn nesting(tokens: &[TokenWithSpan]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Word(word) if word.keyword == Keyword::CASE => depth += 1,
            Token::Word(word) if word.keyword == Keyword::END => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn is_word(token: &Token) -> bool {
    !matches!(
        token,
        Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::SingleQuotedString(_) | Token::EOF
    )
}

fn stray_hint(token: &str) -> &'static str {
    match token {
        ";" => "an expression ends without a semicolon",
        "&" | "&&" => "write AND",
        "|" => "write OR",
        _ => "two conditions are joined by AND or OR; a text stands in single quotes",
    }
}

fn whole(text: &str, message: &str, hint: &str) -> Fault {
    Fault { span: 0..text.len(), message: message.into(), hint: hint.into() }
}

/// The parser's message without its place, and the place as bytes.
fn explain(text: &str, error: ParserError) -> Fault {
    let raw = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => {
            return too_deep(text);
        }
    };
    let (message, location) = match raw.rsplit_once(" at Line: ") {
        Some((message, place)) => (message.to_string(), read_location(place)),
        None => (raw, None),
    };
    let at = location.map_or(text.len(), |location| offset(text, location));
    let end = word_end(text, at);
    let plain = lower_first(&message.replace("found: EOF", "but the text ends here"));
    Fault {
        span: at..end,
        message: format!("not SQL: {}", plain.replace("Expected: ", "")),
        hint: hint(&message),
    }
}

fn hint(message: &str) -> String {
    if message.contains("Unterminated string") {
        "a text starts and ends with a single quote; a quote in it is doubled: 'it''s'".into()
    } else if message.contains("EOF") {
        "something is missing at the end: an operand, a closing parenthesis, or END".into()
    } else {
        "an operator stands between two operands; texts take single quotes".into()
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn read_location(place: &str) -> Option<Location> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
}

/// Where the word that starts at `at` ends.
fn word_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or("");
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let one = rest.chars().next().map_or(0, char::len_utf8);
    at + word.max(one)
}

/// The byte offset of a place that counts lines and characters from 1.
fn offset(text: &str, location: Location) -> usize {
    let mut start = 0;
    for _ in 1..location.line {
        match text.get(start..).and_then(|rest| rest.find('\n')) {
            Some(end) => start += end + 1,
            None => return text.len(),
        }
    }
    let rest = text.get(start..).unwrap_or("");
    let skip = usize::try_from(location.column.saturating_sub(1)).unwrap_or(usize::MAX);
    start + rest.char_indices().nth(skip).map_or(rest.len(), |(at, _)| at)
}

/// The bytes of a span of the parser; the whole text if the parser kept none.
pub fn bytes(text: &str, span: Span) -> Range<usize> {
    if span.start.line == 0 {
        return 0..text.len();
    }
    let start = offset(text, span.start);
    start..offset(text, span.end).max(start)
}

/// The bytes from the first to the last thing in an expression whose place the parser keeps.
pub fn reach(text: &str, expr: &Expr) -> Range<usize> {
    match (first(expr), last(expr)) {
        (Some(start), Some((end, is_call))) => {
            let start = bytes(text, start).start;
            start..closed(text, start, bytes(text, end).end.max(start), is_call)
        }
        _ => 0..text.len(),
    }
}

/// Where the parentheses end that are open at `end`, whose own places the parser does not keep. The name of a
/// call whose arguments have no place takes its parentheses along.
fn closed(text: &str, start: usize, end: usize, is_call: bool) -> usize {
    let mut open: usize = 0;
    let mut quoted = false;
    let mut taken = end;
    for (at, c) in text.get(start..).unwrap_or("").char_indices().map(|(at, c)| (start + at, c)) {
        let after = at + c.len_utf8();
        match c {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' if at < end || (is_call && at == end) => open += 1,
            '(' if open > 0 => open += 1,
            ')' if open > 0 => {
                open -= 1;
                taken = taken.max(after);
            }
            c if at >= end && open == 0 && !c.is_whitespace() => break,
            _ => {}
        }
        if after >= end && open == 0 && !(is_call && after == end) {
            break;
        }
    }
    if open == 0 { taken } else { end }
}

/// The span of a leaf, or of the word that an expression begins or ends with.
fn leaf(expr: &Expr, begin: bool) -> Option<Span> {
    match expr {
        Expr::Identifier(name) => Some(name.span),
        Expr::CompoundIdentifier(names) => {
            if begin {
                names.first().map(|name| name.span)
            } else {
                names.last().map(|name| name.span)
            }
        }
        Expr::Value(value) => Some(value.span),
        Expr::TypedString(typed) => Some(typed.value.span),
        Expr::Case { case_token, end_token, .. } => {
            Some(if begin { case_token.0.span } else { end_token.0.span })
        }
        Expr::Function(function) => name_span(&function.name),
        Expr::Wildcard(token) => Some(token.0.span),
        _ => None,
    }
}

/// The span of a function's name.
pub fn name_span(name: &datafusion::sql::sqlparser::ast::ObjectName) -> Option<Span> {
    name.0.first().and_then(|part| part.as_ident()).map(|name| name.span)
}

/// The leftmost leaf: a loop, since operators nest to the left as deeply as the text is long.
fn first(mut expr: &Expr) -> Option<Span> {
    loop {
        expr = match inner(expr) {
            Some((left, _)) => left,
            None => return leaf(expr, true),
        };
    }
}

/// The rightmost leaf, and whether it is the name of a call.
fn last(mut expr: &Expr) -> Option<(Span, bool)> {
    loop {
        expr = match (inner(expr), last_argument(expr)) {
            (Some((_, right)), _) => right,
            (None, Some(argument)) => argument,
            (None, None) => return leaf(expr, false).map(|span| (span, matches!(expr, Expr::Function(_)))),
        };
    }
}

fn last_argument(expr: &Expr) -> Option<&Expr> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.last()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// The first and the last operand of an operator.
fn inner(expr: &Expr) -> Option<(&Expr, &Expr)> {
    Some(match expr {
        Expr::BinaryOp { left, right, .. }
        | Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right)
        | Expr::AnyOp { left, right, .. }
        | Expr::AllOp { left, right, .. } => (left, right),
        Expr::IsNull(x)
        | Expr::IsNotNull(x)
        | Expr::IsTrue(x)
        | Expr::IsNotTrue(x)
        | Expr::IsFalse(x)
        | Expr::IsNotFalse(x)
        | Expr::IsUnknown(x)
        | Expr::IsNotUnknown(x)
        | Expr::Nested(x)
        | Expr::UnaryOp { expr: x, .. }
        | Expr::Cast { expr: x, .. }
        | Expr::Ceil { expr: x, .. }
        | Expr::Floor { expr: x, .. }
        | Expr::Extract { expr: x, .. }
        | Expr::Substring { expr: x, .. }
        | Expr::Trim { expr: x, .. }
        | Expr::Position { expr: x, .. }
        | Expr::Collate { expr: x, .. }
        | Expr::InSubquery { expr: x, .. }
        | Expr::InUnnest { expr: x, .. }
        | Expr::AtTimeZone { timestamp: x, .. }
        | Expr::CompoundFieldAccess { root: x, .. }
        | Expr::JsonAccess { value: x, .. } => (x, x),
        Expr::Between { expr, high, .. } => (expr, high),
        Expr::InList { expr, list, .. } => (expr, list.last().unwrap_or(expr)),
        Expr::Like { expr, pattern, .. }
        | Expr::ILike { expr, pattern, .. }
        | Expr::SimilarTo { expr, pattern, .. }
        | Expr::RLike { expr, pattern, .. } => (expr, pattern),
        _ => return None,
    })
}

/// Whether an expression is that name and nothing else.
pub fn is_bare_name(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Identifier(found) if found.quote_style.is_none() && found.value == name)
}
