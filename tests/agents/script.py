"""What the scripted model asks the agents to run."""

from dataclasses import dataclass, field, replace

from clients import Client

# A command that is still at work when the agent is interrupted; its last words are then a process.
ABORTED = "echo waiting; sleep 57"


@dataclass
class Step:
    """A command, its class, its exit status, and how it is to be run."""

    command: str
    class_name: str
    # The text that must be in the result of either shell: so that equal results aren't equally empty.
    tells: str
    status: int = 0
    wishes: dict = field(default_factory=dict)
    # It is ended by the agent, which may end what writes our log with it.
    cut: bool = False

    def call(self, client: Client) -> tuple[str, dict]:
        """As this agent's tool is called."""
        return client.call(self.command, **self.wishes)


COMMON = [
    Step("echo hi; sleep 0.2; echo err >&2", "explore", "err"),
    Step("pwd; ls -a", "explore", "@WORK@"),
    Step("printf 'a\\nb\\n' | wc -l", "explore", "2"),
    Step("cat <<'EOF' > notes.txt\n\"quoted\" $HOME `here`\nEOF\ncat notes.txt; wc -c notes.txt", "edit", "22 notes.txt"),
    Step("git init -q . && git add -A && git status --short", "git", "A  notes.txt"),
    Step("printf 'all:\\n\\t@echo made\\n' > Makefile && make all", "build", "made"),
    Step("mkdir t; echo 'import unittest' > t/test_x.py; /usr/bin/python3 -m unittest -q t/test_x.py 2>&1 | tail -1", "test", "OK"),
    Step("/usr/bin/python3 -m pip install --no-index nothing-of-that-name 2>&1 | tail -1; true", "install", ""),
    Step("ls notes.txt /nowhere-at-all 2>&1", "explore", "notes.txt", status=2),
    Step("nope-nope-nope", "run", "127", status=127),
    # The shell says so on standard error, which some agents read apart from the rest.
    Step("sh -c 'kill -TERM $$'; s=$?; sleep 0.2; echo $s", "explore", "143"),
    Step("sh -c 'kill -KILL $$'; s=$?; sleep 0.2; echo $s", "explore", "137"),
    Step("head -c 300000 /dev/zero | tr '\\0' x; echo; seq 3", "explore", "xxxx"),
    Step("trap 'echo bye' EXIT; echo $((6 * 7)); printf '\\303\\244\\n'", "explore", "42"),
    Step("sleep 41 >/dev/null 2>&1 & echo started", "explore", "started"),
]
CUT = Step("echo before; sleep 31; echo after", "explore", "before", wishes={"timeout_ms": 2000, "yield_ms": 500}, cut=True)
LAST = Step(ABORTED, "explore", "", cut=True)
# Where the agent can put commands aside: one that it is asked to, and one whose time runs out, which lives as long as the agent.
BACKGROUND = [
    Step("sleep 1; echo late >late.txt", "edit", "background", wishes={"background": True}),
    Step("until test -s late.txt; do sleep 0.1; done; cat late.txt", "explore", "late"),
    Step("echo before; sleep 37; echo after", "explore", "background", wishes={"timeout_ms": 2000}, cut=True),
]

# Where limits are in force: a command that takes more than its class may, and what the model must read then.
OOM_POLICY = "version: 1\nclasses:\n  edit:\n    memory.max: 128M\n"
OOM = [
    Step("echo hi", "explore", "hi"),
    Step("dd if=/dev/zero of=/dev/null bs=256M count=1", "edit", "[agentsh]", wishes={"yield_ms": 30000, "timeout_ms": 300000}, cut=True),
    Step("echo still here", "explore", "still here"),
]


def steps(client: Client) -> list[Step]:
    """What a client is to do, in words that it takes."""
    asked = BACKGROUND if client.has_background else [*COMMON, *(BACKGROUND[:2] if client.sets_aside else []), CUT, LAST]
    return [replace(step, command=_worded(step.command, client.asked), tells=_worded(step.tells, client.told)) for step in asked]


def _worded(text: str, words: dict[str, str]) -> str:
    for own, its in words.items():
        text = text.replace(own, its)
    return text
