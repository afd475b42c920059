//! What the kernel has counted of calls, beside their records: asked of `agentsh-helper stats`, as this program speaks no
//! BPF.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A call that isn't known is asked for again, but not more often than this.
const AGAIN: Duration = Duration::from_secs(1);
const HELPER: &str = "agentsh-helper";

/// What the kernel has counted of one use of a leaf: a line of `agentsh-helper stats --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Counts {
    cgroup_id: u64,
    /// CLOCK_BOOTTIME in ns when its first process came, shortly after the `generation` of the record.
    began_ns: u64,
    /// Processes started.
    pub forks: u64,
    /// Programs executed.
    pub execs: u64,
    /// Processes ended.
    pub exits: u64,
    /// The fastest growth of its memory over 10 ms, in bytes a second.
    pub fastest: u64,
    /// Time that its tasks were kept waiting over memory.high, all together.
    pub throttled_ns: u64,
    /// Time that the scheduler held the call; none where nothing holds.
    #[serde(default)]
    pub held_ns: Option<u64>,
}

/// What tells which counts are a record's.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The leaf's.
    pub cgroup_id: u64,
    /// CLOCK_BOOTTIME in ns when the leaf was claimed.
    pub generation: u64,
    /// How long the call took. No later call can have got the leaf before that had passed.
    pub duration: Duration,
}

/// The counts of all calls that the kernel still knows.
#[derive(Debug, Default)]
pub struct Counted {
    uses: HashMap<u64, Vec<Counts>>,
    asked: Option<Instant>,
}

impl Counted {
    /// Asks for them. An error if nothing is loaded, or if we aren't root.
    pub fn ask() -> Result<Counted> {
        let mut counted = Counted::default();
        counted.refresh()?;
        Ok(counted)
    }

    /// The counts of a call, if they are still known.
    pub fn of(&mut self, key: Key) -> Option<&Counts> {
        if find(self.uses.get(&key.cgroup_id)?, key).is_none()
            && self.asked.is_some_and(|asked| asked.elapsed() >= AGAIN)
        {
            // What could be told a moment ago stays true, whatever has become of the monitor.
            let _ = self.refresh();
        }
        find(self.uses.get(&key.cgroup_id)?, key)
    }

    fn refresh(&mut self) -> Result<()> {
        self.asked = Some(Instant::now());
        let helper = helper();
        let answer = Command::new(&helper)
            .args(["stats", "--json"])
            .output()
            .with_context(|| format!("--join asks {}, which can't be started", helper.display()))?;
        if !answer.status.success() {
            bail!("--join: {}", String::from_utf8_lossy(&answer.stderr).trim());
        }
        self.take(&String::from_utf8_lossy(&answer.stdout))
    }

    fn take(&mut self, lines: &str) -> Result<()> {
        let mut uses: HashMap<u64, Vec<Counts>> = HashMap::new();
        for line in lines.lines() {
            let counts: Counts =
                serde_json::from_str(line).with_context(|| format!("{HELPER} stats says {line}"))?;
            uses.entry(counts.cgroup_id).or_default().push(counts);
        }
        for counts in uses.values_mut() {
            counts.sort_by_key(|counts| counts.began_ns);
        }
        self.uses = uses;
        Ok(())
    }
}

/// The first use that began after the claim, and while the call lasted.
fn find(uses: &[Counts], key: Key) -> Option<&Counts> {
    let lasted = u64::try_from(key.duration.as_nanos()).unwrap_or(u64::MAX);
    let first = uses.partition_point(|counts| counts.began_ns < key.generation);
    uses.get(first).filter(|counts| counts.began_ns <= key.generation.saturating_add(lasted))
}

/// The helper: beside this program, or where it is installed.
pub fn helper() -> PathBuf {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent);
    let places = beside.into_iter().flat_map(|dir| [dir.join(HELPER), dir.join("../libexec").join(HELPER)]);
    places
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| Path::new("/opt/agentsh/libexec").join(HELPER))
}

/// A record with the counts behind its own fields, as `kernel`; null if they aren't known.
pub fn line(record: &[u8], counts: Option<&Counts>) -> Vec<u8> {
    let value = counts.map_or(serde_json::Value::Null, |c| {
        serde_json::json!({
            "forks": c.forks,
            "execs": c.execs,
            "exits": c.exits,
            "fastest_bytes_per_s": c.fastest,
            "throttled_us": c.throttled_ns / 1000,
            "held_us": c.held_ns.map(|ns| ns / 1000),
        })
    });
    let mut line = record.trim_ascii_end().to_vec();
    // The brace that ends every record.
    line.pop();
    line.extend_from_slice(format!(",\"kernel\":{value}}}").as_bytes());
    line
}

/// The same, for people. Time throttled is that of all tasks together.
pub fn note(counts: &Counts) -> String {
    let mut note =
        format!("{} processes, {} programs, {} MB/s", counts.forks, counts.execs, counts.fastest / 1_000_000);
    for (what, ns) in [("throttled", counts.throttled_ns), ("held", counts.held_ns.unwrap_or(0))] {
        if ns > 0 {
            note.push_str(&format!(", {what} {:.1} s", ns as f64 / 1e9));
        }
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATS: &str = r#"{"session":"m","name":"run-0","cgroup_id":7,"began_ns":300,"ended_ns":0,"forks":2,"execs":1,"exits":0,"fastest":0,"throttled_ns":0}
{"session":"m","name":"run-0","cgroup_id":7,"began_ns":105,"ended_ns":190,"forks":6,"execs":6,"exits":6,"fastest":41000000,"throttled_ns":2500000000}
"#;

    fn counted() -> Counted {
        let mut counted = Counted { asked: Some(Instant::now()), ..Counted::default() };
        counted.take(STATS).unwrap();
        counted
    }

    fn key(cgroup_id: u64, generation: u64) -> Key {
        Key { cgroup_id, generation, duration: Duration::from_nanos(90) }
    }

    #[test]
    fn a_call_has_the_counts_of_its_own_use_of_the_leaf() {
        let mut counted = counted();
        assert_eq!(counted.of(key(7, 100)).map(|c| c.forks), Some(6));
        assert_eq!(counted.of(key(7, 290)).map(|c| c.forks), Some(2));
        assert_eq!(counted.of(key(8, 100)), None, "another leaf");
        assert_eq!(
            counted.of(key(7, 200)),
            None,
            "its own are forgotten, and those of the next call are not its"
        );
        assert_eq!(counted.of(key(7, 400)), None);
    }

    #[test]
    fn counts_stand_behind_the_record_s_own_fields() {
        let mut counted = counted();
        let counts = counted.of(key(7, 100)).unwrap();
        let joined = String::from_utf8(line(b"{\"v\":1,\"id\":\"a\"}", Some(counts))).unwrap();
        let value: serde_json::Value = serde_json::from_str(&joined).unwrap();
        assert!(joined.starts_with("{\"v\":1,\"id\":\"a\",\"kernel\":{"), "{joined}");
        assert_eq!(value["kernel"]["throttled_us"], 2_500_000);
        assert_eq!(value["kernel"]["held_us"], serde_json::Value::Null);
        assert_eq!(line(b"{\"v\":1}", None), b"{\"v\":1,\"kernel\":null}");
        assert_eq!(note(counts), "6 processes, 6 programs, 41 MB/s, throttled 2.5 s");
    }
}
