"""What is typed into the runtimes' persistent shells, and what the log must have of it."""

import os
from dataclasses import dataclass

# A file by which a session's last processes are told that it is time to end.
ENOUGH = "enough"
FILES = {
    # Says what a program can find out about its terminal.
    "tell.py": """\
import os, sys
terminals, read = [os.isatty(fd) for fd in range(3)], sys.stdin.isatty() or len(sys.stdin.read())
print(*sys.argv[1:], terminals, read, os.getpgrp() == os.tcgetpgrp(os.open("/dev/tty", os.O_RDWR)), sys.prefix)
sys.exit(3)
""",
    "ask.py": 'print("hello, " + input("who? ") + "!")\n',
    "wait.py": 'import time\nprint("waiting", flush=True)\ntime.sleep(33)\nprint("too late")\n',
    # Takes no notice of Ctrl-C: runtimes have a second way then.
    "stubborn.py": """\
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("stubborn", flush=True)
time.sleep(35)
print("too late")
""",
    "left.py": f'import os, time\nwhile not os.path.exists("{ENOUGH}"):\n    time.sleep(0.05)\n',
    "Makefile": "all:\n\t@echo made $(N)\n",
}
# Each of these programs says first where it runs: as whom, and in which cgroup.
NOTES_PLACE = """\
import sys
print("{name}", *sys.argv[1:], *(line.strip() for line in open("/proc/self/cgroup") if line.startswith("0::")), file=open("{places}", "a"))
"""


@dataclass(frozen=True)
class Line:
    """A line of the log: the command, its class, how it ended, and whether it came through a shim."""

    command: str
    class_name: str
    status: int | None = 0
    signal: int | None = None
    through_shim: bool = True
    # It lives on in the background: unless the runtime's end ends it, until it is told to end.
    left: str | None = None


@dataclass(frozen=True)
class Typed:
    """A command, what must be in its output, and its status: None where the runtime tells none."""

    command: str
    tells: str
    status: int | None = 0
    # type; ask: it asks for `answer`; cut: its time runs out, then Ctrl-C; kill: as cut, and takes no notice of Ctrl-C;
    # execute: SWE-ReX does it without a session, by /bin/sh, or run: itself; expire: execute, and its time runs out.
    how: str = "type"
    answer: str = ""
    # The programs in it that have a shim.
    shims: tuple[Line, ...] = ()
    # By which shell it is done, and what the log has if that is agentsh: this one line.
    shell: str | None = None
    call: Line | None = None
    # Done in a virtual environment, which puts itself before the shims; the hook puts them first again.
    in_venv: bool = False

    def lines(self, way: "Way") -> tuple[Line, ...]:
        """What the log has of it, where agentsh came into the session this way."""
        if self.shell in way.shells:
            return (self.call,) if self.call else ()
        if self.in_venv and not way.keeps_first:
            return ()
        if self.how in ("execute", "run", "expire") and not way.direct:
            return ()
        return self.shims if way.shims else ()


@dataclass(frozen=True)
class Way:
    """How agentsh comes into a session."""

    name: str
    # Is agentsh mounted over /bin/bash and /bin/sh, as `install.sh --as-bash` does with an image?
    mounted: bool = False
    # Which shells are agentsh, by what a command calls them.
    shells: frozenset[str] = frozenset()
    shims: bool = True
    # Has the runtime itself the shims in its PATH, or only its shell?
    direct: bool = False
    keeps_first: bool = False


PLAIN = Way("plain", shims=False)
AS_BASH = Way("mounted", mounted=True, shells=frozenset({"sh", "/bin/sh"}))
HOOK = Way("hooked", mounted=True, shells=frozenset({"sh", "/bin/sh"}), keeps_first=True)
IN_PATH = Way("in_path", shells=frozenset({"sh"}), direct=True)
WAYS = (PLAIN, AS_BASH, HOOK, IN_PATH)


def _python(words: str, *, status: int | None = 0, signal: int | None = None, left: str | None = None) -> Line:
    return Line(f"python3 {words}", "run", status, signal, left=left)


MADE = Line("make all", "build")
COMMIT = r"""git -c user.name=a -c user.email=a@b commit -q -m 'it'\''s first'"""
KILLED = "-c 'import os; os.kill(os.getpid(), 9)'"
WHO = "-c 'import sys; print(sys.executable, sys.prefix)'"
# They have begun to do what they are there for.
BEGUN = 'until [ "$(grep -c left.py "$PLACES")" = {} ]; do sleep 0.1; done; echo started'
STEPS = [
    # What no shim sees: builtins, functions, and programs that have none.
    Typed("echo hi; echo err >&2; pwd", "err"),
    Typed('mkdir sub && cd sub && export KEPT=kept && kept() { echo "$KEPT in ${PWD##*/}"; }', ""),
    Typed("kept; cd ..", "kept in sub"),
    Typed("cat /proc/self/cgroup", "/agent"),
    Typed("cat <<'EOF' >notes.txt && wc -c notes.txt\n\"quoted\" $HOME `here`\nEOF", "22 notes.txt"),
    Typed("nope-nope-nope", "not found", 127),
    Typed("AGENTSH_OFF=1 make all", "made"),
    # What they see.
    Typed("git init -q -b main . && git add -A && git status --short", "notes.txt",
          shims=(Line("git init -q -b main .", "git"), Line("git add -A", "git"), Line("git status --short", "git"))),
    Typed(f"{COMMIT} && git --no-pager log --format=%s | cat", "it's first",
          shims=(Line(COMMIT, "git"), Line("git --no-pager log --format=%s", "git"))),
    Typed("make all", "made", shims=(MADE,)),
    Typed("make missing", "No rule to make target", 2, shims=(Line("make missing", "build", 2),)),
    Typed("pytest -q tests/test_1.py", "tested", 5, shims=(Line("pytest -q tests/test_1.py", "test", 5),)),
    Typed("npm test -- 3", "npm did test", 6, shims=(Line("npm test -- 3", "test", 6),)),
    Typed("A=1 npm install left-pad", "npm did install", 6, shims=(Line("npm install left-pad", "install", 6),)),
    Typed("python3 tell.py a 'b c'; echo \"then $?\"", "then 3", shims=(_python("tell.py a 'b c'", status=3),)),
    Typed("python3 tell.py one | python3 tell.py two", "two", 3,
          shims=(_python("tell.py one", status=3), _python("tell.py two", status=3))),
    Typed("for n in 1 2 3; do make N=$n all; done", "made 3", shims=tuple(Line(f"make N={n} all", "build") for n in "123")),
    Typed(f"python3 {KILLED}", "Killed", 137, shims=(_python(KILLED, status=None, signal=9),)),
    Typed("python3 -c 'for n in range(300): print(n)'", "299", shims=(_python("-c 'for n in range(300): print(n)'"),)),
    # A shell that is started for its own sake is a call, if it is ours; a script that names one is too.
    Typed("sh -c 'make all; exit 4'", "made", 4, shims=(MADE,), shell="sh", call=Line("make all; exit 4", "build", 4, through_shim=False)),
    Typed("$TOOLS/pytest -q by_path", "tested", 5, shell="/bin/sh", call=Line("$TOOLS/pytest -q by_path", "test", 5, through_shim=False)),
    # By the path that OpenHands tells its model, and that `which` would say.
    Typed(f'"$(command -v python)" {WHO}', "/python", shims=(Line(f"python {WHO}", "run"),)),
    Typed("python3 -m venv --without-pip venv", "", shims=(Line("python3 -m venv --without-pip venv", "install"),)),
    Typed(". venv/bin/activate && python3 tell.py venv; deactivate", "/venv", shims=(_python("tell.py venv", status=3),), in_venv=True),
    Typed(f'. venv/bin/activate && "$(command -v python)" {WHO}; deactivate', "/venv/bin/python", shims=(Line(f"python {WHO}", "run"),),
          in_venv=True),
    # What needs the terminal.
    Typed("python3 ask.py", "hello, agent!", None, how="ask", answer="agent", shims=(_python("ask.py"),)),
    Typed("pytest slow", "tested slow", None, how="cut", shims=(Line("pytest slow", "test", None, 2),)),
    # Not 130 in tmux, where OpenHands clears the screen first.
    Typed('echo "status $?"', "status "),
    Typed("python3 wait.py", "waiting", None, how="cut", shims=(_python("wait.py", status=None, signal=2),)),
    # SIGKILL ends our launcher with the program: that is not in the log. How soon bash speaks of it is left to chance.
    Typed("python3 stubborn.py", "stubborn", None, how="kill"),
    Typed("sleep 0.2; ls -d .; jobs", "."),
    # What stays behind.
    Typed(f"python3 left.py job >/dev/null 2>&1 & {BEGUN.format(1)}", "started", shims=(_python("left.py job", status=None, signal=15),)),
    Typed('kill $!; wait $!; echo "gone $?"', "gone 143"),
    Typed("python3 left.py plain >/dev/null 2>&1 & nohup python3 left.py nohup >/dev/null 2>&1 & "
          f"setsid python3 left.py setsid >/dev/null 2>&1 & {BEGUN.format(4)}", "started",
          shims=tuple(_python(f"left.py {how}", left=how) for how in ("plain", "nohup", "setsid"))),
    Typed("make N=after all", "made after", shims=(Line("make N=after all", "build"),)),
]
# SWE-ReX alone: without a session.
EXECUTED = [
    Typed("make all; exit 3", "made", 3, how="execute", shims=(MADE,), shell="/bin/sh",
          call=Line("make all; exit 3", "build", 3, through_shim=False)),
    Typed("make N=run all", "made run", how="run", shims=(Line("make N=run all", "build"),)),
    # Its shell is ended by SIGKILL, as above.
    Typed("exec sleep 36", "CommandTimeoutError", None, how="expire", shell="/bin/sh"),
]


def lay_out(work: str, places: str) -> None:
    """Makes the files of a session's working directory."""
    for name, text in FILES.items():
        with open(f"{work}/{name}", "w", encoding="ascii") as file:
            file.write((NOTES_PLACE.format(name=f"python3 {name}", places=places) if name.endswith(".py") else "") + text)
    os.mkdir(f"{work}/tests")
