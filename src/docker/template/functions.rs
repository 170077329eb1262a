//! The functions of templates: Go's own that compare, look up and print, and those that docker adds. Pure.

use std::cmp::Ordering;

use serde_json::Value;

/// What a function is called with.
#[derive(Debug)]
pub(super) struct Function {
    pub name: &'static str,
    /// Arguments that it needs.
    pub least: usize,
    /// Arguments that it takes.
    pub most: usize,
}

const fn function(name: &'static str, least: usize, most: usize) -> Function {
    Function { name, least, most }
}

/// Every function. `and` and `or` are the evaluator's: they do not ask for what no longer matters.
pub(super) const FUNCTIONS: [Function; 23] = [
    function("and", 1, usize::MAX),
    function("or", 1, usize::MAX),
    function("not", 1, 1),
    function("eq", 2, usize::MAX),
    function("ne", 2, 2),
    function("lt", 2, 2),
    function("le", 2, 2),
    function("gt", 2, 2),
    function("ge", 2, 2),
    function("index", 1, usize::MAX),
    function("slice", 1, 3),
    function("len", 1, 1),
    function("print", 0, usize::MAX),
    function("println", 0, usize::MAX),
    function("printf", 1, usize::MAX),
    function("json", 1, 1),
    function("join", 2, 2),
    function("split", 2, 2),
    function("lower", 1, 1),
    function("upper", 1, 1),
    function("title", 1, 1),
    function("pad", 3, 3),
    function("truncate", 2, 2),
];

/// More blanks than that are a mistake.
const MOST_BLANKS: usize = 10_000;

const NO_VALUE: &str = "<no value>";

/// What `name` makes of its arguments, of which there are as many as it takes. `None`: there is no such field.
pub(super) fn apply(name: &str, arguments: &[Option<Value>]) -> Result<Option<Value>, String> {
    let failed = |reason: String| format!("`{name}`: {reason}");
    let value: Value = match name {
        "not" => (!is_true(&arguments[0])).into(),
        "eq" => {
            let mut same = false;
            for other in &arguments[1..] {
                same |= equal(&arguments[0], other).map_err(failed)?;
            }
            same.into()
        }
        "ne" => (!equal(&arguments[0], &arguments[1]).map_err(failed)?).into(),
        "lt" | "le" | "gt" | "ge" => {
            let order = order(&arguments[0], &arguments[1]).map_err(failed)?;
            match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            }
            .into()
        }
        "index" => return arguments[1..].iter().try_fold(arguments[0].clone(), index).map_err(failed),
        "slice" => slice(arguments).map_err(failed)?,
        "len" => match &arguments[0] {
            Some(Value::Array(list)) => list.len().into(),
            Some(Value::Object(map)) => map.len().into(),
            Some(Value::String(text)) => text.len().into(),
            None | Some(Value::Null) => 0.into(),
            Some(other) => return Err(failed(format!("{other} has no length"))),
        },
        "print" => arguments.iter().map(show).collect::<String>().into(),
        "println" => (arguments.iter().map(show).collect::<Vec<_>>().join(" ") + "\n").into(),
        "printf" => printf(&show(&arguments[0]), &arguments[1..]).map_err(failed)?.into(),
        "json" => serde_json::to_string(&arguments[0]).unwrap_or_default().into(),
        "join" => match &arguments[0] {
            Some(Value::Array(list)) => {
                list.iter().map(show_value).collect::<Vec<_>>().join(&show(&arguments[1])).into()
            }
            None | Some(Value::Null) => "".into(),
            Some(other) => return Err(failed(format!("{other} is no list"))),
        },
        "split" => show(&arguments[0]).split(&show(&arguments[1])).map(Value::from).collect::<Vec<_>>().into(),
        "lower" => show(&arguments[0]).to_lowercase().into(),
        "upper" => show(&arguments[0]).to_uppercase().into(),
        "title" => title(&show(&arguments[0])).into(),
        "pad" => {
            let (before, after) = (number(&arguments[1]).map_err(failed)?, number(&arguments[2]).map_err(failed)?);
            if before.max(after) > MOST_BLANKS {
                return Err(failed("too many blanks".to_owned()));
            }
            format!("{}{}{}", " ".repeat(before), show(&arguments[0]), " ".repeat(after)).into()
        }
        "truncate" => {
            show(&arguments[0]).chars().take(number(&arguments[1]).map_err(failed)?).collect::<String>().into()
        }
        _ => return Err(failed("not defined".to_owned())),
    };
    Ok(Some(value))
}

pub(super) fn is_true(value: &Option<Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(on)) => *on,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
    }
}

/// As Go prints it.
pub(super) fn show(value: &Option<Value>) -> String {
    value.as_ref().map_or(NO_VALUE.to_owned(), show_value)
}

fn show_value(value: &Value) -> String {
    match value {
        Value::Null => NO_VALUE.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(show_value).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", show_value(value))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

fn equal(left: &Option<Value>, right: &Option<Value>) -> Result<bool, String> {
    match (left, right) {
        (None | Some(Value::Null), None | Some(Value::Null)) => Ok(true),
        (None | Some(Value::Null), _) | (_, None | Some(Value::Null)) => Ok(false),
        (Some(Value::Bool(left)), Some(Value::Bool(right))) => Ok(left == right),
        _ => order(left, right).map(Ordering::is_eq),
    }
}

fn order(left: &Option<Value>, right: &Option<Value>) -> Result<Ordering, String> {
    let found = match (left, right) {
        (Some(Value::String(left)), Some(Value::String(right))) => Some(left.cmp(right)),
        (Some(Value::Number(left)), Some(Value::Number(right))) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right)),
        },
        _ => None,
    };
    let json = |value: &Option<Value>| serde_json::to_string(value).unwrap_or_default();
    found.ok_or_else(|| format!("{} and {} cannot be compared", json(left), json(right)))
}

fn index(value: Option<Value>, key: &Option<Value>) -> Result<Option<Value>, String> {
    match (value, key) {
        (Some(Value::Object(map)), Some(Value::String(name))) => Ok(match map.get(name) {
            // A map of strings has an empty one under every other key; labels are such a map.
            None => map.values().all(Value::is_string).then(|| Value::String(String::new())),
            found => found.cloned(),
        }),
        (None | Some(Value::Null), Some(Value::String(_))) => Ok(None),
        (Some(Value::Array(list)), key) => {
            let at = number(key)?;
            list.get(at).cloned().map(Some).ok_or_else(|| format!("{at} is out of range: there are {}", list.len()))
        }
        (None | Some(Value::Null), _) => Err("there is no list".to_owned()),
        (Some(value), _) => Err(format!("{value} has no such key: {}", show(key))),
    }
}

fn slice(arguments: &[Option<Value>]) -> Result<Value, String> {
    let bound = |at: usize, otherwise: usize| arguments.get(at).map_or(Ok(otherwise), number);
    let range = |length: usize| -> Result<_, String> {
        let (from, to) = (bound(1, 0)?, bound(2, length)?);
        let fits = from <= to && to <= length;
        if fits { Ok(from..to) } else { Err(format!("{from} to {to} is out of range: there are {length}")) }
    };
    match &arguments[0] {
        Some(Value::String(text)) => {
            let range = range(text.len())?;
            text.get(range).map(Value::from).ok_or_else(|| "this would cut a character".to_owned())
        }
        Some(Value::Array(list)) => Ok(list[range(list.len())?].to_vec().into()),
        other => Err(format!("{} cannot be cut", show(other))),
    }
}

fn number(value: &Option<Value>) -> Result<usize, String> {
    let number = value.as_ref().and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("`{}` is no whole number", show(value)))
}

/// Each word begins with a capital.
fn title(text: &str) -> String {
    let mut before = ' ';
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        if before.is_alphanumeric() || "_'".contains(before) {
            titled.push(c);
        } else {
            titled.extend(c.to_uppercase());
        }
        before = c;
    }
    titled
}

/// `%s`, `%v`, `%q`, `%d`, `%x`, `%t` and `%f`, with `-`, `0`, width and precision.
fn printf(format: &str, arguments: &[Option<Value>]) -> Result<String, String> {
    let mut text = String::new();
    let mut left = arguments.iter();
    let mut characters = format.chars().peekable();
    while let Some(c) = characters.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let (mut to_the_left, mut zeros) = (false, false);
        while let Some(flag) = characters.next_if(|c| "-0".contains(*c)) {
            to_the_left |= flag == '-';
            zeros |= flag == '0';
        }
        let digits = |characters: &mut std::iter::Peekable<std::str::Chars<'_>>| -> Result<Option<usize>, String> {
            let typed: String = std::iter::from_fn(|| characters.next_if(char::is_ascii_digit)).collect();
            let number = if typed.is_empty() { None } else { Some(typed.parse().unwrap_or(usize::MAX)) };
            if number > Some(MOST_BLANKS) { Err(format!("{typed} is too wide")) } else { Ok(number) }
        };
        let width = digits(&mut characters)?.unwrap_or(0);
        let precision = match characters.next_if_eq(&'.') {
            Some(_) => Some(digits(&mut characters)?.unwrap_or(0)),
            None => None,
        };
        let verb = characters.next().ok_or("`%` at the end")?;
        if verb == '%' {
            text.push('%');
            continue;
        }
        let argument = left.next().ok_or_else(|| format!("`%{verb}` has no argument"))?;
        let wrong = || format!("`%{verb}` cannot show `{}`", show(argument));
        let cut = |text: String| precision.map_or(text.clone(), |most| text.chars().take(most).collect());
        let shown = match (verb, argument) {
            ('v', value) => show(value),
            ('s', None | Some(Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_))) => {
                cut(show(argument))
            }
            ('q', Some(Value::String(text))) => Value::from(cut(text.clone())).to_string(),
            ('t', Some(Value::Bool(on))) => on.to_string(),
            ('d', Some(Value::Number(number))) if !number.is_f64() => number.to_string(),
            ('x', Some(Value::Number(number))) => format!("{:x}", number.as_u64().ok_or_else(wrong)?),
            ('x', Some(Value::String(text))) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('f', Some(Value::Number(number))) => {
                format!("{:.*}", precision.unwrap_or(6), number.as_f64().ok_or_else(wrong)?)
            }
            ('s' | 'q' | 't' | 'd' | 'x' | 'f', _) => return Err(wrong()),
            _ => return Err(format!("`%{verb}` is not known")),
        };
        let is_number = argument.as_ref().is_some_and(Value::is_number);
        text.push_str(&match (to_the_left, zeros && is_number) {
            (true, _) => format!("{shown:<width$}"),
            (false, true) => format!("{shown:0>width$}"),
            (false, false) => format!("{shown:>width$}"),
        });
    }
    match left.next() {
        None => Ok(text),
        Some(value) => Err(format!("`{}` is too much", show(value))),
    }
}
