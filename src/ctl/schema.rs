//! The JSON schema of policy files, for editors: made from the tables that the reader itself goes by.

use crate::class::Class;
use crate::policy::document::SECTIONS;
use crate::policy::knob::{Kind, Knob};
use crate::policy::setting::Setting;
use crate::policy::value::valid;
use serde_json::{Map, Value, json};

/// The schema, as `policies/schema.json` has it. Draft 7: what the YAML servers of editors know.
pub fn schema() -> Value {
    let properties: Map<String, Value> =
        SECTIONS.into_iter().map(|section| (section.to_string(), section_schema(section))).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "agentsh policy",
        "description": "A layer of agentsh's policy: /etc/agentsh/policy.d/*.yaml, or a workspace's .agentsh.yaml, which may only tighten",
        "type": "object",
        "properties": properties,
        "required": ["version"],
        "additionalProperties": false,
        "definitions": { "knobs": object("Knobs of a class", knobs()) },
    })
}

fn section_schema(section: &str) -> Value {
    match section {
        "version" => json!({ "const": 1, "description": "The version of this format" }),
        "classes" => {
            let names = ["all"].into_iter().chain(Class::LEAVES.map(Class::name));
            let classes = names.map(|name| (name.to_string(), json!({ "$ref": "#/definitions/knobs" })));
            object(
                "Knobs of the calls of each class; `all` is every class, and a class wins over it",
                classes.collect(),
            )
        }
        "overrides" => json!({
            "description": "Knobs of single commands; of several that match, the last one wins for each knob",
            "type": ["array", "null"],
            "items": overrides(),
        }),
        section => settings(section),
    }
}

fn object(description: &str, properties: Map<String, Value>) -> Value {
    json!({
        "description": description,
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    })
}

fn knobs() -> Map<String, Value> {
    Knob::ALL.into_iter().map(|knob| (knob.name().to_string(), value(knob.kind(), knob.about()))).collect()
}

fn overrides() -> Value {
    let mut properties = knobs();
    properties.insert("class".into(), value(Kind::Class, "The class that the command gets"));
    properties.insert(
        "match".into(),
        json!({
            "description": "Globs over the words of the command line, as `npm run build*` or [npm, run, \"build *\"]",
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "minItems": 1, "items": { "type": ["string", "number", "boolean"] } },
            ],
        }),
    );
    json!({
        "type": "object",
        "properties": properties,
        "required": ["match"],
        "additionalProperties": false,
    })
}

/// The settings below a path of keys.
fn settings(path: &str) -> Value {
    let keys = Setting::keys_below(path).into_iter().map(|key| {
        let below = format!("{path}/{key}");
        let schema = match Setting::at(&below) {
            Some(setting) => value(setting.kind(), setting.about()),
            None => settings(&below),
        };
        (key.to_string(), schema)
    });
    let about = match path {
        "hints" => "What the words of AGENT_RESOURCE_HINT stand for",
        "log" => "What is logged",
        "session" => "What a session gets when agentsh makes it",
        "holding" => "When calls give way to others for their memory",
        "hints/memory" => "memory:low, memory:medium, memory:high",
        _ => "cpu:low, cpu:high",
    };
    object(about, keys.collect())
}

/// The schema of a value. Bounds that need units (a size of at most 1T) are left to `agentshctl policy check`.
fn value(kind: Kind, about: &str) -> Value {
    let whole = |least: u32, most: u32| json!({ "type": "integer", "minimum": least, "maximum": most });
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let or = |a: Value, b: Value| json!({ "anyOf": [a, b] });
    let mut schema = match kind {
        Kind::Amount { least } => {
            let amount = text("^(max|[0-9]+(\\.[0-9]+)?[KMGT%])$");
            if least == 0 { or(amount, json!({ "const": 0 })) } else { amount }
        }
        Kind::Bytes { .. } => text("^[0-9]+(\\.[0-9]+)?[KMGT]$"),
        Kind::Length(_) => or(text("^[0-9]+(\\.[0-9]+)?[KMGT]$"), json!({ "const": 0 })),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Weight => whole(1, 10_000),
        Kind::Pids => or(whole(1, crate::policy::value::MOST_PIDS), json!({ "const": "max" })),
        Kind::Adj => whole(0, 1000),
        Kind::Count(most) => whole(1, most),
        Kind::Few => whole(0, 100),
        Kind::Millis | Kind::Time { .. } => text("^[0-9]+(\\.[0-9]+)?(ms|s|m|h)$"),
        Kind::Share => text("^[0-9]+(\\.[0-9]+)?%$"),
        Kind::Path => text("^/"),
        Kind::Limits | Kind::Oom | Kind::OnExit | Kind::Freeze | Kind::Class => {
            json!({ "enum": valid(kind).split(", ").collect::<Vec<_>>() })
        }
        Kind::Classes => {
            let one = json!({ "enum": Class::LEAVES.map(Class::name) });
            or(one.clone(), json!({ "type": "array", "items": one }))
        }
    };
    schema["description"] = format!("{about}. Valid: {}", valid(kind)).into();
    schema
}

/// The file's text.
pub fn text() -> String {
    // A tree of values can't fail to be written.
    serde_json::to_string_pretty(&schema()).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::yaml::{self, Content, Node};
    use regex_lite::Regex;

    /// Checks a value against the part of JSON schema that is used here; a keyword that isn't known is a failure,
    /// so that nothing is passed over.
    fn check(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let root = super::schema();
        let no = |why: &str| Err(format!("{at}: {why}: {value} against {schema}"));
        for (keyword, rule) in schema.as_object().expect("a schema is an object") {
            let holds = match keyword.as_str() {
                "$schema" | "title" | "description" | "definitions" => true,
                "$ref" => {
                    let path = rule
                        .as_str()
                        .and_then(|r| r.strip_prefix('#'))
                        .expect("a reference within the schema");
                    check(root.pointer(path).expect("what is referred to"), value, at)?;
                    true
                }
                "type" => {
                    let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                    types.iter().any(|t| match t.as_str() {
                        Some("object") => value.is_object(),
                        Some("array") => value.is_array(),
                        Some("null") => value.is_null(),
                        Some("string") => value.is_string(),
                        Some("integer") => value.is_u64() || value.is_i64(),
                        Some("number") => value.is_number(),
                        Some("boolean") => value.is_boolean(),
                        other => panic!("type {other:?}"),
                    })
                }
                "const" => value == rule,
                "enum" => rule.as_array().expect("a list").contains(value),
                "minimum" => value.as_i64().is_none_or(|v| v >= rule.as_i64().expect("a number")),
                "maximum" => value.as_i64().is_none_or(|v| v <= rule.as_i64().expect("a number")),
                "minLength" => {
                    value.as_str().is_none_or(|v| v.len() as u64 >= rule.as_u64().expect("a number"))
                }
                "minItems" => {
                    value.as_array().is_none_or(|v| v.len() as u64 >= rule.as_u64().expect("a number"))
                }
                "pattern" => {
                    let pattern = Regex::new(rule.as_str().expect("a text")).expect("a pattern");
                    value.as_str().is_none_or(|v| pattern.is_match(v))
                }
                "anyOf" => rule.as_array().expect("a list").iter().any(|s| check(s, value, at).is_ok()),
                "required" => value.as_object().is_none_or(|v| {
                    rule.as_array()
                        .expect("a list")
                        .iter()
                        .all(|key| v.contains_key(key.as_str().expect("a key")))
                }),
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        check(rule, item, at)?;
                    }
                    true
                }
                "additionalProperties" => {
                    assert_eq!(rule, false);
                    let known = schema["properties"].as_object().expect("properties");
                    value.as_object().is_none_or(|v| v.keys().all(|key| known.contains_key(key)))
                }
                "properties" => {
                    for (key, schema) in rule.as_object().expect("properties") {
                        if let Some(value) = value.get(key) {
                            check(schema, value, &format!("{at}/{key}"))?;
                        }
                    }
                    true
                }
                other => panic!("keyword {other}"),
            };
            if !holds {
                return no(keyword);
            }
        }
        Ok(())
    }

    /// A YAML tree as a validator for YAML 1.2 sees it.
    fn to_json(node: &Node) -> Value {
        match &node.content {
            _ if node.is_empty() => Value::Null,
            Content::Scalar { text, plain: true } => serde_json::from_str(text)
                .ok()
                .filter(|v: &Value| !v.is_string())
                .unwrap_or_else(|| json!(text)),
            Content::Scalar { text, .. } => json!(text),
            Content::List(items) => items.iter().map(to_json).collect(),
            Content::Map(entries) => entries.iter().map(|e| (e.key.clone(), to_json(&e.value))).collect(),
        }
    }

    fn json_of(yaml: &str) -> Value {
        to_json(&yaml::read("x", yaml.as_bytes()).0.expect("YAML"))
    }

    #[test]
    fn the_committed_schema_is_the_one_that_the_tables_give() {
        let committed = include_str!("../../policies/schema.json");
        assert_eq!(committed, text(), "run: agentshctl policy schema > policies/schema.json");
    }

    #[test]
    fn the_built_in_policy_is_valid_by_the_schema() {
        check(&schema(), &json_of(include_str!("../../policies/default.yaml")), "").unwrap();
    }

    #[test]
    fn the_schema_refuses_what_the_reader_refuses() {
        for bad in [
            "classes: {}",
            "version: 2",
            "version: 1\nclasses: {tset: {}}",
            "version: 1\nclasses: {test: {memory.hihg: 1G}}",
            "version: 1\nclasses: {test: {memory.high: 1GB}}",
            "version: 1\nclasses: {test: {memory.high: 0}}",
            "version: 1\nclasses: {test: {cpu.weight: 0}}",
            "version: 1\nclasses: {test: {cpu.weight: \"5\"}}",
            "version: 1\nclasses: {test: {pids.max: 0}}",
            "version: 1\nclasses: {test: {oom: group}}",
            "version: 1\nclasses: {test: {raise: yes}}",
            "version: 1\nclasses: {test: {depends: server}}",
            "version: 1\nclasses: {test: {depends: [run, agent]}}",
            "version: 1\nclasses: {test: {throttle_timeout: 30}}",
            "version: 1\noverrides: [{memory.high: 1G}]",
            "version: 1\noverrides: [{match: []}]",
            "version: 1\noverrides: [{match: x, class: agent}]",
            "version: 1\nlog: {path: x}",
            "version: 1\nhints: {memory: {lo: 1G}}",
            "version: 1\nsession: {max_leaves: 0}",
            "version: 1\nholding: {wait: 5}",
            "version: 1\nholding: {equals: 8}",
        ] {
            assert!(check(&schema(), &json_of(bad), "").is_err(), "schema: {bad}");
            let read =
                crate::policy::document::read("x", bad.as_bytes(), crate::policy::document::Trust::Operator);
            assert!(read.0.is_none(), "reader: {bad}");
        }
    }

    #[test]
    fn the_schema_takes_what_the_reader_takes() {
        let good = "version: 1\nclasses:\n  all: {memory.high: 12.5%, pids.max: max}\n  run: {depends: [build, run]}\n  test: {depends: run}\noverrides:\n\
                    - {match: a b*, class: git}\n- {match: [python, 3.11, \"a b\"], memory.swap.max: 0}\n\
                    log: {command: 0, path: /x, keep: 0}\nsession: {reserve: 0, pids.max: 9}\nhints: {cpu: {low: 1}}";
        check(&schema(), &json_of(good), "").unwrap();
        let read =
            crate::policy::document::read("x", good.as_bytes(), crate::policy::document::Trust::Operator);
        assert_eq!(read.1, []);
    }
}
