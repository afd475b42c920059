"""Commands typed into persistent shells, as agents do: fifty into one in tmux, fifty into one under pexpect."""

import json
import os
import subprocess
import sys
import time
from collections import Counter

from behind import Scene
from stage import GUARD

COMMANDS = 50
# Each tells the cgroup that it ran in, and ends with a status of its own.
FORMS = (
    "make -f cgroup.mk",
    "python3 cgroup.py {number}",
    "git -c alias.place='!cat /proc/self/cgroup' place",
    "pytest -q tests/test_{number}.py",
    "npm test -- {number}",
)
PEXPECT = """
import json, os, re, sys, pexpect
shell = pexpect.spawn("/bin/bash", ["--norc", "--noprofile"], encoding="utf-8", echo=False, timeout=float(sys.argv[1]), codec_errors="replace")
shell.setwinsize(50, 400)
shell.sendline("PS1='>'READY'> ' PS2= PROMPT_COMMAND=; stty -echo")
shell.expect(">READY> ")
statuses = []
for command in json.load(sys.stdin):
    shell.sendline(command)
    shell.expect(">READY> ")
    shell.sendline("echo status:$?:")
    shell.expect("status:([0-9]+):")
    statuses.append(int(shell.match.group(1)))
    shell.expect(">READY> ")
shell.sendline("exit")
shell.expect(pexpect.EOF)
json.dump(statuses, sys.stdout)
"""


def _commands(scene: Scene) -> list[str]:
    work = scene.stage.work
    with open(f"{work}/cgroup.mk", "w", encoding="ascii") as file:
        file.write("all:\n\t@cat /proc/self/cgroup\n")
    with open(f"{work}/cgroup.py", "w", encoding="ascii") as file:
        file.write("import sys\nprint(open('/proc/self/cgroup').read())\nsys.exit(int(sys.argv[1]) % 7)\n")
    return [FORMS[number % len(FORMS)].format(number=number) for number in range(COMMANDS)]


def _statuses(commands: list[str]) -> list[int]:
    """What each must end with: by the tools in behind.py and the files above."""
    known = {"make": 0, "git": 0, "pytest": 5, "npm": 6}
    return [known.get(command.split()[0], number % 7) for number, command in enumerate(commands)]


def _path(scene: Scene) -> str:
    return f"{scene.shims}:{_tools(scene)}:/usr/bin:/bin"


def _tools(scene: Scene) -> str:
    """make, git and python3 are this machine's here."""
    tools = f"{scene.stage.folder}/typed"
    if not os.path.isdir(tools):
        for name, status in (("pytest", 5), ("npm", 6)):
            scene.tool(tools, name, f"#!/bin/sh\ncat /proc/self/cgroup; exit {status}\n")
    return tools


def _judge(scene: Scene, commands: list[str], log: list[dict]) -> list[str]:
    """Each has a line in the log, a use of a leaf that no other had, and its class."""
    asked = "".join(json.dumps({"id": command, "command": command}) + "\n" for command in set(commands))
    answers = subprocess.run([scene.ctl, "classify"], input=asked, capture_output=True, text=True, check=True, timeout=GUARD).stdout
    classes = {answer["id"]: answer["class"] for answer in map(json.loads, answers.splitlines())}
    faults = []
    if len(log) != len(commands):
        return [f"{len(log)} lines in the log, expected {len(commands)}: {[record['command'] for record in log][:60]}"]
    for command, record, status in zip(commands, log, _statuses(commands)):
        wanted = {"class": classes[command], "placement": "leaf", "shim": command.split()[0], "exit": status}
        faults += [f"{command}: {key} {record.get(key)!r}, expected {value!r}" for key, value in wanted.items() if record.get(key) != value]
    uses = Counter((record["cgroup_id"], record["generation"]) for record in log)
    faults += [f"use {use} of a leaf had {count} commands" for use, count in uses.items() if count > 1]
    if len({record["class"] for record in log}) < 4:
        faults.append("they are of fewer than four classes")
    return faults


def in_tmux(scene: Scene) -> list[str]:
    """Through send-keys, with what is shown read back by capture-pane."""
    commands, socket = _commands(scene), f"{scene.stage.folder}/tmux"
    environment = scene.environment(PATH=_path(scene), TERM="screen", PS1="$ ")

    def tmux(*words: str) -> str:
        done = subprocess.run(["/usr/bin/tmux", "-S", socket, "-f", "/dev/null", *words], env=environment, capture_output=True,
                              text=True, timeout=GUARD, check=True, cwd=scene.stage.work)
        return done.stdout

    scene.forget()
    # OpenHands starts it so, and types into it.
    tmux("new-session", "-d", "-x", "400", "-y", "50", "-s", "s", "bash", "-c", "/usr/bin/nice -n 10 /bin/bash --norc --noprofile")
    try:
        done = f"{scene.stage.folder}/done"
        for number, command in enumerate(commands):
            tmux("send-keys", "-t", "s", "-l", f"{command}; echo $? >>{done}")
            tmux("send-keys", "-t", "s", "Enter")
            end = time.monotonic() + GUARD
            while not os.path.exists(done) or len(_lines(done)) <= number:
                if time.monotonic() > end:
                    return [f"{command} doesn't end; the pane shows {tmux('capture-pane', '-p', '-t', 's')}"]
                time.sleep(0.01)
        shown = tmux("capture-pane", "-p", "-S", "-3000", "-t", "s")
        statuses = [int(line) for line in _lines(done)]
    finally:
        tmux("kill-server")
    return _seen(scene, shown) + _right(statuses, commands) + _judge(scene, commands, scene.log())


def _lines(path: str) -> list[str]:
    with open(path, encoding="ascii") as file:
        return [line for line in file.read().splitlines(keepends=True) if line.endswith("\n")]


def _seen(scene: Scene, shown: str) -> list[str]:
    """What the programs said themselves: in the session's leaves, and in no other place."""
    places = [line.strip() for line in shown.splitlines() if line.startswith("0::")]
    wrong = [place for place in places if "/calls/" not in place]
    faults = [f"a command ran in {wrong[:3]}"] if wrong else []
    return faults + ([] if len(places) == COMMANDS else [f"{len(places)} told of their cgroup"])


def _right(statuses: list[int], commands: list[str]) -> list[str]:
    expected = _statuses(commands)
    return [] if statuses == expected else [f"statuses {statuses}, expected {expected}"]


def under_pexpect(scene: Scene) -> list[str]:
    """By whichever Python has pexpect: the one that this runs in, or the system's."""
    commands = _commands(scene)
    scene.forget()
    pythons = [python for python in (sys.executable, "/usr/bin/python3")
               if subprocess.run([python, "-c", "import pexpect"], capture_output=True, timeout=GUARD, check=False).returncode == 0]
    if not pythons:
        return ["no Python here has pexpect: tests/setup installs it"]
    environment = scene.environment(PATH=_path(scene), TERM="dumb")
    done = subprocess.run([pythons[0], "-c", PEXPECT, str(GUARD)], input=json.dumps(commands), capture_output=True, text=True,
                          timeout=COMMANDS * GUARD, env=environment, cwd=scene.stage.work, check=False)
    if done.returncode != 0:
        return [done.stderr[-2000:]]
    return _right(json.loads(done.stdout), commands) + _judge(scene, commands, scene.log())


# What SWE-ReX types at the start of a session, and OpenHands.
TAKEN_OVER = (
    "export PS1='SHELLPS1PREFIX' ; export PS2='' ; export PS0=''",
    """export PROMPT_COMMAND='export PS1="###PS1###"'; export PS2=""; export PS0=''""",
)
PROBES = r"""
echo one two; echo "last: $_"
false; echo "status $?"
false | true | (exit 3); echo "${PIPESTATUS[*]}"
[[ abc =~ b ]]; echo "matched ${BASH_REMATCH[0]}"
set -x; echo traced; A=1 B=2 true; set +x
set -eu; for i in 1 2; do echo $i; done; f() { echo "in f: $*"; }; f a b; echo "$_"; set +eu
echo "${PS1-unset} ${PS0-unset} ${PS2-unset} ${PROMPT_COMMAND-unset}"
x=$(echo sub; false; echo $?); echo "$x"; (exit 7) || echo "or $?"
cat <<X
here $?
X
case a in a) echo case;; esac; echo $-
"""


def lay_out_hook(prefix: str, *programs: str) -> str:
    """As install.sh lays it out; the hook's path."""
    if not os.path.isdir(prefix):
        for folder in ("bin", "share"):
            os.makedirs(f"{prefix}/{folder}")
        for program in programs:
            os.symlink(program, f"{prefix}/bin/{os.path.basename(program)}")
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        os.symlink(f"{root}/shims/hook.bash", f"{prefix}/share/hook.bash")
    return f"{prefix}/share/hook.bash"


def _install_hook(scene: Scene) -> str:
    return lay_out_hook(f"{scene.stage.folder}/installed", scene.launcher, scene.ctl)


def unseen(scene: Scene) -> list[str]:
    """The hook, to what runs in the same shell."""
    hook = _install_hook(scene)
    environment = scene.environment(PATH="/usr/bin:/bin", AGENTSH_SHIMS=f"{scene.stage.folder}/hooked")
    plain, seen = (subprocess.run(["bash", "-c", first + PROBES], executable="/bin/bash", env=environment, capture_output=True, text=True,
                                  timeout=GUARD, check=False) for first in ("", f". {hook}"))
    return [f"{a!r} without, {b!r} with the hook" for a, b in ((plain.stdout, seen.stdout), (plain.stderr, seen.stderr)) if a != b]


def with_hook(scene: Scene) -> list[str]:
    """In a session that sources it, whatever is done to its prompts, and to PATH by a virtual environment."""
    commands, hook = _commands(scene)[:20], _install_hook(scene)
    venv, late = f"{scene.stage.folder}/hooked_venv", f"{scene.stage.folder}/late"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", venv], check=True, timeout=GUARD, env=scene.stage.environment)
    environment = scene.environment(PATH=f"{_tools(scene)}:/usr/bin:/bin", TERM="dumb", AGENTSH_SHIMS=f"{scene.stage.folder}/hooked2")
    statuses = _statuses(commands)
    # Not there when the shims were made, and no folder of PATH either.
    scene.tool(late, "tox", "#!/bin/sh\nexit 4\n")
    faults = []
    for taken_over in TAKEN_OVER:
        scene.forget()
        setting_up = [f". {hook}", taken_over, f". {venv}/bin/activate", f"PATH={late}:$PATH"]
        script = "\n".join([*setting_up, *(f"{command}; echo status:$?" for command in [*commands, "A=1 tox -q"])])
        script += "\necho prompts:$PS0:$PS2:$PROMPT_COMMAND:; python3 -c 'import sys; print(sys.prefix)'\n"
        done = subprocess.run(["bash", "--norc", "-i"], executable="/bin/bash", input=script, env=environment, capture_output=True, text=True,
                              timeout=GUARD, cwd=scene.stage.work, check=False, start_new_session=True)
        lines = done.stdout.splitlines()
        seen = [int(line.removeprefix("status:")) for line in lines if line.startswith("status:")]
        faults += [] if seen == [*statuses, 4] else [f"statuses {seen}, expected {[*statuses, 4]}; {done.stderr[-500:]}"]
        faults += [] if lines[-1:] == [venv] else [f"python is in {lines[-1:]}"]
        prompts = 'prompts:::export PS1="###PS1###":' if "PROMPT_COMMAND" in taken_over else "prompts::::"
        faults += [] if prompts in lines else [f"{[line for line in lines if 'prompts' in line]}"]
        log = scene.log()
        if (last := [record.get("shim") for record in log[-2:]]) != ["tox", "python3"]:
            faults.append(f"the last in the log came through {last}")
        faults += _judge(scene, commands, log[:-2])
    return faults


CASES = [
    (f"A shell in tmux: each of {COMMANDS} typed commands has its own leaf", in_tmux),
    (f"A shell under pexpect: each of {COMMANDS} typed commands has its own leaf", under_pexpect),
    ("The hook is not seen by what runs in the same shell", unseen),
    ("The hook survives what SWE-ReX and OpenHands do to prompts, a virtual environment, and tools that come later", with_hook),
]
