"""What the cases about sessions share: the programs under test, small cgroup helpers, and `report`."""

import atexit
import os
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
CGROUPS = "/sys/fs/cgroup"
POOL = f"{CGROUPS}/agentsh"
POLICY = "/etc/agentsh/policy.d/case.yaml"
MIB = 1 << 20
# The system's: the one that runs this may lie in a folder that only root may enter.
PYTHON = "/usr/bin/python3"


def program(name):
    """A program as `cargo build` leaves it."""
    target = os.environ.get("CARGO_TARGET_DIR", f"{ROOT}/target")
    folders = [os.environ.get("AGENTSH_BUILD", ""), f"{target}/{os.uname().machine}-unknown-linux-gnu/debug"]
    for folder in filter(None, folders):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise SystemExit(f"{name} is not built in {' or '.join(folders)}: run cargo build")


def report(name, good, detail=""):
    """One line of the result."""
    print(f"ok {name}" if good else f"not ok {name}: {detail}", flush=True)


def equal(name, seen, expected):
    """The same, of two values."""
    report(name, seen == expected, f"expected {expected!r}, saw {seen!r}")


def read(*path):
    """A cgroup's file, stripped; none if it can't be read."""
    try:
        with open(os.path.join(*path), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None


def write(path, text):
    """Writes a cgroup's file. Returns why that failed, or an empty text."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return ""
    except OSError as error:
        return error.strerror


def event(directory, file, key):
    """A key's number in a flat keyed file."""
    for line in (read(directory, file) or "").splitlines():
        if line.split(" ")[0] == key:
            return int(line.split(" ")[1])
    return 0


def until(done, seconds=20):
    """Waits for something. Did it come?"""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done():
            return True
        time.sleep(0.02)
    return bool(done())


def run(*arguments, seconds=60, **options):
    """Runs a command to its end. A command that hangs fails the case."""
    return subprocess.run(
        arguments, capture_output=True, text=True, errors="replace", timeout=seconds, check=False, **options
    )


def agent(*arguments, script, seconds=60, **options):
    """Runs a Python text as an agent in a new session: its output. Its errors go to ours."""
    command = [program("agentshctl"), "run", *arguments, "--", PYTHON, "-c", script]
    result = run(*command, seconds=seconds, **options)
    if result.returncode or result.stderr:
        print(f"# status {result.returncode}; {result.stderr.strip()}", flush=True)
    if result.returncode:
        report("the agent's script comes to its end", False, f"status {result.returncode}")
    return result.stdout.strip()


def policy(text, compiled=True):
    """Puts a system policy into force, until this case ends: the next one has the same machine. Compiled for calls, too, or as
    an operator leaves it, which root's tools must take up by themselves."""
    atexit.register(_no_policy)
    os.makedirs("/etc/agentsh/policy.d", exist_ok=True)
    write(POLICY, "version: 1\n" + text)
    done = run(program("agentshctl"), "policy", *(["compile"] if compiled else ["check"]))
    if done.returncode:
        raise SystemExit(f"the policy isn't good: {done.stdout}{done.stderr}")


def _no_policy():
    if os.path.exists(POLICY):
        os.unlink(POLICY)
        # Or the next session would have the reserve of this one: what is compiled is renewed by calls.
        run(program("agentshctl"), "policy", "compile")


# What an agent's script begins with: `call` runs a tool call as agents do, and gives what the agent and the log see of it.
CALLS = r"""
import json, os, subprocess, sys, time
AGENTSH, LOG = os.environ["CASE_AGENTSH"], os.environ["AGENTSH_LOG"]
SESSION = "/sys/fs/cgroup" + open("/proc/self/cgroup").read().strip().split("::")[1].removesuffix("/agent")
def records():
    try:
        return [json.loads(line) for line in open(LOG)]
    except FileNotFoundError:
        return []
def start(command, **options):
    pipe = subprocess.PIPE
    return subprocess.Popen([AGENTSH, "-c", command], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, **options)
class Call:
    def __init__(self, process, seconds):
        before = time.monotonic()
        self.out, self.err = process.communicate(timeout=seconds)
        self.seconds, self.status = time.monotonic() - before, process.returncode
        mine = [r for r in records() if int(r["id"].rpartition("-")[2], 16) == process.pid]
        self.record = mine[-1] if mine else {}
        self.told = "\n".join(l for l in self.err.splitlines() if l.startswith("[agentsh]"))
    def __repr__(self):
        return f"status {self.status} after {self.seconds:.1f} s, stderr {self.err!r}, record {self.record}"
def call(command, seconds=60, **options):
    return Call(start(command, **options), seconds)
def report(name, good, detail=""):
    print(f"ok {name}" if good else f"not ok {name}: {detail}", flush=True)
def read(*path):
    try:
        return open(os.path.join(*path)).read().strip()
    except OSError:
        return None
def until(done, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if done(): return True
        time.sleep(0.02)
    return bool(done())
def has(path, line):
    return line in (read(path) or "").splitlines()
"""


def calls(*arguments, script, seconds=120):
    """Runs a Python text that makes tool calls as an agent in a new session; what it reports is passed on."""
    os.environ["CASE_AGENTSH"] = program("agentsh")
    os.environ["AGENTSH_LOG"] = f"/tmp/calls-{time.monotonic_ns()}.jsonl"
    print(agent(*arguments, script=CALLS + script, seconds=seconds), flush=True)
