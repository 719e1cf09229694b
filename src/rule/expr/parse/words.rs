//! The functions of the language by name.

/// Every function that this version has.
pub const ALLOWED: [&str; 26] = [
    "abs",
    "array_has",
    "avg",
    "cardinality",
    "ceil",
    "cidr_match",
    "coalesce",
    "count",
    "ends_with",
    "floor",
    "json_get",
    "json_list",
    "length",
    "lookup",
    "lower",
    "max",
    "min",
    "percentile",
    "regexp_like",
    "round",
    "seconds_between",
    "starts_with",
    "stddev",
    "sum",
    "upper",
    "values",
];

/// Functions of the language that this version has not, and what to do instead.
pub const UNBUILT: [(&str, &str); 27] = [
    ("bit_test", ""),
    ("decayed_sum", "`sum(x)` over a window adds without decay"),
    ("elapsed", ""),
    ("first_value", "`values(x, 1)` gives the first distinct value of the window"),
    ("geohash", "`floor(lat / 0.05)` and `floor(lon / 0.05)` make cells that can be keys"),
    ("greatest", "`CASE WHEN a > b THEN a ELSE b END`"),
    ("haversine_km", ""),
    ("lag", ""),
    ("last_value", ""),
    ("least", "`CASE WHEN a < b THEN a ELSE b END`"),
    ("left", "`starts_with(text, prefix)` compares a beginning, `regexp_like(text, pattern)` anything"),
    ("ln", ""),
    ("local_hour", ""),
    ("local_weekday", ""),
    ("median", "`percentile(x, 50)` is it, to 1 %"),
    ("nullif", "`CASE WHEN a = b THEN NULL ELSE a END`"),
    ("position", "`regexp_like(text, pattern)` finds a part"),
    ("power", "`x * x`"),
    ("right", "`ends_with(text, suffix)` compares an end, `regexp_like(text, pattern)` anything"),
    ("split_part", "`regexp_like(text, pattern)` tests a part"),
    ("sqrt", "compare squares"),
    ("strpos", "`regexp_like(text, pattern)` finds a part"),
    ("substr", "`regexp_like(text, pattern)` tests a part"),
    ("substring", "`regexp_like(text, pattern)` tests a part"),
    ("trim", "a field's `normalize = [\"trim\"]` in the schema trims it"),
    ("url_decode", ""),
    ("version_lt", ""),
];

/// Functions that look back: never in `where`.
pub const MEMORY: [&str; 2] = ["lag", "elapsed"];

/// What other dialects call functions of the language.
pub const FOREIGN: [(&str, &str); 16] = [
    ("array_contains", "array_has(list, text)"),
    ("array_length", "cardinality(list)"),
    ("ceiling", "ceil(x)"),
    ("char_length", "length(text)"),
    ("concat", "a || b"),
    ("contains", "x LIKE '%part%'"),
    ("count_distinct", "count(DISTINCT x)"),
    ("approx_distinct", "count(DISTINCT x)"),
    ("ifnull", "coalesce(a, b)"),
    ("isnull", "x IS NULL"),
    ("len", "length(text)"),
    ("mean", "avg(x)"),
    ("nvl", "coalesce(a, b)"),
    ("array_agg", "values(x, 10)"),
    ("regexp_match", "regexp_like(text, pattern)"),
    ("datediff", "seconds_between(a, b)"),
];

/// Words of SQL that the language uses, and which therefore name nothing.
pub const SQL: [&str; 32] = [
    "all", "and", "any", "array", "as", "asc", "between", "by", "case", "cast", "desc", "distinct", "else",
    "end", "escape", "exists", "false", "filter", "from", "in", "interval", "is", "like", "not", "null",
    "or", "select", "then", "true", "try_cast", "when", "where",
];
