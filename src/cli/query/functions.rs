//! Functions of the rule language that DataFusion lacks, by the very kernels that rules run.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::Array;
use arrow::compute::cast;
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr_fn::SimpleScalarUDF;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, Volatility};

use crate::event::Type;
use crate::rule::expr::compile::Compiled;
use crate::rule::expr::node::{Func, Node, Op};
use crate::rule::expr::parse::{json_path, parse_network};
use crate::schema::arrow_type;

/// What makes an operation of a function's constant arguments.
type Make = fn(&[String]) -> std::result::Result<Func, String>;

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    let json_get: Make = |words| json_path(first(words)?).map(Func::JsonGet);
    let json_list: Make = |words| json_path(first(words)?).map(Func::JsonList);
    let cidr: Make = |words| {
        let networks: Option<Vec<(IpAddr, u8)>> = words.iter().map(|word| parse_network(word)).collect();
        networks.map(Func::CidrMatch).ok_or_else(|| "such as '10.0.0.0/8'".to_owned())
    };
    vec![
        function("json_get", &[Type::Text], true, Type::Text, json_get),
        function("json_list", &[Type::Text], true, Type::List, json_list),
        function("cidr_match", &[Type::Text], true, Type::Bool, cidr),
        function("seconds_between", &[Type::Time, Type::Time], false, Type::Float, |_| {
            Ok(Func::SecondsBetween)
        }),
        function("array_has", &[Type::List, Type::Text], false, Type::Bool, |_| Ok(Func::ArrayHas)),
        function("cardinality", &[Type::List], false, Type::Int, |_| Ok(Func::Cardinality)),
    ]
}

fn first(words: &[String]) -> std::result::Result<&str, String> {
    words.first().map(String::as_str).ok_or_else(|| "a path such as 'a.b' is missing".to_owned())
}

/// A function of columns, and of constants behind them if it has any.
fn function(
    name: &'static str,
    takes: &'static [Type],
    constants: bool,
    gives: Type,
    make: Make,
) -> ScalarUDF {
    let run = move |args: &[ColumnarValue]| -> Result<ColumnarValue> {
        if args.len() < takes.len() || (!constants && args.len() > takes.len()) {
            return plan_err!("{name} takes {} arguments", takes.len());
        }
        let (columns, rest) = args.split_at(takes.len());
        let words: Vec<String> = rest.iter().map(|word| constant(name, word)).collect::<Result<_>>()?;
        let func = make(&words).map_err(|problem| DataFusionError::Plan(format!("{name}: {problem}")))?;
        apply(columns, takes, gives, func)
    };
    let signature = Signature::variadic_any(Volatility::Immutable);
    let udf = SimpleScalarUDF::new_with_signature(name, signature, arrow_type(gives), Arc::new(run));
    ScalarUDF::new_from_impl(udf)
}

/// A constant text.
fn constant(name: &str, value: &ColumnarValue) -> Result<String> {
    match value {
        ColumnarValue::Scalar(
            ScalarValue::Utf8(Some(text))
            | ScalarValue::Utf8View(Some(text))
            | ScalarValue::LargeUtf8(Some(text)),
        ) => Ok(text.clone()),
        _ => plan_err!("{name}: what stands behind its first argument must be a text in quotes"),
    }
}

fn apply(columns: &[ColumnarValue], takes: &[Type], gives: Type, func: Func) -> Result<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(columns)?;
    let rows = arrays.first().map_or(0, |array| array.len());
    let fields: Vec<Field> = takes.iter().map(|kind| Field::new("x", arrow_type(*kind), true)).collect();
    let arrays = arrays
        .iter()
        .zip(&fields)
        .map(|(array, field)| {
            if array.data_type() == field.data_type() {
                Ok(array.clone())
            } else {
                cast(array, field.data_type())
            }
        })
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let args = (0..).zip(takes).map(|(at, kind)| Node { op: Op::Column(at), args: Vec::new(), kind: *kind });
    let node = Node { op: Op::Call(func), args: args.collect(), kind: gives };
    let compiled = Compiled::new(&node).map_err(DataFusionError::Plan)?;
    let (array, _) = compiled.evaluate(&batch);
    let scalar = columns.iter().all(|column| matches!(column, ColumnarValue::Scalar(_))) && rows == 1;
    if scalar {
        Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
    } else {
        Ok(ColumnarValue::Array(array))
    }
}
