//! Long commands as agents write them: the limit of steps must not cost them their class.

use super::tests::all_are;
use super::*;

/// So long are they at least; the longest that the kernel takes are 128 kB.
const LONG: usize = 100 * 1024;

/// Lines of a program, with quotes, brackets, dollars and backticks in them, until they are long enough.
fn lines(line: &str) -> String {
    line.repeat(LONG / line.len() + 1)
}

const PYTHON: &str =
    "    result = self.compute(arguments, f'{b[0]!r} `c`', \"a $x\", maximum=None)  # isn't it?\n";
const SCRIPT: &str = "if [ -z \"${A:-$(cat b)}\" ]; then echo \"it's `date`\"; fi # test\n";

/// As Claude Code hands a command to its shell: quoted once more, within an `eval`.
fn wrapped(command: &str) -> String {
    let quoted = command.replace('\'', "'\"'\"'");
    format!(
        "source /root/.claude/snapshot.sh && eval '{quoted}' \\< /dev/null && pwd -P >| /tmp/claude-1-cwd"
    )
}

#[track_caller]
fn both_are(class: Class, command: &str) {
    assert!(command.len() < 128 * 1024, "{}", command.len());
    all_are(class, &[command]);
    let wrapped = wrapped(command);
    if wrapped.len() < 128 * 1024 {
        all_are(class, &[&wrapped]);
    }
}

#[test]
fn what_follows_a_long_here_document_counts() {
    for (body, marker) in [(PYTHON, "'EOF'"), (SCRIPT, "'EOF'"), (PYTHON, "EOF"), ("12,34,5\n", "EOF")] {
        let written = format!("cat > a.txt <<{marker}\n{}EOF\n", lines(body));
        both_are(Class::Edit, &written);
        both_are(Class::Test, &format!("{written}cd b && python -m pytest -x 2>&1 | tail -5"));
        both_are(Class::Build, &format!("{written}gcc -O2 a.c -o a"));
    }
}

#[test]
fn the_end_of_a_long_here_document_for_an_interpreter_counts() {
    let code = lines(PYTHON);
    both_are(Class::Run, &format!("python3 - <<'EOF'\nimport a\n{code}EOF\n"));
    both_are(Class::Test, &format!("python3 - <<'EOF'\nimport unittest\n{code}unittest.main()\nEOF\n"));
    both_are(
        Class::Git,
        &format!(
            "bash <<'EOF'\n{}git push\nEOF\n",
            lines("# It's a comment: \"the tests\" aren't run, and neither is `make`.\n")
        ),
    );
}

#[test]
fn a_long_argument_hides_no_command() {
    let message = lines("Fix the parser: install `x`, don't test (see #12)\n").replace('`', "");
    both_are(Class::Git, &format!("git commit -m \"{message}\""));
    both_are(Class::Test, &format!("git commit -m \"{message}\" && npm test"));
    let code = lines(PYTHON).replace(['\'', '"', '$', '`'], "_");
    both_are(Class::Run, &format!("python -c '{code}'"));
    both_are(Class::Test, &format!("echo '{code}' > b.py && tox -e py311"));
}

#[test]
fn thousands_of_arguments_hide_no_command() {
    let files: String = (0..4_000).map(|n| format!(" src/module_{n}/file.py")).collect();
    both_are(Class::Git, &format!("git add{files}"));
    both_are(Class::Test, &format!("git add{files} && pytest -q"));
    both_are(Class::Build, &format!("ls{files} | wc -l; make -j4"));
    both_are(Class::Edit, &format!("for f in{files}; do sed -i s/a/b/ \"$f\"; done"));
}

#[test]
fn a_long_script_of_many_commands_is_read_far_enough() {
    // 200 lines of five commands each, the heaviest of them the last.
    let script = "cd /src/a && grep -rn 'it' . | head -5; echo \"$HOME $(pwd)\"\n".repeat(200);
    both_are(Class::Explore, &script);
    both_are(Class::Test, &format!("{script}cargo test --all\n"));
}
