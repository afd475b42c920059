"""An agent of tests/bench/agents, in its own cgroup: has memory of its own, and makes the tool calls of its plan, one after
another, as an agent does: each through a shell, and it waits for its end.

Usage: agent.py FOLDER NUMBER

FOLDER has plan-NUMBER, gets ready-NUMBER when it may begin, begins when `go` is there (ns of CLOCK_MONOTONIC), and gets
result-NUMBER at the end. A call that fails is run again after a while, as agents do with what was killed and wasn't at fault;
after so many times the agent goes on without it.
"""

import json
import os
import subprocess
import sys
import time

PAGE = 4096
# How often a call is tried.
TRIES = 4


def publish(folder: str, name: str, text: str) -> None:
    """A file that is there as a whole or not at all."""
    with open(f"{folder}/.{name}", "w", encoding="ascii") as file:
        file.write(text)
    os.rename(f"{folder}/.{name}", f"{folder}/{name}")


def own_memory(wanted: int) -> bytearray:
    """As much as is wanted, less what this interpreter has already; each page is written to."""
    with open("/proc/self/statm", encoding="ascii") as file:
        resident = int(file.read().split()[1]) * PAGE
    return bytearray(b"\1" * PAGE) * (max(0, wanted - resident) // PAGE)


def wait_for(path: str) -> str:
    """What is in a file, once it is there. Who has started us ends us if that never comes."""
    while not os.path.exists(path):
        time.sleep(0.05)
    with open(path, encoding="ascii") as file:
        return file.read()


def call(shell: list[str], command: str, errors: str) -> dict:
    """A tool call: how it ended, and what its standard error says in the end."""
    begun = time.monotonic()
    with open(errors, "wb") as file:
        process = subprocess.Popen([*shell, "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file)
        status = process.wait()
    with open(errors, "rb") as file:
        told = file.read()[-2000:].decode("utf-8", "replace").strip()
    return {"pid": process.pid, "status": status, "seconds": time.monotonic() - begun, "told": told}


def main() -> None:
    """The agent's life."""
    folder, number = sys.argv[1:]
    with open(f"{folder}/plan-{number}", encoding="utf-8") as file:
        plan = json.load(file)
    own = own_memory(plan["own"])
    publish(folder, f"ready-{number}", "")
    begin = int(wait_for(f"{folder}/go")) / 1e9 + plan["offset"]
    calls = []
    for place, (pause, command) in enumerate(plan["steps"]):
        # It thinks for so long, counted from when it has the last call's result.
        since = begin if place == 0 else time.monotonic()
        time.sleep(max(0.0, since + pause - time.monotonic()))
        for attempt in range(TRIES):
            calls.append({"step": place, **call(plan["shell"], command, f"{folder}/errors-{number}-{place}-{attempt}")})
            if calls[-1]["status"] == 0:
                break
            time.sleep(plan["again"])
    time.sleep(max(0.0, (begin if not calls else time.monotonic()) + plan["last_pause"] - time.monotonic()))
    publish(folder, f"result-{number}", json.dumps({"seconds": time.monotonic() - begin, "ended": time.monotonic(), "calls": calls}))
    # It had it all the time.
    del own


main()
