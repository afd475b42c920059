#!/usr/bin/env python3
"""Policies on real leaves: what the files say is what the kernel has, and a broken file changes nothing."""
# kernels: newest
# mem: 2048
# timeout: 900

import json
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import MIB, PYTHON, equal, program, read, report, run, until  # noqa: E402

FOLDER = "/tmp/agentsh-policies"
BASH, CTL, LOG = f"{FOLDER}/bin/bash", f"{FOLDER}/bin/agentshctl", f"{FOLDER}/calls.jsonl"
WORKSPACE = f"{FOLDER}/work"
SITE, BROKEN = "/etc/agentsh/policy.d/50-site.yaml", "/etc/agentsh/policy.d/60-broken.yaml"
CALLS = "/sys/fs/cgroup/agentsh/policies/calls"
KNOBS = ("memory.high", "memory.max", "pids.max", "cpu.weight", "memory.oom.group")
# A call reads its own leaf. Looking is class explore; what comes first can be heavier.
LOOK = "cd /sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup) && cat " + " ".join(KNOBS)
# The policy's defaults for class explore, as the leaf shows them below a budget of 988 MiB, of which others keep 24.
EXPLORE = {"memory.high": 256 * MIB, "memory.max": 964 * MIB, "pids.max": 512, "cpu.weight": 300, "memory.oom.group": 1}
OVERRIDE = """version: 1
overrides:
  - match: special-tool --now*
    memory.high: 300M
    memory.max: 600M
    limits: birth
    pids.max: 77
    cpu.weight: 77
    oom: process
"""
SPECIAL = {"memory.high": 300 * MIB, "memory.max": 600 * MIB, "pids.max": 77, "cpu.weight": 77, "memory.oom.group": 0}
# The line of each knob above, and its value as `explain` writes it.
LINES = {"memory.high": (4, "300M"), "memory.max": (5, "600M"), "pids.max": (7, 77), "cpu.weight": (8, 77), "oom": (9, "process")}
SECONDS = 120


def put(path, text):
    """Writes a policy file."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def call(command="true", cwd="/", hint=None):
    """The knobs of the leaf that a call with this command runs in, as it sees them itself."""
    environment = {"PATH": f"{FOLDER}/tools:/usr/bin:/bin", "HOME": FOLDER, "AGENTSH_LOG": LOG}
    environment |= {"AGENT_RESOURCE_HINT": hint} if hint else {}
    done = run(BASH, "-c", f"{command}; {LOOK}", env=environment, cwd=cwd, seconds=SECONDS)
    values = done.stdout.split()
    if done.returncode or len(values) != len(KNOBS):
        print(f"# {command!r}: status {done.returncode}, {done.stdout!r}, {done.stderr!r}", flush=True)
    return {knob: int(value) if value.isdigit() else value for knob, value in zip(KNOBS, values)}


def settle(cwd="/"):
    """One call after a change of files, and the end of the compiler that it has started."""
    call(cwd=cwd)
    names = lambda: [read("/proc", pid, "comm") for pid in filter(str.isdigit, os.listdir("/proc"))]  # noqa: E731
    if not until(lambda: "agentshctl" not in names(), SECONDS):
        report("the compiler comes to its end", False, names())


def ctl(*arguments, hint=None, cwd="/"):
    """agentshctl's answer as JSON."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": FOLDER} | ({"AGENT_RESOURCE_HINT": hint} if hint else {})
    done = run(CTL, *arguments, env=environment, cwd=cwd, seconds=SECONDS)
    try:
        return json.loads(done.stdout)
    except ValueError:
        print(f"# {arguments}: status {done.returncode}, {done.stdout!r}, {done.stderr!r}", flush=True)
        return {}


def overrides():
    """An override changes the real leaf's knobs, and explain names its lines."""
    equal("without a file the built-in values are on the leaf", call(), EXPLORE)
    put(SITE, OVERRIDE)
    settle()
    equal("an override is on the leaf of the command that it matches", call("special-tool --now"), SPECIAL)
    equal("and on no other's", call("special-tool --later")["pids.max"], 4096)
    told = ctl("explain", "--json", "--", f"special-tool --now; {LOOK}").get("knobs", {})
    seen = {knob: (told.get(knob, {}).get("from"), told.get(knob, {}).get("value")) for knob in LINES}
    equal("explain names the line of each", seen, {knob: (f"{SITE}:{line}", value) for knob, (line, value) in LINES.items()})
    put(SITE, OVERRIDE.replace("pids.max: 77", "pids.max: 78"))
    settle()
    equal("a changed file is in force one call later", call("special-tool --now")["pids.max"], 78)


def hints():
    """A hint is obeyed within the budget and not beyond."""
    wished = {**EXPLORE, "memory.high": 512 * MIB, "cpu.weight": 50}
    equal("a hint in the environment is obeyed", call(hint="memory:512m,cpu:low"), wished)
    within = call("AGENT_RESOURCE_HINT=memory:300m ls / >/dev/null")
    equal("and one in the command", within["memory.high"], 300 * MIB)
    budget = int(read(CALLS, "memory.max"))
    equal("the budget is what the policy leaves to calls", budget, 988 * MIB)
    greedy = call(hint="memory:8g")
    equal("a hint beyond the budget is cut to it", (greedy["memory.high"], greedy["memory.max"]), (budget - 24 * MIB,) * 2)
    told = ctl("explain", "--json", "--", "ls", hint="memory:8g")
    report("and explain says so", told["hint"]["cut"] and any("988M" in note for note in told["notes"]), told)
    equal("nonsense is no hint", call(hint="memory:lots"), EXPLORE)


def workspace():
    """.agentsh.yaml can tighten and nothing else."""
    mine = f"{WORKSPACE}/.agentsh.yaml"
    put(mine, "version: 1\nclasses:\n  explore:\n    memory.high: 100M\n    memory.max: 200M\n    pids.max: 50\n    cpu.weight: 10\n")
    settle(WORKSPACE)
    tight = {"memory.high": 100 * MIB, "memory.max": 200 * MIB, "pids.max": 50, "cpu.weight": 10, "memory.oom.group": 1}
    equal("a workspace's file tightens", call(cwd=WORKSPACE), tight)
    equal("in its workspace only", call(), EXPLORE)
    put(mine, "version: 1\nclasses:\n  explore:\n    memory.high: 900M\n    memory.max: max\n    pids.max: 40\n    cpu.weight: 9000\n")
    settle(WORKSPACE)
    equal("what would loosen is left out, knob by knob", call(cwd=WORKSPACE), {**EXPLORE, "pids.max": 40})
    put(mine, "version: 1\nlog:\n  enabled: false\nclasses:\n  explore:\n    on_exit: kill\n")
    settle(WORKSPACE)
    before = logged()
    call(cwd=WORKSPACE)
    equal("it can't switch the log off", logged(), before + 1)
    seen = run(CTL, "policy", "check", cwd=WORKSPACE, env={"PATH": "/usr/bin:/bin", "HOME": FOLDER}, seconds=SECONDS)
    report("and is told so, by line", all(f"{mine}:{line}:" in seen.stdout for line in (2, 6)), seen.stdout)


def logged():
    """How many calls the log has."""
    with open(LOG, encoding="utf-8") as file:
        return len(file.readlines())


def broken():
    """A broken file leaves the last good policy in force, and doctor names it."""
    put(BROKEN, "version: 1\nclasses:\n  explore:\n    memory.high: lots\n    pids.max: 11\n")
    settle()
    equal("a broken file leaves the last good policy in force", call("special-tool --now"), {**SPECIAL, "pids.max": 78})
    equal("all of it", call(), EXPLORE)
    checks = [check for check in ctl("doctor", "--json").get("checks", []) if check["name"] == "policy"]
    report("doctor names the file and the line", any(check["state"] == "missing" and f"{BROKEN}:4:" in check["detail"]
                                                     for check in checks), checks)
    put(BROKEN, "version: 1\nclasses:\n  explore:\n    pids.max: 11\n")
    settle()
    equal("once mended it is in force", call(), {**EXPLORE, "pids.max": 11})
    os.unlink(BROKEN)
    settle()
    equal("and no longer once it is gone", call(), EXPLORE)
    states = {check["state"] for check in ctl("doctor", "--json").get("checks", []) if check["name"] == "policy"}
    equal("of which doctor has nothing to say then", states, {"ok"})


def main():
    """Lays the programs out and becomes the agent of a session of 1500 MiB."""
    for folder in ("bin", "tools", "work"):
        os.makedirs(f"{FOLDER}/{folder}")
    shutil.copy(program("agentsh"), BASH)
    shutil.copy(program("agentshctl"), CTL)
    put(f"{FOLDER}/tools/special-tool", "#!/bin/sh\n:\n")
    os.chmod(f"{FOLDER}/tools/special-tool", 0o755)
    os.execv(CTL, [CTL, "run", "--session", "policies", "--memory-max", "1500M", "--", PYTHON, os.path.abspath(__file__), "agent"])


if __name__ == "__main__":
    if sys.argv[1:] == ["agent"]:
        for part in (overrides, hints, workspace, broken):
            part()
    else:
        main()
