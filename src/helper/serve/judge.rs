//! Is a program that began in an agent's cgroup to get a leaf? Pure: what is known of it and of who started it comes in.
//!
//! In doubt it stays where it is. It gets one only if an agent started it: who is an agent is told by having called agentsh,
//! by its name, or by having come into the session from outside (`agentshctl run -- python3 agent.py`).

use crate::classify::{Kind, Verdict};
use crate::launcher::identity::basename;

/// What is known of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its command line, split.
    pub argv: Vec<Vec<u8>>,
    /// The path of the file that it runs.
    pub exe: Vec<u8>,
    /// Is that file agentsh?
    pub is_agentsh: bool,
}

/// What is known of who started it, which is in the same agent's cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starter {
    /// As of the other.
    pub seen: Seen,
    /// Has it called agentsh?
    pub has_called: bool,
    /// Is its own parent in another cgroup: did it come from outside?
    pub came_in: bool,
    /// Does its command line name an agent?
    pub is_known: bool,
}

impl Seen {
    /// The command as it was meant: of a script that was executed the kernel makes `INTERPRETER SCRIPT …`, and what the
    /// script is called says more. `file` is what was executed.
    pub fn command(&self, file: &[u8]) -> Vec<&[u8]> {
        let words: Vec<&[u8]> = self.argv.iter().map(Vec::as_slice).collect();
        // The interpreter may have an option of its own.
        let script = (1..words.len().min(3)).find(|&at| !file.is_empty() && words[at] == file);
        script.map_or_else(|| words.clone(), |at| words[at..].to_vec())
    }
}

/// Why a program stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// It is agentsh itself, or one of its tools.
    Agentsh,
    /// It is a shell.
    Shell,
    /// It is an agent, a terminal multiplexer or an interactive shell.
    Agent,
    /// It is a part of the agent that started it.
    PartOfAgent,
    /// Who started it isn't known to be an agent.
    NotAnAgents,
}

const SHELLS: [&[u8]; 17] = [
    b"bash", b"sh", b"dash", b"ash", b"rbash", b"zsh", b"fish", b"ksh", b"ksh93", b"mksh", b"csh", b"tcsh",
    b"nu", b"pwsh", b"xonsh", b"elvish", b"yash",
];
/// What runs programs of other names: its own file says nothing.
const MANY_NAMES: [&[u8]; 3] = [b"busybox", b"toybox", b"env"];
const TOOLS: [&[u8]; 3] = [b"agentsh", b"agentshctl", b"agentsh-helper"];

/// Decides; `verdict` is of its command line.
pub fn judge(it: &Seen, verdict: &Verdict, by: Option<&Starter>) -> Result<(), Stays> {
    if is_tool(it) {
        return Err(Stays::Agentsh);
    }
    if is_shell(it) {
        return Err(Stays::Shell);
    }
    if !matches!(verdict.kind, Kind::Command | Kind::Probe) {
        return Err(Stays::Agent);
    }
    let Some(by) = by else { return Err(Stays::NotAnAgents) };
    if is_part(&it.argv, &by.seen.argv) {
        return Err(Stays::PartOfAgent);
    }
    let agent = (by.has_called || by.came_in || by.is_known) && !is_shell(&by.seen) && !by.seen.is_agentsh;
    if agent { Ok(()) } else { Err(Stays::NotAnAgents) }
}

/// Does what a program has started by the time that it is moved go with it? Not if it is agentsh, which has its calls in leaves
/// of their own, or an agent; nor then what those have started.
pub fn follows(it: &Seen, verdict: &Verdict) -> Result<(), Stays> {
    if is_tool(it) {
        return Err(Stays::Agentsh);
    }
    if matches!(verdict.kind, Kind::Agent | Kind::Multiplexer) {
        return Err(Stays::Agent);
    }
    Ok(())
}

fn is_tool(it: &Seen) -> bool {
    it.is_agentsh || TOOLS.contains(&name_of(it)) || TOOLS.contains(&basename(&it.exe))
}

fn name_of(it: &Seen) -> &[u8] {
    let name = it.argv.first().map_or(&b""[..], |first| basename(first));
    // A login shell's begins with a dash.
    name.strip_prefix(b"-").unwrap_or(name)
}

fn is_shell(it: &Seen) -> bool {
    let file = basename(&it.exe);
    let shell = |name: &[u8]| SHELLS.contains(&name);
    // busybox sh: the applet is named by argv[0], or by what comes behind it.
    let applet = MANY_NAMES.contains(&file) && it.argv.get(1).is_some_and(|word| shell(basename(word)));
    // A script's interpreter is its program: `#!/bin/sh` is a shell whatever the script is called.
    shell(file) || shell(name_of(it)) || applet
}

/// A worker that the agent has made of itself: the same program with the same script, or as multiprocessing and browsers
/// start theirs.
fn is_part(argv: &[Vec<u8>], of: &[Vec<u8>]) -> bool {
    let same_script = argv.len() > 1 && argv.get(..2) == of.get(..2) && !argv[1].starts_with(b"-");
    let alone = argv.len() == 1 && of.len() == 1 && argv == of;
    let begins = |with: &[u8]| argv.iter().skip(1).any(|word| word.starts_with(with));
    same_script
        || alone
        || begins(b"--multiprocessing-fork")
        || begins(b"from multiprocessing")
        || begins(b"--type=")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;
    use crate::classify::{self, Context};

    fn seen(exe: &str, line: &str) -> Seen {
        let argv = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        Seen { argv, exe: exe.as_bytes().to_vec(), is_agentsh: false }
    }

    fn verdict(it: &Seen) -> Verdict {
        let argv: Vec<&[u8]> = it.argv.iter().map(Vec::as_slice).collect();
        classify::classify_argv(&argv, &Context { rules: &[] })
    }

    fn agent(line: &str) -> Starter {
        Starter { seen: seen("/usr/bin/python3.11", line), came_in: true, ..Starter::default() }
    }

    fn judged(it: &Seen, by: Option<&Starter>) -> Result<Class, Stays> {
        let verdict = verdict(it);
        judge(it, &verdict, by).map(|()| verdict.class)
    }

    #[test]
    fn what_an_agent_starts_by_itself_gets_a_leaf_of_its_class() {
        let by = agent("python3 agent.py");
        for (exe, line, class) in [
            ("/usr/bin/python3.11", "python3 -m pytest", Class::Test),
            ("/usr/bin/git", "git status", Class::Git),
            ("/usr/bin/rg", "/opt/claude/vendor/rg --json TODO", Class::Explore),
            ("/usr/bin/timeout", "timeout 60 cargo build", Class::Build),
        ] {
            assert_eq!(judged(&seen(exe, line), Some(&by)), Ok(class), "{line}");
        }
    }

    #[test]
    fn what_a_program_has_started_goes_with_it_but_agents_and_agentsh_do_not() {
        let follows = |exe, line| {
            let it = seen(exe, line);
            follows(&it, &verdict(&it))
        };
        assert_eq!(follows("/usr/bin/python3.11", "python3 -m pytest"), Ok(()));
        assert_eq!(
            follows("/usr/bin/dash", "/bin/sh -c make"),
            Ok(()),
            "a shell that a program has started is its own"
        );
        assert_eq!(follows("/opt/agentsh/bin/agentsh", "bash -c ls"), Err(Stays::Agentsh));
        assert_eq!(follows("/usr/bin/node", "claude -p hello"), Err(Stays::Agent));
        assert_eq!(follows("/usr/bin/tmux", "tmux new-session"), Err(Stays::Agent));
    }

    #[test]
    fn agents_shells_multiplexers_and_agentsh_stay() {
        let by = agent("python3 agent.py");
        for (exe, line, why) in [
            ("/usr/bin/node", "claude -p hello", Stays::Agent),
            ("/usr/bin/tmux", "tmux new-session", Stays::Agent),
            ("/usr/bin/dash", "/bin/sh -c pytest", Stays::Shell),
            ("/usr/bin/dash", "./run-tests", Stays::Shell),
            ("/usr/bin/zsh", "-zsh", Stays::Shell),
            ("/bin/busybox", "busybox sh -c true", Stays::Shell),
            ("/opt/agentsh/bin/agentshctl", "agentshctl policy compile", Stays::Agentsh),
        ] {
            assert_eq!(judged(&seen(exe, line), Some(&by)), Err(why), "{line}");
        }
        let launcher = Seen { is_agentsh: true, ..seen("/bin/bash", "bash -c pytest") };
        assert_eq!(judged(&launcher, Some(&by)), Err(Stays::Agentsh));
    }

    #[test]
    fn a_script_that_was_executed_is_told_by_its_own_name() {
        let it = seen("/usr/bin/python3.11", "/usr/bin/python3 /usr/bin/pytest -q");
        assert_eq!(it.command(b"/usr/bin/pytest"), [&b"/usr/bin/pytest"[..], b"-q"]);
        assert_eq!(it.command(b"/usr/bin/python3").len(), 3, "and what was given to an interpreter isn't");
        assert_eq!(it.command(b"").len(), 3);
    }

    #[test]
    fn the_agent_s_own_workers_stay() {
        let by = agent("python3 agent.py --model x");
        for line in [
            "python3 agent.py --worker",
            "python3 -c from multiprocessing.spawn import spawn_main; spawn_main() --multiprocessing-fork",
        ] {
            let it = seen("/usr/bin/python3.11", line);
            assert_eq!(judged(&it, Some(&by)), Err(Stays::PartOfAgent), "{line}");
        }
        let module = agent("python3 -m agent");
        assert_eq!(judged(&seen("/usr/bin/python3.11", "python3 -m pytest"), Some(&module)), Ok(Class::Test));
    }

    #[test]
    fn what_others_start_stays() {
        let it = seen("/usr/bin/git", "git status");
        assert_eq!(judged(&it, None), Err(Stays::NotAnAgents), "the agent itself has come from outside");
        let stranger = Starter { came_in: false, ..agent("make all") };
        assert_eq!(judged(&it, Some(&stranger)), Err(Stays::NotAnAgents));
        let shell = Starter { seen: seen("/usr/bin/zsh", "zsh"), has_called: true, ..Starter::default() };
        assert_eq!(judged(&it, Some(&shell)), Err(Stays::NotAnAgents));
        let caller = Starter { has_called: true, ..stranger };
        assert_eq!(judged(&it, Some(&caller)), Ok(Class::Git));
    }
}
