#!/usr/bin/env python3
"""The socket at which containers ask for their own calls/: who gets what, and that nobody keeps it from others."""
# kernels: newest
# mem: 2048
# timeout: 900

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from driven import MEMORY, Running  # noqa: E402
from roots import OPT, Podman, busybox, cgroup_of, opt  # noqa: E402
from sessions import equal, program, report, run, until  # noqa: E402

DOOR = "/run/agentsh/helper.sock"
INSIDE = "/run/helper.sock"
REQUEST = b"agentsh\x01"


def serve():
    """Begins serving."""
    process = subprocess.Popen([program("agentsh-helper"), "serve"], stdout=subprocess.PIPE, text=True)
    report("serve listens", process.stdout.readline() == "serving\n" and os.path.exists(DOOR))
    return process


def knock(*said):
    """A connection that has said this; none if it wasn't let in at once."""
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    try:
        connection.connect(DOOR)
        for part in said:
            connection.send(part)
        return connection
    except OSError:
        connection.close()
        return None


def answer(connection, seconds=10):
    """What comes back: whether it is a yes, and the text; or that it ended."""
    connection.settimeout(seconds)
    data = b""
    with contextlib.suppress(OSError):
        while part := connection.recv(1024):
            data += part
    return (data[0], data[1:].rstrip(b"\0").decode()) if data else None


def container(podman, root, *options):
    """A container with the socket in it."""
    return Running(podman, ("--rootfs", root), "sh", "-v", f"{DOOR}:{INSIDE}", *options)


def ask(podman, running, *options):
    """Asks from inside; again if told to."""
    end = time.monotonic() + 90
    while True:
        done = podman("exec", *options, running.container, "/opt/agentsh/libexec/agentsh-helper", "attach", "--ask", INSIDE)
        if done.returncode == 0 or time.monotonic() > end:
            return done
        time.sleep(1)


def flood():
    """10,000 connects that say nothing, garbage, a part of a request, or read no answer. How many got in."""
    said = ((), (b"\0" * 64,), (b"agentsh",), (REQUEST + b"x",), (REQUEST,))
    held, count = [], 0
    for number in range(10_000):
        connection = knock(*said[number % len(said)])
        count += connection is not None
        if connection:
            held.append(connection)
        if len(held) > 400:
            held.pop(0).close()
    for connection in held:
        connection.close()
    return count


def main():
    """The case."""
    opt()
    shutil.copy(program("agentsh-helper"), f"{OPT}/libexec/agentsh-helper")
    server = serve()
    root, podman = busybox(), Podman()
    first = container(podman, root)
    group = cgroup_of(first.pid)
    done = ask(podman, first)
    equal("a container asks and gets its calls/", (done.returncode, done.stdout), (0, f"{MEMORY // 2} MiB for calls\n"))
    equal("its processes are in agent/", cgroup_of(first.pid), f"{group}/agent")
    equal("its calls in leaves", [r["leaf"] for r in first(["ls"])[2]], ["explore-0"])

    refused = answer(knock(REQUEST))
    report("a process of the host gets nothing", refused is not None and refused[0] == 0, refused)
    for what, said in (("garbage", b"\xff" * 64), ("another version", b"agentsh\x02"), ("more than a request", REQUEST + b"1")):
        equal(f"{what} is answered by an end", answer(knock(said)), None)
    equal("who says nothing is sent away", answer(knock()), None)

    second = container(podman, root)
    attacker = os.fork()
    if attacker == 0:
        os.setgid(1500)
        os.setuid(1500)
        print(f"# {flood()} of 10,000 connects got in", flush=True)
        os._exit(0)
    done = ask(podman, second)
    equal("10,000 connects at the same time: another container still gets its own", done.returncode, 0)
    os.waitpid(attacker, 0)
    report("serve lives", server.poll() is None)
    report("and holds no more descriptors than before", until(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) < 40), os.listdir(f"/proc/{server.pid}/fd"))

    server.send_signal(signal.SIGKILL)
    server.wait(20)
    equal("without serve the container's calls go on as before", [r["leaf"] for r in second(["ls"])[2]], ["explore-0"])
    server = serve()
    third = container(podman, root, "--user", "1000")
    equal("a new serve serves new containers", ask(podman, third, "--user", "33").returncode, 0)
    equal("for the user of the first process, whoever asks", [r["leaf"] for r in third(["ls"])[2]], ["explore-0"])
    server.kill()
    server.wait(20)
    for running in (first, second, third):
        running.end()
    run("rm", "-f", DOOR)


main()
