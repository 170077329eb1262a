//! The part of Go's templates that `--format` is used with: fields, variables, `if`, `with`, `range` and functions. Pure.
//!
//! A field that is not there prints `<no value>`, and is no error: whoever asks for a field of another program gets an answer.
//! Everything else that is not known is refused.

use serde_json::{Map, Value};

use super::error::{DockerError, DockerResult};

mod evaluate;
mod functions;
mod parse;
mod words;

use evaluate::Evaluator;
use parse::{Call, Node, Word};

/// A template that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    text: String,
    nodes: Vec<Node>,
    /// It began with `table `: a heading is to be printed.
    pub is_table: bool,
}

impl Template {
    /// Reads `text`. `json` stands for `{{json .}}`.
    pub fn parse(text: &str) -> DockerResult<Self> {
        let (body, is_table) = match text.trim() {
            "json" => ("{{json .}}", false),
            "table" => ("", true),
            _ => text.strip_prefix("table ").map_or((text, false), |rest| (rest.trim_start(), true)),
        };
        match parse::parse(body) {
            Ok(nodes) => Ok(Self { text: body.to_owned(), nodes, is_table }),
            Err(reason) => Err(DockerError::Template { text: body.to_owned(), reason }),
        }
    }

    /// What it prints for `value`.
    pub fn render(&self, value: &Value) -> DockerResult<String> {
        self.render_labelled(value, None)
    }

    /// What it prints for `value`, which has `labels`.
    pub fn render_labelled(&self, value: &Value, labels: Option<&Map<String, Value>>) -> DockerResult<String> {
        let mut evaluator = Evaluator::new(value, labels);
        match evaluator.write(&self.nodes, value) {
            Ok(()) => Ok(evaluator.text()),
            Err(reason) => Err(DockerError::Template { text: self.text.clone(), reason }),
        }
    }

    /// The last names of its fields, in capitals: the heading of a table.
    #[must_use]
    pub fn heading(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            match node {
                Node::Text(part) => text.push_str(part),
                Node::Print(calls) => text.push_str(&calls.first().map(heading).unwrap_or_default()),
                Node::Set { .. } | Node::Block(_) => {}
            }
        }
        text
    }
}

fn heading(call: &Call) -> String {
    match call {
        Call::Label(Word::Literal(Value::String(name))) => name.clone(),
        Call::Value(Word::Field(path)) => path.last().map_or(String::new(), |name| name.to_uppercase()),
        Call::Function(_, words) => words
            .iter()
            .find_map(|word| match word {
                Word::Field(path) => path.last().map(|name| name.to_uppercase()),
                _ => None,
            })
            .unwrap_or_default(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_programs_ask_for() {
        let value = json!({
            "ID": "abc", "Names": "shop", "RepoTags": ["a:1", "a:2"], "Empty": [], "Runtimes": {"runc": {}},
            "Server": {"Version": "28.0"}, "Config": {"Labels": {"manager": "x", "a b": "y"}, "Tty": false},
            "Mounts": [{"Source": "/a"}, {"Source": "/b"}], "Size": 3,
            "Ports": {"80/tcp": [{"HostIp": "::", "HostPort": "8080"}]},
        });
        for (template, expected) in [
            ("{{.ID}}\t{{.Names}}", "abc\tshop"),
            ("{{.ID}}\\t{{.Names}}", "abc\tshop"),
            ("{{ .Server.Version }}", "28.0"),
            ("{{.Runtimes.nvidia}}", "<no value>"),
            ("{{.Host.Security.SELinuxEnabled}}", "<no value>"),
            ("{{if .RepoTags}}{{index .RepoTags 0}}{{end}}", "a:1"),
            ("{{if .Empty}}{{index .Empty 0}}{{else}}none{{end}}", "none"),
            ("{{ index .Config.Labels \"manager\" }}", "x"),
            ("{{index .Config.Labels \"a b\"}}", "y"),
            ("{{index .Config.Labels \"none\"}}", ""),
            ("{{index .Config \"none\"}}", "<no value>"),
            ("{{json .Server}}", "{\"Version\":\"28.0\"}"),
            ("{{ json .Server }}", "{\"Version\":\"28.0\"}"),
            ("{{json .Server }}", "{\"Version\":\"28.0\"}"),
            ("{{.Server | json}}", "{\"Version\":\"28.0\"}"),
            ("{{range .Mounts}}{{.Source}} {{end}}", "/a /b "),
            ("{{range .Empty}}x{{else}}nothing{{end}}", "nothing"),
            ("{{len .RepoTags}} {{.Size}} {{.Config.Tty}}", "2 3 false"),
            ("{{if and .ID (not .Empty)}}yes{{end}}", "yes"),
            ("{{if eq .ID \"abc\"}}same{{end}}", "same"),
            ("{{join .RepoTags \", \"}} {{upper .ID}}", "a:1, a:2 ABC"),
            ("{{.RepoTags}} {{.Config.Labels}}", "[a:1 a:2] map[a b:y manager:x]"),
            ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{index .Ports \"80/tcp\" 0 \"HostIp\"}}", "::"),
            ("{{range $p, $c := .Ports}}{{$p}}={{(index $c 0).HostPort}} {{end}}", "80/tcp=8080 "),
            ("{{range $i, $t := .RepoTags}}{{if $i}}, {{end}}{{$i}}{{$t}}{{end}}", "0a:1, 1a:2"),
            ("{{range $t := .RepoTags}}{{$t}}{{$.ID}}{{end}}", "a:1abca:2abc"),
            ("{{$x := .Names}}{{$x}}{{if .ID}}{{$x = \"y\"}}{{end}}{{$x}}", "shopy"),
            ("{{with .Server}}{{.Version}}{{else}}none{{end}}", "28.0"),
            ("{{with $s := .Empty}}x{{else with .ID}}{{.}}{{end}}", "abc"),
            ("{{if .Empty}}a{{else if eq .ID \"x\" \"abc\"}}b{{else}}c{{end}}", "b"),
            ("{{if and .Empty (index .Empty 0)}}x{{else}}y{{end}}", "y"),
            ("{{or .Empty .ID}} {{.ID | eq \"abc\"}} {{ne .Size 3}}", "abc true false"),
            ("{{lt .Size 4}} {{le .Size 3}} {{gt .Size 3}} {{ge \"b\" \"a\"}}", "true true false true"),
            (
                "{{printf \"%.2s|%-4s|%5s|%03d|%q|%x|%v|%%\" .ID .ID .ID .Size .ID .ID .Size}}",
                "ab|abc |  abc|003|\"abc\"|616263|3|%",
            ),
            ("{{slice .ID 1}}{{slice .ID 0 2}}{{.ID | printf \"%s\"}}", "bcababc"),
            ("{{index (split \"a/b c\" \"/\") 1 | title}} {{lower \"AB\"}}", "B C ab"),
            ("{{pad .ID 1 2}}|{{truncate .ID 2}}|{{truncate .ID 9}}", " abc  |ab|abc"),
            ("{{println .ID 1}}{{print \"}}\"}}{{/* nothing */}}", "abc 1\n}}"),
            ("a {{- .ID -}} b", "aabcb"),
            ("{{.Config.Nothing | len}}", "0"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(Template::parse(template).unwrap().render(&value).unwrap(), expected, "{template}");
        }
        let table = Template::parse("table {{.ID}}\t{{.Names}}").unwrap();
        assert!(table.is_table);
        assert_eq!((table.heading().as_str(), table.render(&value).unwrap().as_str()), ("ID\tNAMES", "abc\tshop"));
        assert_eq!(Template::parse("json").unwrap().render(&json!({"a": 1})).unwrap(), "{\"a\":1}");
    }

    #[test]
    fn labels_are_a_method() {
        let labels = json!({"a": "b,c=d"});
        let row = json!({"Names": "shop", "Labels": "a=b,c=d"});
        let template = Template::parse("{{.Names}} {{.Label \"a\"}}{{.Label \"b\"}}").unwrap();
        assert_eq!(template.render_labelled(&row, labels.as_object()).unwrap(), "shop b,c=d");
        assert!(template.render(&row).is_err());
    }

    #[test]
    fn what_cannot_be_read() {
        let deep = format!("{{{{{}.A{}}}}}", "(".repeat(200), ")".repeat(200));
        for (template, reason) in [
            ("{{", "`{{` at 1 has no `}}`"),
            ("x{{.A", "`{{` at 2 has no `}}`"),
            ("{{if .A}}x", "`if` at 3 without `end`"),
            ("{{end}}", "`end` at 3 without a beginning"),
            ("{{}}", "nothing to print"),
            ("{{(.A}}", "`(` at 3 has no `)`"),
            ("{{\"x}}", "`{{` at 1 has no `}}`"),
            ("{{.A | }}", "nothing to print"),
            ("{{.A)}}", "`)` at 5 is not expected"),
            ("{{.A .B}}", "`.A` at 3 is no function, and takes no arguments"),
            ("{{.A-b}}", "`.A-b` at 3 cannot be read"),
            ("a {{nope .ID}}", "the function `nope` at 5 is not defined"),
            ("{{len nope}}", "the function `nope` at 7 is not defined"),
            ("{{$x}}", "the variable `$x` at 3 is not set"),
            ("{{if $x := .A}}{{end}}{{$x}}", "the variable `$x` at 25 is not set"),
            ("{{range $a, $b, $c := .A}}{{end}}", "`range` at 3 sets variables that it cannot"),
            ("{{eq .A}}", "`eq` at 3 needs 2 arguments, and has 1"),
            ("{{not .A .B}}", "`not` at 3 takes 1 arguments, and has 2"),
            (deep.as_str(), "`(` at 103 lies too deep"),
        ] {
            match Template::parse(template) {
                Err(DockerError::Template { reason: found, .. }) => assert_eq!(found, reason, "{template}"),
                other => panic!("{template}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_has_no_answer() {
        for (template, reason) in [
            ("{{index .L 1}}", "`index`: 1 is out of range: there are 1"),
            ("{{index .None 0}}", "`index`: there is no list"),
            ("{{slice .S 0 9}}", "`slice`: 0 to 9 is out of range: there are 2"),
            ("{{lt .S 1}}", "`lt`: \"ab\" and 1 cannot be compared"),
            ("{{printf \"%d\" .S}}", "`printf`: `%d` cannot show `ab`"),
            ("{{printf \"%s\"}}", "`printf`: `%s` has no argument"),
            ("{{printf \"%99999s\" .S}}", "`printf`: 99999 is too wide"),
            ("{{range .S}}{{end}}", "`range`: \"ab\" is no list"),
        ] {
            match Template::parse(template).unwrap().render(&json!({"L": ["a"], "S": "ab"})) {
                Err(DockerError::Template { reason: found, .. }) => assert_eq!(found, reason, "{template}"),
                other => panic!("{template}: {other:?}"),
            }
        }
    }
}
