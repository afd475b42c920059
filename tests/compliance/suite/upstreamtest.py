"""One test of the shell's own suite, run under one shell, and how two runs of it are compared."""

import os
import re
import shutil
import signal
import subprocess

from . import kernel
from .process import end_descendants
from .session import Session
from .shell import REAL
from .stage import reset_signals


def names(tree: str) -> list[str]:
    """The tests: every run-* script but those that run all of them."""
    aggregates = {"run-all", "run-minimal", "run-gprof"}
    return sorted(name for name in os.listdir(f"{tree}/tests") if name.startswith("run-") and name not in aggregates and not name.endswith((".orig", "~")))


def play(tree: str, name: str, shell: str, folder: str, limit: float, session: Session | None) -> str:
    """Runs a test in a folder that is as new, always at the same place: paths in its output mean nothing then.

    Gives what the test printed, the shell's raw output where it isn't the expected one, and the exit status.
    """
    _freshen(tree, folder)
    _put_shell(shell, f"{folder}/bash")
    environment = {
        "PATH": f"{folder}/build:{folder}/tests:/usr/local/bin:/usr/bin:/bin", "HOME": f"{folder}/home", "TMPDIR": f"{folder}/tmp",
        "BASH_TSTOUT": f"{folder}/tmp/output", "THIS_SH": "../bash", "BUILD_DIR": "../build", "TERM": "dumb", "USER": "tester",
        "AGENTSH_LOG": f"{folder}/calls.jsonl",
        # A test copies the shell to a file named sh, which is to be bash in its POSIX mode and not this machine's sh.
        "AGENTSH_REAL_SHELL": REAL,
    }

    def before() -> None:
        reset_signals()
        os.umask(0o022)
        if session:
            session.enter()

    with open(f"{folder}/printed", "wb") as printed:
        test = subprocess.Popen(["/bin/sh", name], cwd=f"{folder}/tests", env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT,
                                start_new_session=True, preexec_fn=before)
        try:
            status = f"exit {test.wait(timeout=limit)}"
        except subprocess.TimeoutExpired:
            os.killpg(test.pid, signal.SIGKILL)
            status = f"not over after {limit:.0f} s"
    end_descendants()
    parts = [_text(f"{folder}/printed"), status, _text(environment["BASH_TSTOUT"])]
    return "\n".join(part for part in parts if part is not None)


def _freshen(tree: str, folder: str) -> None:
    """Copying 650 files takes longer than most tests: they are copied once, and what tests leave beside them removed."""
    tests = f"{folder}/tests"
    if not os.path.isdir(tests):
        shutil.copytree(f"{tree}/tests", tests, symlinks=True)
        os.symlink(f"{tree}/helpers", f"{folder}/build")
    for name in set(os.listdir(tests)) - set(os.listdir(f"{tree}/tests")):
        path = f"{tests}/{name}"
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    for part in ("tmp", "home"):
        shutil.rmtree(f"{folder}/{part}", ignore_errors=True)
        os.mkdir(f"{folder}/{part}")


def _put_shell(shell: str, path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)
    if os.path.realpath(shell) == os.path.realpath(REAL):
        os.symlink(REAL, path)
    else:
        shutil.copy(shell, path)
        os.chmod(path, 0o755)


def prepare() -> None:
    """What a test leaves running must be found and ended: this process inherits it."""
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="latin-1") as file:
            return file.read()
    except FileNotFoundError:
        return None


def differences(real: list[str], ours: str) -> tuple[list[str], str]:
    """Lines of `ours` that no run of real bash accounts for, and the rule that was needed to say so.

    Only what differs between runs of real bash is let go: a line that varies there is compared with its numbers masked,
    and where even the order of lines varies they are compared as sorted.
    """
    if ours in real:
        return [], "equal"
    first = real[0].splitlines()
    for rule, shape in (("numbers that vary masked", _masked), ("order that varies ignored", lambda lines, varying: sorted(_masked(lines, varying)))):
        varying = _varying([text.splitlines() for text in real])
        if not varying:
            break
        wanted, seen = shape(first, varying), shape(ours.splitlines(), varying)
        if wanted == seen:
            return [], rule
    missing = [f"-{line}" for line in first if line not in ours.splitlines()]
    extra = [f"+{line}" for line in ours.splitlines() if line not in first]
    return [*missing, *extra] or ["(the same lines in another order)"], "differs"


def _varying(runs: list[list[str]]) -> set[str]:
    """The masked shapes of the lines that some run has and another one has not."""
    common = set(runs[0]).intersection(*map(set, runs[1:]))
    return {_mask(line) for run in runs for line in run if line not in common}


def _mask(line: str) -> str:
    return re.sub(r"\d+", "N", line)


def _masked(lines: list[str], varying: set[str]) -> list[str]:
    return [_mask(line) if _mask(line) in varying else line for line in lines]
