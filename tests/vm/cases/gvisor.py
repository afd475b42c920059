#!/usr/bin/env python3
"""gVisor as Docker's runtime: commands do as without agentsh and are recorded; doctor says what is missing; attach leaves it alone."""
# kernels: newest
# mem: 2048
# timeout: 600
# engines: trixie

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import Running, everything  # noqa: E402
from engine import Docker  # noqa: E402
from roots import PLACE, busybox, cgroup_of, opt  # noqa: E402
from sessions import equal, program, report, run  # noqa: E402

HELPER = program("agentsh-helper")


def main():
    """The case."""
    opt()
    root = busybox()
    runtime = f"{PLACE}/runsc"
    with open(runtime, "w", encoding="ascii") as file:
        # Docker's `--network none` is not enough for it here, where there is no network namespace to begin with.
        file.write('#!/bin/sh\nexec /usr/bin/runsc --network=none "$@"\n')
    os.chmod(runtime, 0o755)
    docker = Docker("--add-runtime", f"runsc={runtime}")
    try:
        image = docker.image("agentsh-busybox", root)
        running = Running(docker, (image,), "sh", "--runtime", "runsc")
        said = running.tries("/opt/agentsh/libexec/busybox uname -rv")[0]
        report("it is gVisor", "gVisor" in said or "Sun Jan 10 15:06:54 PST 2016" in said, said)
        log = everything("gVisor", running, in_leaf=False)
        report("gVisor: the log says why there is no leaf", all(record["degraded"] for record in log), log[:1])
        group = cgroup_of(running.pid)
        done = run(HELPER, "attach", running.container)
        report("gVisor: attach says that it is out of reach", done.returncode != 0 and "process" in done.stderr, done)
        equal("gVisor: and has changed nothing", (cgroup_of(running.pid), os.path.exists(f"{group}/calls"), os.path.exists(f"{group}/agent")), (group, False, False))
        print(f"# {done.stderr.strip()}", flush=True)
        running.end()
    finally:
        docker.end()


main()
