#!/usr/bin/env python3
"""Programs that size themselves by the limits that they see must see what they would have seen without agentsh."""
# kernels: newest lts
# mem: 3072
# timeout: 900

import json
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from sessions import CGROUPS, PYTHON, equal, program, report, run, write  # noqa: E402

FOLDER = "/tmp/agentsh-seen"
BASH, LOG = f"{FOLDER}/bin/bash", f"{FOLDER}/calls.jsonl"
LIMIT = "2G"
# What decides the class is the heaviest part, which doesn't have to run.
HEAVIEST = {"run": "true", "test": "false && pytest", "build": "false && make", "install": "false && npm install"}
NEEDED = {"node": "nodejs", "java": "default-jre-headless", "nproc": "coreutils"}
PROBE = r"""
node -p 'v8.getHeapStatistics().heap_size_limit'
java -XX:+PrintFlagsFinal -version 2>/dev/null | awk '$2 == "MaxHeapSize" { print $4 }'
nproc
"""
SECONDS = 300


def answers(*command, **options):
    """What node, the JVM and nproc say."""
    done = run(*command, seconds=SECONDS, **options)
    seen = dict(zip(NEEDED, done.stdout.split()))
    if done.returncode != 0 or len(seen) != len(NEEDED):
        print(f"# {command[0]}: status {done.returncode}, {done.stdout!r}, {done.stderr!r}", flush=True)
    return seen


def without(group):
    """Plain bash, in a cgroup with the session's own limit, or in the root's."""
    join = f"echo $$ >{group}/cgroup.procs && exec /bin/bash -c \"$1\""
    return answers("/bin/sh", "-c", join, "sh", PROBE)


def as_agent(classes):
    """In the session: the same under the launcher, as JSON."""
    environment = {**os.environ, "AGENTSH_LOG": LOG}
    found = {name: answers(BASH, "-c", f"{HEAVIEST[name]}\n{PROBE}", env=environment) for name in classes}
    print(json.dumps(found))


def within(name, classes, *limit):
    """The answers in a session, by class."""
    command = [program("agentshctl"), "run", "--session", name, *limit, "--", PYTHON, os.path.abspath(__file__), *classes]
    done = run(*command, seconds=SECONDS * len(classes))
    sys.stdout.writelines(line + "\n" for line in done.stdout.splitlines() if line.startswith("#"))
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        print(f"# the session: status {done.returncode}, {done.stdout!r}, {done.stderr!r}", flush=True)
        return {}


def compare(what, plain, seen, classes):
    """One line for each class: what its programs see."""
    for name in classes:
        equal(f"{what}, programs of class {name} see what they see without agentsh", seen.get(name), plain)


def leaves(expected):
    """The calls really were in leaves of their classes."""
    with open(LOG, encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    seen = [(record["class"], (record["leaf"] or "none").rsplit("-", 1)[0]) for record in records]
    equal("each ran in a leaf of its class", seen, [(name, name) for name in expected])


def sizing():
    """The programs that a limit must show in, so that being the same means something."""
    with open("/proc/cgroups", encoding="ascii") as file:
        listed = [line.split()[0] for line in file]
    if "memory" in listed:
        return "node", "java"
    print("# the JVM looks for memory in /proc/cgroups, where this kernel doesn't list it any more: it sees no limit", flush=True)
    return ("node",)


def main():
    """The case."""
    missing = [f"{command} (Debian: {package})" for command, package in NEEDED.items() if not shutil.which(command)]
    if missing:
        report("node, java and nproc are on this machine", False, f"install {', '.join(missing)}; tests/programs does")
        return
    os.makedirs(f"{FOLDER}/bin")
    shutil.copy(program("agentsh"), BASH)
    group = f"{CGROUPS}/plain"
    os.mkdir(group)
    write(f"{group}/memory.max", LIMIT)
    limited, unlimited = without(group), without(CGROUPS)
    os.rmdir(group)
    print(f"# below {LIMIT}: {limited}; without a limit: {unlimited}", flush=True)
    for name in sizing():
        report(f"{name} sizes itself by a limit", limited.get(name) != unlimited.get(name), limited)
    classes = list(HEAVIEST)
    compare(f"in a session of {LIMIT}", limited, within("limited", classes, "--memory-max", LIMIT), classes)
    compare("in a session without a limit", unlimited, within("unlimited", ["test"]), ["test"])
    leaves([*classes, "test"])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        as_agent(sys.argv[1:])
    else:
        main()
