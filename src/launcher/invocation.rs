//! Reading the arguments as bash reads them (shell.c: parse_long_options, then parse_shell_options), to know
//! what kind of shell is wanted. Nothing is changed: the real shell gets the very same arguments.

/// What a shell is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// `-c COMMAND`, in any order with other options.
    Command {
        /// The command string.
        text: &'a [u8],
        /// `-i` or `-m`: the shell wants process groups of its own.
        job_control: bool,
    },
    /// A script file and its arguments, as an argument or through `#!`.
    Script {
        /// The script's path and its arguments.
        argv: Vec<&'a [u8]>,
        /// As with `Command`.
        job_control: bool,
    },
    /// Reads commands from standard input or a terminal.
    Stdin,
    /// Runs no command at all: `-n`, `--version`, `--help`, `-D`.
    NoExecution,
    /// Not an invocation that bash would accept; it says so best itself.
    Unknown,
}

/// Long options without an argument; bash takes them with one dash or two.
const LONG: [&[u8]; 13] = [
    b"debug",
    b"debugger",
    b"login",
    b"noediting",
    b"noprofile",
    b"norc",
    b"posix",
    b"pretty-print",
    b"protected",
    b"restricted",
    b"rpm-requires",
    b"verbose",
    b"wordexp",
];
/// Long options with an argument.
const LONG_WITH_VALUE: [&[u8]; 2] = [b"init-file", b"rcfile"];
/// Long options after which no command runs.
const LONG_QUESTION: [&[u8]; 4] = [b"version", b"help", b"dump-strings", b"dump-po-strings"];
/// The letters of `set` and of the shell itself.
const SHORT: &[u8] = b"abefhiklmnprstuvxBCDEHPT";

/// Reads the arguments behind argv[0].
pub fn parse<'a>(args: &[&'a [u8]]) -> Form<'a> {
    let mut at = 0;
    while let Some(name) = args.get(at).and_then(|a| long_name(a)) {
        if LONG_QUESTION.contains(&name) {
            return Form::NoExecution;
        } else if LONG_WITH_VALUE.contains(&name) {
            at += 1;
            if at >= args.len() {
                return Form::Unknown;
            }
        } else if !LONG.contains(&name) {
            break;
        }
        at += 1;
    }
    let mut seen = Flags::default();
    while let Some(&arg) = args.get(at) {
        let plus = match arg {
            b"-" | b"--" => {
                at += 1;
                break;
            }
            [b'-', ..] => false,
            [b'+', ..] => true,
            _ => break,
        };
        at += 1;
        for &letter in &arg[1..] {
            match letter {
                b'c' => seen.command = true,
                b'o' | b'O' => at += usize::from(at < args.len()),
                letter if !SHORT.contains(&letter) => return Form::Unknown,
                letter => seen.set(letter, !plus),
            }
        }
    }
    let rest = &args[at..];
    if seen.no_execution {
        return Form::NoExecution;
    }
    match rest.first() {
        Some(text) if seen.command => Form::Command { text, job_control: seen.job_control },
        None if seen.command => Form::Unknown,
        Some(_) if !seen.stdin => Form::Script { argv: rest.to_vec(), job_control: seen.job_control },
        _ => Form::Stdin,
    }
}

#[derive(Default)]
struct Flags {
    command: bool,
    stdin: bool,
    job_control: bool,
    no_execution: bool,
}

impl Flags {
    fn set(&mut self, letter: u8, on: bool) {
        match letter {
            b's' => self.stdin = on,
            b'i' | b'm' => self.job_control |= on,
            b'n' | b'D' => self.no_execution |= on,
            _ => {}
        }
    }
}

/// The name in `--name` or `-name`, if it can be a long option.
fn long_name(arg: &[u8]) -> Option<&[u8]> {
    let name = arg.strip_prefix(b"-")?;
    let name = name.strip_prefix(b"-").unwrap_or(name);
    (name.len() > 1).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(args: &'static [&'static str]) -> Form<'static> {
        let args: Vec<&[u8]> = args.iter().map(|a| a.as_bytes()).collect();
        parse(&args)
    }

    fn command(text: &'static str) -> Form<'static> {
        Form::Command { text: text.as_bytes(), job_control: false }
    }

    #[test]
    fn the_command_is_found_wherever_c_stands() {
        for args in [
            &["-c", "ls"] as &'static [&'static str],
            &["-lc", "ls"],
            &["-c", "-l", "ls"],
            &["-l", "-c", "ls", "name", "arg"],
            &["-xec", "ls"],
            &["-c", "-o", "pipefail", "ls"],
            &["-o", "pipefail", "-c", "ls"],
            &["-O", "extglob", "-c", "ls"],
            &["-co", "pipefail", "ls"],
            &["--norc", "--noprofile", "-c", "ls"],
            &["-norc", "-c", "ls"],
            &["--rcfile", "/x", "-c", "ls"],
            &["-c", "--", "ls"],
            &["-c", "+e", "ls"],
            &["--posix", "-c", "ls"],
            &["-s", "-c", "ls"],
        ] {
            assert_eq!(form(args), command("ls"), "{args:?}");
        }
    }

    #[test]
    fn job_control_is_noticed() {
        for args in [
            &["-i", "-c", "ls"] as &'static [&'static str],
            &["-ic", "ls"],
            &["-mc", "ls"],
            &["-c", "-m", "ls"],
        ] {
            assert_eq!(form(args), Form::Command { text: b"ls", job_control: true }, "{args:?}");
        }
    }

    #[test]
    fn scripts_stdin_and_questions_are_told_apart() {
        assert!(
            matches!(form(&["-e", "x.sh", "-c"]), Form::Script { argv, .. } if argv == [&b"x.sh"[..], b"-c"])
        );
        assert!(matches!(form(&["--", "-c"]), Form::Script { argv, .. } if argv == [&b"-c"[..]]));
        for stdin in [&[] as &'static [&'static str], &["-l"], &["-i"], &["-s", "a"], &["--login"], &["-"]] {
            assert_eq!(form(stdin), Form::Stdin, "{stdin:?}");
        }
        for question in
            [&["--version"] as &'static [&'static str], &["--help"], &["-n"], &["-nc", "ls"], &["-D"]]
        {
            assert_eq!(form(question), Form::NoExecution, "{question:?}");
        }
    }

    #[test]
    fn what_bash_would_refuse_is_left_to_bash() {
        for bad in [&["-c"] as &'static [&'static str], &["--nonsense"], &["-Z", "-c", "ls"], &["--rcfile"]] {
            assert_eq!(form(bad), Form::Unknown, "{bad:?}");
        }
    }
}
