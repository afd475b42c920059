//! A policy for people and for programs, every value with its place.

use crate::class::Class;
use crate::policy::compiled::{Layer, Origin, Override, Policy, Set};
use crate::policy::knob::{Knob, Value};
use crate::policy::setting::Setting;
use crate::policy::store::{Loaded, State};
use serde_json::{Map, Value as Json, json};
use std::fmt::Write;

/// A knob's value and place, as JSON: numbers and truth values as such, amounts and times as in YAML.
pub fn set_json(policy: &Policy, set: &Set<Value>) -> Json {
    json!({ "value": value_json(&set.value), "from": policy.place(set.origin) })
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Flag(v) => json!(v),
        Value::Weight(v) => json!(v),
        Value::Adj(v) => json!(v),
        Value::Count(v) => json!(v),
        Value::Few(v) => json!(v),
        Value::Pids(Some(v)) => json!(v),
        other => json!(other.to_string()),
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Fresh => "fresh",
        State::Stale { .. } => "stale",
        State::Builtin => "built-in",
    }
}

fn layer_name(layer: Layer) -> &'static str {
    match layer {
        Layer::Builtin => "built-in",
        Layer::System => "system",
        Layer::Workspace => "workspace",
        Layer::Hint => "hint",
    }
}

fn knobs_json(policy: &Policy, knobs: impl Iterator<Item = (Knob, Set<Value>)>) -> Map<String, Json> {
    knobs.map(|(knob, set)| (knob.name().to_string(), set_json(policy, &set))).collect()
}

/// As JSON.
pub fn json(loaded: &Loaded) -> Json {
    let policy = &loaded.policy;
    let classes: Map<String, Json> = Class::LEAVES
        .into_iter()
        .map(|class| {
            let knobs = Knob::ALL.into_iter().map(|k| (k, policy.class(class).get(k)));
            (class.name().to_string(), Json::Object(knobs_json(policy, knobs)))
        })
        .collect();
    let overrides: Vec<Json> = policy.overrides.iter().map(|o| override_json(policy, o)).collect();
    let mut settings = Map::new();
    for &setting in Setting::ALL {
        if let Some(set) = policy.setting(setting) {
            settings.insert(setting.path().replace('/', "."), set_json(policy, &set));
        }
    }
    let sources: Vec<Json> =
        policy.sources.iter().map(|s| json!({ "path": s.path, "layer": layer_name(s.layer) })).collect();
    json!({
        "state": state_name(loaded.state),
        "problem": loaded.problem,
        "sources": sources,
        "classes": classes,
        "overrides": overrides,
        "settings": settings,
    })
}

/// An override as JSON.
pub fn override_json(policy: &Policy, one: &Override) -> Json {
    json!({
        "match": one.pattern,
        "from": policy.place(one.origin),
        "class": one.class.map(|set| json!({ "value": set.value.name(), "from": policy.place(set.origin) })),
        "knobs": knobs_json(policy, one.knobs.iter()),
    })
}

/// As YAML that could be read back, the places in comments.
pub fn text(loaded: &Loaded) -> String {
    let policy = &loaded.policy;
    let mut out = String::new();
    if let Some(problem) = &loaded.problem {
        line(&mut out, format!("# {problem}"), None);
    }
    if matches!(loaded.state, State::Stale { .. }) {
        line(&mut out, "# not what the files say now, but the last good policy:".into(), None);
    }
    line(&mut out, "version: 1".into(), None);
    line(&mut out, "classes:".into(), None);
    let place = |origin: Origin| Some(policy.place(origin));
    for class in Class::LEAVES {
        line(&mut out, format!("  {class}:"), None);
        for knob in Knob::ALL {
            let set = policy.class(class).get(knob);
            line(&mut out, format!("    {}: {}", knob.name(), set.value), place(set.origin));
        }
    }
    if !policy.overrides.is_empty() {
        line(&mut out, "overrides:".into(), None);
    }
    for one in &policy.overrides {
        let words: Vec<String> = one.pattern.iter().map(|word| format!("{word:?}")).collect();
        line(&mut out, format!("  - match: [{}]", words.join(", ")), place(one.origin));
        if let Some(class) = one.class {
            line(&mut out, format!("    class: {}", class.value), place(class.origin));
        }
        for (knob, set) in one.knobs.iter() {
            line(&mut out, format!("    {}: {}", knob.name(), set.value), place(set.origin));
        }
    }
    let mut open: Vec<&str> = Vec::new();
    for &setting in Setting::ALL {
        let Some(set) = policy.setting(setting) else { continue };
        let mut keys: Vec<&str> = setting.path().split('/').collect();
        let key = keys.pop().unwrap_or_default();
        let same = open.iter().zip(&keys).take_while(|(a, b)| a == b).count();
        for (depth, key) in keys.iter().enumerate().skip(same) {
            line(&mut out, format!("{}{key}:", "  ".repeat(depth)), None);
        }
        line(&mut out, format!("{}{key}: {}", "  ".repeat(keys.len()), set.value), place(set.origin));
        open = keys;
    }
    out
}

fn line(out: &mut String, text: String, place: Option<String>) {
    // Writing to a String can't fail.
    let _ = match place {
        Some(place) => writeln!(out, "{text:<36} # {place}"),
        None => writeln!(out, "{text}"),
    };
}
