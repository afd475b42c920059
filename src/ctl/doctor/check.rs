//! One thing that doctor has tried.

use serde::Serialize;
use std::fmt;

/// What it belongs to (architecture.md, section 6), in the order of printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Tier {
    /// Classification, hints, log, feedback.
    #[serde(rename = "0")]
    Zero,
    /// A cgroup for each call.
    #[serde(rename = "1")]
    One,
    /// sched_ext.
    #[serde(rename = "2")]
    Two,
    /// memcg_bpf_ops.
    #[serde(rename = "3")]
    Three,
    /// Events.
    M,
}

impl Tier {
    /// All of them, in the order of printing.
    pub const ALL: [Tier; 5] = [Tier::Zero, Tier::One, Tier::Two, Tier::Three, Tier::M];

    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Zero => "0",
            Tier::One => "1",
            Tier::Two => "2",
            Tier::Three => "3",
            Tier::M => "M",
        }
    }

    /// What one has of it.
    pub fn adds(self) -> &'static str {
        match self {
            Tier::Zero => "every command is classified, recorded, and explained when something happened",
            Tier::One => {
                "a cgroup for each call: memory, pids and CPU limited by class, and who needs less gives way"
            }
            Tier::Two => {
                "a scheduler in the kernel: CPU by the weights of sessions, then calls; short calls go first; heavy \
                 ones are held when memory gets short"
            }
            Tier::Three => {
                "memory hooks in the kernel: high-priority sessions and agents are spared, low ones slowed"
            }
            Tier::M => {
                "what every call did, counted in the kernel: processes, growth of memory, time throttled"
            }
        }
    }
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In force: seen.
    Ok,
    /// Not in force, and it should be.
    Missing,
    /// An extra that isn't there.
    Absent,
}

/// One thing that was tried, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What it belongs to.
    pub tier: Tier,
    /// What was tried, in a word or three.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What was seen.
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Check {
    /// It is in force.
    pub fn ok(tier: Tier, name: &'static str, detail: impl Into<String>) -> Check {
        Check { tier, name, state: State::Ok, detail: detail.into(), remedy: None }
    }

    /// It is not, and this is what to do.
    pub fn missing(
        tier: Tier,
        name: &'static str,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check { tier, name, state: State::Missing, detail: detail.into(), remedy: Some(remedy.into()) }
    }

    /// An extra that isn't there.
    pub fn absent(tier: Tier, name: &'static str, detail: impl Into<String>) -> Check {
        Check { tier, name, state: State::Absent, detail: detail.into(), remedy: None }
    }

    /// The same, and how it can be had.
    pub fn with(self, remedy: impl Into<String>) -> Check {
        Check { remedy: Some(remedy.into()), ..self }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tier = self.tier.name();
        let state = match self.state {
            State::Ok => "ok",
            State::Missing => "MISSING",
            State::Absent => "-",
        };
        write!(f, "{tier}  {state:<7}  {:<16}  {}", self.name, self.detail)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n   {:<7}  {:<16}  → {remedy}", "", ""),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_tier_state_name_detail_and_below_it_what_to_do() {
        let missing = Check::missing(Tier::One, "leaf", "no cgroup v2", "mount one");
        assert_eq!(
            missing.to_string(),
            "1  MISSING  leaf              no cgroup v2\n                              → mount one"
        );
        assert_eq!(Check::ok(Tier::M, "events", "there").to_string(), "M  ok       events            there");
    }

    #[test]
    fn json_has_the_tiers_by_their_names() {
        let text = serde_json::to_string(&Check::absent(Tier::Three, "hooks", "x")).unwrap();
        assert_eq!(text, r#"{"tier":"3","name":"hooks","state":"absent","detail":"x","remedy":null}"#);
    }
}
