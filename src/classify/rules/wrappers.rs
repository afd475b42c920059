//! Programs that only start another one: they are seen through.

use super::super::Kind;
use super::super::call::{Call, Found, is, say, unplaced};
use super::super::entry::{Entry, by, wrap};
use super::super::word::assignment;
use crate::class::Class;

pub(super) const TABLE: &[Entry] = &[
    // Priorities, limits, time.
    wrap(&["timeout", "gtimeout"], 1, &["-k", "-s", "--signal", "--kill-after"]),
    wrap(&["nice"], 0, &["-n", "--adjustment"]),
    wrap(&["ionice"], 0, &["-c", "-n", "-p", "-P", "-u", "--class", "--classdata"]),
    wrap(&["chrt"], 1, &["-T", "-P", "-D"]),
    wrap(&["taskset"], 1, &[]),
    wrap(&["numactl"], 0, &["-N", "-m", "-C", "-i", "-l"]),
    wrap(&["prlimit", "cpulimit"], 0, &["-l", "-p"]),
    wrap(&["cgexec"], 0, &["-g"]),
    wrap(&["time", "gtime"], 0, &["-f", "-o", "--format", "--output"]),
    wrap(
        &["systemd-run"],
        0,
        &["-p", "-u", "-M", "-H", "-t", "-E", "--unit", "--slice", "--property", "--setenv", "--uid"],
    ),
    // Terminals, sessions, output.
    wrap(
        &[
            "nohup",
            "setsid",
            "unbuffer",
            "catchsegv",
            "fakeroot",
            "caffeinate",
            "dbus-run-session",
            "chronic",
        ],
        0,
        &[],
    ),
    wrap(&["stdbuf"], 0, &["-i", "-o", "-e", "--input", "--output", "--error"]),
    wrap(&["xvfb-run"], 0, &["-n", "-s", "-e", "-f", "-p", "-w", "--server-args", "--server-num"]),
    wrap(&["tini", "dumb-init", "catatonit"], 0, &["-p", "-e"]),
    wrap(&["ts", "pv"], 0, &[]),
    by(&["script"], script),
    by(&["watch"], |call| match call.operand(1, &["-n", "--interval"]) {
        Some(index) => Found::Joined(index),
        None => is(Class::Other),
    }),
    by(&["xargs", "gxargs"], xargs),
    by(&["parallel"], |call| {
        match call.operand(1, &["-j", "-n", "-N", "-L", "--jobs", "-a", "--colsep", "--delay"]) {
            Some(index) if call.word(index) != b":::" => Found::Joined(index),
            _ => is(Class::Run),
        }
    }),
    // The shell's own.
    wrap(&["exec"], 0, &["-a"]),
    wrap(&["builtin", "then", "do", "else", "nocorrect", "-"], 0, &[]),
    by(&["command"], |call| match call.word(1) {
        b"-v" | b"-V" => is(Class::Explore),
        b"-p" => through(call, 2),
        _ => through(call, 1),
    }),
    by(&["env"], env),
    by(&["flock"], flock),
    // Other users, roots and namespaces.
    by(&["sudo", "doas"], sudo),
    wrap(&["gosu", "su-exec", "chpst"], 1, &["-u"]),
    wrap(&["setpriv"], 0, &["--reuid", "--regid", "--groups", "--bounding-set", "--inh-caps"]),
    wrap(&["capsh"], 0, &[]),
    by(&["setarch"], |call| match call.operand(1, &[]) {
        // The architecture comes first, or is left out where there are options.
        Some(1) => through(call, call.operand(2, &[]).unwrap_or(2)),
        Some(index) => through(call, index),
        None => is(Class::Explore),
    }),
    wrap(&["linux32", "linux64", "i386", "x86_64", "arch"], 0, &[]),
    wrap(&["chroot", "proot"], 1, &["-r", "-b", "-w", "-q"]),
    wrap(
        &["unshare"],
        0,
        &["-S", "-G", "-R", "-w", "--setuid", "--setgid", "--root", "--wd", "--propagation"],
    ),
    wrap(&["nsenter"], 0, &["-t", "-S", "-G", "--target", "--setuid", "--setgid"]),
    wrap(&["firejail"], 0, &[]),
    by(&["bwrap"], bwrap),
    // Environments.
    wrap(&["envdir", "envchain"], 1, &[]),
    wrap(&["with-contenv"], 0, &[]),
    by(&["direnv"], |call| match call.word(1) {
        b"exec" => through(call, 3),
        _ => is(Class::Other),
    }),
    by(&["dotenv", "dotenvx", "doppler", "op", "infisical", "chamber"], |call| {
        runs(call, b"run", Class::Run)
    }),
    by(&["aws-vault"], |call| match call.operand(2, &["-d"]) {
        Some(index) if call.word(1) == b"exec" => after_profile(call, index),
        _ => is(Class::Run),
    }),
    by(
        &["asdf", "mise", "rtx", "pyenv", "rbenv", "nodenv", "volta", "fnm", "nvm", "n", "rvm", "sdk"],
        versions,
    ),
    // They look over another program's shoulder: it runs, whatever it is.
    by(&["strace", "ltrace"], |call| {
        runs_at_least(call, &["-o", "-e", "-p", "-s", "-u", "-E", "-a", "-S", "-P"])
    }),
    by(&["valgrind", "heaptrack", "rr", "hotspot", "memray"], |call| runs_at_least(call, &["-o"])),
    by(&["gdb", "lldb"], |call| match call.value(&["--args", "--"]) {
        Some(index) => Found::AtLeast(index, say(Class::Run)),
        None => is(Class::Run),
    }),
    by(&["perf"], |call| match call.word(1) {
        b"stat" | b"record" | b"trace" => {
            match call.operand(2, &["-e", "-o", "-F", "-g", "-p", "-r", "-C", "-a"]) {
                Some(index) => Found::AtLeast(index, say(Class::Run)),
                None => is(Class::Run),
            }
        }
        _ => is(Class::Run),
    }),
    by(&["mpirun", "mpiexec", "srun"], |call| {
        runs_at_least(call, &["-np", "-n", "-N", "-c", "-H", "--host", "-p"])
    }),
];

/// The command at an index, or nothing.
fn through(call: &Call<'_>, index: usize) -> Found {
    if index < call.words.len() { Found::Through(index) } else { is(Class::Other) }
}

/// `TOOL run [options] [--] COMMAND`.
fn runs(call: &Call<'_>, verb: &[u8], otherwise: Class) -> Found {
    if call.word(1) != verb {
        return is(otherwise);
    }
    let dashes = call.words.iter().position(|word| *word.text == *b"--").map(|index| index + 1);
    match dashes.or_else(|| call.operand(2, &["-f", "-e", "-p", "-c", "--env-file"])) {
        Some(index) => through(call, index),
        None => is(otherwise),
    }
}

fn runs_at_least(call: &Call<'_>, with_value: &[&str]) -> Found {
    match call.operand(1, with_value) {
        Some(index) => Found::AtLeast(index, say(Class::Run)),
        None => is(Class::Run),
    }
}

fn after_profile(call: &Call<'_>, index: usize) -> Found {
    let next = if call.word(index + 1) == b"--" { index + 2 } else { index + 1 };
    through(call, next)
}

fn env(call: &Call<'_>) -> Found {
    if let Some(index) = call.value(&["-S", "--split-string"]) {
        return Found::Joined(index);
    }
    match call.operand(1, &["-u", "-C", "--unset", "--chdir"]) {
        // `env A=B` alone only prints; the assignments are stepped over with the command's.
        Some(index) if call.words[index..].iter().any(|word| assignment(&word.text).is_none()) => {
            Found::Through(index)
        }
        _ => is(Class::Explore),
    }
}

fn sudo(call: &Call<'_>) -> Found {
    match call
        .operand(1, &["-u", "-g", "-p", "-C", "-h", "-r", "-t", "-D", "-T", "-U", "-R", "--user", "--group"])
    {
        Some(index) => Found::Through(index),
        None if call.has(&["-i", "-s", "--login", "--shell"]) => unplaced(Kind::Interactive),
        None => is(Class::Other),
    }
}

fn xargs(call: &Call<'_>) -> Found {
    let with_value = &[
        "-I",
        "-n",
        "-P",
        "-L",
        "-d",
        "-s",
        "-a",
        "-E",
        "--max-args",
        "--max-procs",
        "--delimiter",
        "--replace",
        "--arg-file",
        "--max-lines",
    ];
    match call.operand(1, with_value) {
        Some(index) => Found::Through(index),
        None => is(Class::Explore),
    }
}

/// `flock [options] FILE COMMAND`, or `flock FILE -c SCRIPT`.
fn flock(call: &Call<'_>) -> Found {
    let with_value = &["-w", "-E", "--timeout", "--wait", "--conflict-exit-code"];
    match call.operand(1, with_value) {
        Some(file) if matches!(call.word(file + 1), b"-c" | b"--command") && file + 2 < call.words.len() => {
            Found::Script(file + 2)
        }
        Some(file) => through(call, file + 1),
        None => is(Class::Other),
    }
}

/// `script -c SCRIPT`, or a shell on a terminal of its own.
fn script(call: &Call<'_>) -> Found {
    let clustered =
        call.args().position(|arg| arg.len() > 1 && arg[0] == b'-' && arg[1] != b'-' && arg.ends_with(b"c"));
    match call.value(&["-c", "--command"]).or(clustered.map(|index| index + 2)) {
        Some(index) if index < call.words.len() => Found::Script(index),
        _ => unplaced(Kind::Interactive),
    }
}

/// `bwrap OPTIONS [--] COMMAND`: the options take up to two values.
fn bwrap(call: &Call<'_>) -> Found {
    let mut index = 1;
    while call.word(index).starts_with(b"--") {
        let option = &call.word(index)[2..];
        index += match option {
            b"" => return through(call, index + 1),
            b"bind" | b"ro-bind" | b"dev-bind" | b"bind-try" | b"ro-bind-try" | b"dev-bind-try"
            | b"setenv" | b"symlink" | b"file" | b"bind-data" | b"ro-bind-data" | b"chmod" | b"bind-fd"
            | b"ro-bind-fd" => 3,
            b"proc" | b"dev" | b"tmpfs" | b"dir" | b"chdir" | b"unsetenv" | b"uid" | b"gid" | b"hostname"
            | b"lock-file" | b"sync-fd" | b"block-fd" | b"userns-block-fd" | b"info-fd"
            | b"json-status-fd" | b"seccomp" | b"add-seccomp-fd" | b"exec-label" | b"file-label"
            | b"args" | b"mqueue" | b"perms" | b"size" | b"argv0" | b"cap-add" | b"cap-drop"
            | b"remount-ro" | b"userns" | b"userns2" | b"pidns" | b"overlay-src" | b"tmp-overlay"
            | b"ro-overlay" => 2,
            _ => 1,
        };
    }
    through(call, index)
}

/// Managers of tools' versions: they run a tool, bring one in, or tell.
fn versions(call: &Call<'_>) -> Found {
    match call.word(1) {
        b"exec" | b"x" | b"run" | b"do" => match call.words.iter().position(|word| *word.text == *b"--") {
            Some(dashes) => through(call, dashes + 1),
            // `nvm exec 18 node`, `fnm exec --using 18 node`, `pyenv exec python`.
            None => {
                let first = call.operand(2, &["--using", "--node"]).unwrap_or(2);
                let version = call.word(first).first().is_some_and(u8::is_ascii_digit);
                through(call, if version { first + 1 } else { first })
            }
        },
        b"install" | b"uninstall" | b"update" | b"upgrade" | b"plugin" | b"i" | b"use-install"
        | b"virtualenv" => is(Class::Install),
        b"list" | b"ls" | b"which" | b"where" | b"versions" | b"version" | b"current" | b"ls-remote"
        | b"root" | b"prefix" | b"doctor" | b"whence" | b"latest" => is(Class::Explore),
        _ => is(Class::Other),
    }
}
