//! A sample call through the launcher itself: does it find the real shell, is the call classified, put into a leaf,
//! and recorded?

use super::check::{Check, Tier};
use super::leaf::Expected;
use crate::cgroup::in_leaf;
use crate::log::writer;
use crate::policy::compiled::LogPolicy;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A sample call takes milliseconds; one that hangs is a finding, and not a hang of ours.
const PATIENCE: Duration = Duration::from_secs(5);
/// So much of the log's end is read; other calls may be recorded meanwhile.
const TAIL: u64 = 1 << 20;

/// Makes the call; gives the checks of tiers 0 and 1, and the one of the real shell.
pub fn check(policy: &LogPolicy, expected: Expected) -> (Vec<Check>, Check) {
    const SHELL: &str = "real shell";
    let Some(launcher) = launcher() else {
        let remedy = "install it with ./install.sh, or run the agentshctl that lies beside it";
        let missing = Check::missing(Tier::Zero, SHELL, "there is no agentsh beside agentshctl", remedy);
        return (Vec::new(), missing);
    };
    let mark = format!("agentshctl-doctor-{}", std::process::id());
    let said = match call(&launcher, &mark) {
        Ok(said) => said,
        Err(why) => {
            let remedy = "name the real shell in AGENTSH_REAL_SHELL, or install again with ./install.sh";
            let detail = format!("a sample call by {}: {why}", launcher.display());
            return (Vec::new(), Check::missing(Tier::Zero, SHELL, detail, remedy));
        }
    };
    let shell = Check::ok(Tier::Zero, SHELL, format!("{} (bash {})", said.shell, said.version));
    let mut checks = vec![recorded(policy, &mark, expected == Expected::OurLeaf)];
    checks.extend(placed(&said.cgroup, expected));
    (checks, shell)
}

/// The launcher that belongs to this program.
fn launcher() -> Option<PathBuf> {
    let beside =
        std::env::current_exe().ok().and_then(|exe| exe.parent().map(|folder| folder.join("agentsh")));
    beside.into_iter().chain(["/opt/agentsh/bin/agentsh".into()]).find(|path| path.is_file())
}

/// What the sample call said of itself.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    version: String,
    shell: String,
    cgroup: String,
}

fn call(launcher: &Path, mark: &str) -> Result<Said, String> {
    // Builtins alone, but for readlink, which may be missing.
    let command = format!(
        ": {mark}; echo \"$BASH_VERSION\"; readlink /proc/$$/exe || echo '(unknown)'; \
         while read -r line; do echo \"$line\"; done < /proc/self/cgroup"
    );
    let mut child = Command::new(launcher)
        .arg0("bash")
        .args(["-c", &command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let end = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("not done within {} s", PATIENCE.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text).map_err(|error| error.to_string())?;
    }
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    parse(&text).ok_or_else(|| format!("it said something else than it should: {text:?}"))
}

fn parse(text: &str) -> Option<Said> {
    let mut lines = text.lines().map(str::to_owned);
    let (version, shell) = (lines.next()?, lines.next()?);
    let cgroup = lines.find_map(|line| line.strip_prefix("0::").map(str::to_owned)).unwrap_or_default();
    (!version.is_empty()).then_some(Said { version, shell, cgroup })
}

fn placed(cgroup: &str, expected: Expected) -> Option<Check> {
    const NAME: &str = "call in its leaf";
    if expected != Expected::Leaf {
        return None;
    }
    Some(match in_leaf(cgroup.as_bytes()) {
        Some(class) => Check::ok(Tier::One, NAME, format!("a sample call ran as {class} in {cgroup}")),
        None => Check::missing(
            Tier::One,
            NAME,
            format!("a leaf could be claimed, but a sample call ran in {cgroup}"),
            "see `degraded` in `agentshctl log --json`; clone3 may be refused by a seccomp filter",
        ),
    })
}

/// Is the call's record in the log?
fn recorded(policy: &LogPolicy, mark: &str, nested: bool) -> Check {
    const NAME: &str = "log";
    if !policy.enabled.value {
        return Check::absent(Tier::Zero, NAME, "switched off by the policy (log: enabled:)");
    }
    let root = nix::unistd::geteuid().is_root();
    let path = match writer::place(policy, root, |name| std::env::var_os(name)) {
        Ok(path) => path,
        Err(error) => return Check::missing(Tier::Zero, NAME, error.to_string(), "set one of these"),
    };
    if nested {
        let detail =
            format!("{}; calls within a call, like this one, aren't recorded one by one", path.display());
        return Check::ok(Tier::Zero, NAME, detail);
    }
    // The launcher never says why a record wasn't written: it must not disturb the command. So it is tried here.
    if let Err(error) = writer::probe(&path) {
        let remedy = "let this user write there, or set AGENTSH_LOG to another file";
        return Check::missing(Tier::Zero, NAME, error.to_string(), remedy);
    }
    let (text, path) = (tail(&path), path.display());
    match text {
        Ok(text) if text.contains(mark) => {
            Check::ok(Tier::Zero, NAME, format!("a sample call was recorded in {path}"))
        }
        Ok(_) if policy.command_bytes.value < 64 => {
            Check::ok(Tier::Zero, NAME, format!("{path}; commands aren't logged, by policy"))
        }
        Ok(_) => Check::missing(
            Tier::Zero,
            NAME,
            format!("{path} can be written, but a sample call's record is not in it"),
            "is the file system full? Does AGENTSH_LOG or AGENTSH_OFF say otherwise?",
        ),
        Err(error) => {
            Check::ok(Tier::Zero, NAME, format!("{path} can be written; read back, it can't be: {error}"))
        }
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(2 * TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::check::State;
    use super::*;

    #[test]
    fn what_the_sample_call_says_is_taken_apart() {
        let said = parse("5.2\n/usr/bin/bash\n9:cpu:/x\n0::/agentsh/s/calls/run-0\n").unwrap();
        assert_eq!((said.version.as_str(), said.shell.as_str()), ("5.2", "/usr/bin/bash"));
        assert_eq!(said.cgroup, "/agentsh/s/calls/run-0");
        assert_eq!(parse("5.2\n(unknown)\n").unwrap().cgroup, "");
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_call_outside_a_leaf_is_a_finding_only_where_there_could_have_been_one() {
        let state = |cgroup, expected| placed(cgroup, expected).map(|check| check.state);
        assert_eq!(state("/s/calls/run-0", Expected::Leaf), Some(State::Ok));
        assert_eq!(state("/s/agent", Expected::Leaf), Some(State::Missing));
        assert_eq!(state("/", Expected::None), None);
        assert_eq!(state("/s/calls/run-0", Expected::OurLeaf), None);
    }

    #[test]
    fn a_launcher_that_is_none_or_fails_is_an_error_and_no_hang() {
        assert!(call(Path::new("/nonexistent"), "x").is_err());
        assert!(call(Path::new("/bin/false"), "x").unwrap_err().contains("ended with"));
        assert!(call(Path::new("/bin/true"), "x").unwrap_err().contains("something else"));
    }
}
