//! `agentshctl explain`: what a command is, what it may have, and which line says so.

use super::{Outcome, policy_view};
use crate::cgroup::place::MOUNTED_CALLS;
use crate::cgroup::{dir::Dir, mount, own};
use crate::class::Class;
use crate::classify::{Context as Overrides, Kind, Verdict, classify, classify_argv};
use crate::launcher::table::{self, Done};
use crate::policy::compile::in_force;
use crate::policy::compiled::{Amount, Policy};
use crate::policy::knob::Knob;
use crate::policy::place::LoadEnv;
use crate::policy::resolve::{Request, Resolved, resolve};
use crate::policy::store::Loaded;
use crate::policy::units;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Explain what a command would get here: its class and the rule, every limit and the line that it comes from.
///
/// `agentshctl explain -- 'cd src && pytest -x'`: one word is a shell's command, several are a program with its
/// arguments. AGENT_RESOURCE_HINT counts as it would for the call.
#[derive(clap::Args)]
pub struct Args {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// The session's budget, such as 4G, that shares (75%) and hints are held against; by default that of the session
    /// that this process is in.
    #[arg(long, value_name = "SIZE", value_parser = budget_of)]
    budget: Option<u64>,
    /// The command.
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

fn budget_of(text: &str) -> Result<u64, String> {
    match units::amount(text) {
        Ok(Amount::Bytes(bytes)) if bytes > 0 => Ok(bytes),
        Ok(_) => Err("valid: a size such as 512M or 4G".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs `agentshctl explain`.
pub fn run(args: &Args) -> Result<Outcome> {
    let loaded = in_force(&LoadEnv::of_process());
    let hint = std::env::var_os("AGENT_RESOURCE_HINT");
    let explained = explain(&loaded, &args.command, hint.as_deref(), args.budget.or_else(session_budget));
    let text = if args.json {
        serde_json::to_string_pretty(&explained.json()).context("can't write JSON")? + "\n"
    } else {
        explained.text()
    };
    std::io::stdout().write_all(text.as_bytes()).context("can't write to stdout")?;
    Ok(Outcome::Fine)
}

/// memory.max of the `calls/` that this process's calls would go to or that it is in itself. Reads only: what the
/// launcher would set up first (a delegated cgroup) isn't there to be read.
fn session_budget() -> Option<u64> {
    let mut buffer = [0; own::LONG];
    let own = Path::new(OsStr::from_bytes(own::read(&mut buffer).ok()?));
    let mounts = mount::all().ok()?;
    let beside = own.ancestors().map(|base| base.join("calls"));
    let below = own.ancestors().filter(|base| base.ends_with("calls")).map(Path::to_path_buf);
    let directories =
        below.chain(beside).flat_map(|cgroup| mount::directories(&mounts, &cgroup).collect::<Vec<_>>());
    let calls = directories.chain([MOUNTED_CALLS.into()]).find_map(|path| Dir::open(&path).ok())?;
    calls.read_max("memory.max").ok().flatten()
}

/// Everything that is told of a command.
struct Explained<'a> {
    loaded: &'a Loaded,
    verdict: Verdict,
    resolved: Resolved,
    budget: Option<u64>,
}

fn explain<'a>(
    loaded: &'a Loaded,
    command: &[OsString],
    hint: Option<&OsStr>,
    budget: Option<u64>,
) -> Explained<'a> {
    let cx = Overrides { rules: &loaded.policy.overrides };
    let words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
    let verdict = match words.as_slice() {
        [command] => classify(command, &cx),
        words => classify_argv(words, &cx),
    };
    let hint = verdict.hint.clone().or_else(|| hint.map(|hint| hint.as_bytes().to_vec()));
    let resolved = resolve(
        &loaded.policy,
        &Request {
            class: verdict.class,
            overrides: &verdict.overrides,
            hooks: verdict.hooks,
            hint: hint.as_deref(),
            budget,
        },
    );
    Explained { loaded, verdict, resolved, budget }
}

impl Explained<'_> {
    fn policy(&self) -> &Policy {
        &self.loaded.policy
    }

    /// The rule that decided: its name and place. An override's is the line that gives the class.
    fn rule(&self) -> (String, String) {
        let given = self.verdict.overrides.iter().rev().find_map(|&index| {
            let one = self.policy().overrides.get(usize::from(index))?;
            one.class.map(|set| (one.pattern.join(" "), self.policy().place(set.origin)))
        });
        match given {
            Some((pattern, place)) if self.verdict.rule.name == "override" => {
                (format!("override `{pattern}`"), place)
            }
            _ => {
                let rule = self.verdict.rule;
                (rule.name.to_string(), format!("{}:{}", rule.file, rule.line))
            }
        }
    }

    /// Does it get a leaf?
    fn leaf(&self) -> bool {
        self.verdict.class != Class::Agent && table::by_kind(self.verdict.kind) == Done::Supervised
    }

    fn json(&self) -> Value {
        let (rule, place) = self.rule();
        let (verdict, policy) = (&self.verdict, self.policy());
        let knobs: Map<String, Value> = Knob::ALL
            .into_iter()
            .map(|k| (k.name().to_string(), policy_view::set_json(policy, &self.resolved.knobs.get(k))))
            .collect();
        let overrides =
            verdict.overrides.iter().filter_map(|&index| policy.overrides.get(usize::from(index)));
        json!({
            "class": verdict.class.name(),
            "kind": verdict.kind.name(),
            "leaf": self.leaf(),
            "part": verdict.part,
            "argv": verdict.argv.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>(),
            "rule": { "name": rule, "from": place },
            "hooks": verdict.hooks,
            "overrides": overrides.map(|one| policy_view::override_json(policy, one)).collect::<Vec<_>>(),
            "hint": self.resolved.hint.as_ref().map(|hint| json!({
                "text": hint.text, "memory": hint.memory, "cpu.weight": hint.cpu_weight, "cut": hint.cut,
            })),
            "budget": self.budget,
            "knobs": knobs,
            "notes": self.resolved.notes,
            "problem": self.loaded.problem,
        })
    }

    fn text(&self) -> String {
        let (rule, place) = self.rule();
        let (verdict, policy) = (&self.verdict, self.policy());
        let mut out = String::new();
        // Writing to a String can't fail.
        let mut row = |name: &str, text: String| {
            let _ = writeln!(out, "{name:<10} {text}");
        };
        row("class", verdict.class.to_string());
        row("part", verdict.part.clone());
        row("rule", format!("{rule}  ({place})"));
        match verdict.kind {
            Kind::Command => {}
            kind if self.leaf() => row("kind", kind.name().into()),
            kind => row("kind", format!("{}: no leaf", kind.name())),
        }
        if verdict.hooks {
            row("hooks", "yes: the memory limits of run".into());
        }
        for one in verdict.overrides.iter().filter_map(|&i| policy.overrides.get(usize::from(i))) {
            row("override", format!("{}  ({})", one.pattern.join(" "), policy.place(one.origin)));
        }
        if let Some(hint) = &self.resolved.hint {
            row("hint", hint.describe());
        }
        row("budget", self.budget.map_or_else(|| "unknown".into(), units::show_bytes));
        for note in &self.resolved.notes {
            row("note", note.clone());
        }
        if let Some(problem) = &self.loaded.problem {
            row("problem", problem.clone());
        }
        if !self.leaf() {
            return out;
        }
        let _ = writeln!(out);
        for knob in Knob::ALL {
            let set = self.resolved.knobs.get(knob);
            let value = set.value.to_string();
            let _ = writeln!(out, "  {:<18} {value:<10} {}", knob.name(), policy.place(set.origin));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::compiled::{Layer, Source};
    use crate::policy::document::{self, Trust};
    use crate::policy::store::State;
    use crate::policy::{builtin, layers};

    fn with(yaml: &str) -> Loaded {
        let mut policy = builtin::policy();
        let (document, problems) = document::read("/etc/a.yaml", yaml.as_bytes(), Trust::Operator);
        assert_eq!(problems, []);
        let source = Source { path: "/etc/a.yaml".into(), layer: Layer::System, stamp: None };
        assert_eq!(layers::lay(&mut policy, &document.unwrap(), source), []);
        Loaded { policy, state: State::Fresh, problem: None }
    }

    fn of<'a>(loaded: &'a Loaded, command: &str, hint: Option<&str>) -> Explained<'a> {
        explain(loaded, &[command.into()], hint.map(OsStr::new), Some(4 << 30))
    }

    #[test]
    fn an_overrides_knob_names_its_line_and_so_does_the_class_that_it_gives() {
        let loaded = with("version: 1\noverrides:\n- match: ./ci.sh *\n  class: test\n  memory.high: 3G\n");
        let told = of(&loaded, "cd x && ./ci.sh all", None).json();
        assert_eq!((&told["class"], &told["part"]), (&json!("test"), &json!("./ci.sh all")));
        assert_eq!(told["rule"], json!({ "name": "override `./ci.sh *`", "from": "/etc/a.yaml:4" }));
        assert_eq!(told["knobs"]["memory.high"], json!({ "value": "3G", "from": "/etc/a.yaml:5" }));
        assert_eq!(told["overrides"][0]["from"], "/etc/a.yaml:3");
        let text = of(&loaded, "./ci.sh all", None).text();
        assert!(text.contains("  memory.high        3G         /etc/a.yaml:5\n"), "{text}");
    }

    #[test]
    fn a_rule_of_our_own_is_told_by_its_source_line() {
        let loaded = with("");
        let told = of(&loaded, "pytest -x", None).json();
        let from = told["rule"]["from"].as_str().unwrap();
        let (file, line) = from.rsplit_once(':').unwrap();
        let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        // The entry begins there; its programs may stand in the lines below.
        let mut entry = source.lines().skip(line.parse::<usize>().unwrap() - 1).take(6);
        assert!(entry.any(|line| line.contains("\"pytest\"")), "{from}");
    }

    #[test]
    fn the_hint_in_the_command_wins_over_the_environments() {
        let loaded = with("");
        let told = of(&loaded, "AGENT_RESOURCE_HINT=memory:2g ls", Some("memory:3g")).json();
        assert_eq!(told["hint"]["text"], "memory:2g");
        assert_eq!(told["knobs"]["memory.high"], json!({ "value": "2G", "from": "AGENT_RESOURCE_HINT" }));
        let exported =
            of(&loaded, "export A=1 AGENT_RESOURCE_HINT=memory:300m; ls", Some("memory:3g")).json();
        assert_eq!(exported["hint"]["text"], "memory:300m");
        assert_eq!(of(&loaded, "ls", Some("memory:64g")).json()["hint"]["cut"], true);
    }

    #[test]
    fn an_agent_gets_no_leaf_and_no_knobs_are_shown() {
        let loaded = with("");
        let told = of(&loaded, "claude -p hello", None);
        assert_eq!(told.json()["leaf"], false);
        assert!(told.text().contains("no leaf") && !told.text().contains("memory.high"), "{}", told.text());
    }

    #[test]
    fn what_an_agent_runs_for_itself_gets_a_leaf_like_any_call() {
        let loaded = with("");
        let told = of(&loaded, "env", None);
        assert_eq!((&told.json()["kind"], &told.json()["leaf"]), (&json!("probe"), &json!(true)));
        assert!(told.text().contains("memory.high") && !told.text().contains("no leaf"), "{}", told.text());
    }

    #[test]
    fn several_words_are_a_program_and_not_a_script() {
        let loaded = with("");
        let words = ["grep", "-r", "pip install; pytest", "."].map(OsString::from);
        assert_eq!(explain(&loaded, &words, None, None).verdict.class, Class::Explore);
    }
}
