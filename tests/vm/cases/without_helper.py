#!/usr/bin/env python3
"""Once a container has its calls/, no helper is needed: 200 calls, and serve, which gave it to the container, is killed in
the middle. What a call asks the kernel for is the same before and after. What it costs, with serve alive and killed in turns, is
said at the end but not judged: tests/bench/attached does that, with more calls."""
# kernels: newest
# mem: 2048
# timeout: 400

import os
import re
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bench"))

import callers  # noqa: E402
import serving  # noqa: E402
from driven import MEMORY, Running  # noqa: E402
from roots import OPT, Podman, busybox, opt  # noqa: E402
from sessions import equal, program, report, run, until  # noqa: E402

DOOR = "/run/agentsh/helper.sock"
INSIDE = "/run/helper.sock"
CALLS = 200
# Of how many pairs of blocks of how many calls the cost is said, and after which time no more of them begin.
PAIRS, BLOCK, PAIRS_SECONDS = 8, 8, 30
TRACE = "/opt/agentsh/trace"


def tracer():
    """strace with its libraries, for a root that has none."""
    place = f"{OPT}/trace"
    os.makedirs(place)
    shutil.copy("/usr/bin/strace", place)
    for word in run("ldd", "/usr/bin/strace").stdout.split():
        if word.startswith("/"):
            shutil.copy(os.path.realpath(word), f"{place}/{os.path.basename(word)}")


def asked(running):
    """What a call asks the kernel for that could reach anybody else: each file and each socket. It lasts long enough to be looked at."""
    loader = [f"{TRACE}/ld-linux-x86-64.so.2", "--library-path", TRACE, f"{TRACE}/strace"]
    trace = ["-f", "-qq", "-e", "trace=%file,%network", "-e", "signal=none", "-o", "/out/trace"]
    command = [*loader, *trace, "/bin/sh", "-c", "echo traced; sleep 1; exit 5"]
    done = running.podman("exec", *running.variables(), running.container, *command)
    equal("a traced call does as others", (done.returncode, done.stdout), (5, "traced\n"))
    with open(f"{running.out}/trace", encoding="utf-8", errors="replace") as file:
        return [line.split(None, 1)[1].rstrip() for line in file]


def reached(lines):
    """Who is called at a socket, but for whom the real shell's C library asks for the user's name; and serve's socket itself."""
    called = [line for line in lines if re.match(r"(connect|sendto|sendmsg|bind)\w*\(", line) and "/nscd/socket" not in line]
    return called + [line for line in lines if DOOR in line or INSIDE in line]


def files(lines):
    """The files that are named, however often: numbers are others in each call."""
    names = {name for line in lines for name in re.findall(r'"(/[^"]*|[a-z]+\.[a-z.]+)"', line) if "(" in line}
    return sorted({re.sub(r"\d+", "N", name) for name in names})


def cost(running):
    """What a call costs with serve alive and with serve killed, in turns."""
    with open(f"{running.out}/list", "w", encoding="ascii") as file:
        file.write("0 0 true\n")
    serve = serving.Serve(program("agentsh-helper"))
    player = callers.Callers(running.podman, running.container, "/out/list", times=True)
    player.play(BLOCK, serving.BLOCK_SECONDS)
    took, wrong = serving.in_turns(serve, player, PAIRS, BLOCK, PAIRS_SECONDS)
    serve.set(False)
    player.end()
    equal("calls with serve started and killed in turns: every command right", wrong, 0)
    ratio, low, high = serving.compared(took)
    pairs = len(took["alive"])
    print(f"# a call with serve alive against serve killed: {ratio:.3f} [{low:.3f}, {high:.3f}] ({pairs} pairs of {BLOCK})", flush=True)


def main():
    """The case."""
    callers.build(opt())
    tracer()
    shutil.copy(program("agentsh-helper"), f"{OPT}/libexec/agentsh-helper")
    server = subprocess.Popen([program("agentsh-helper"), "serve"], stdout=subprocess.PIPE, text=True)
    report("serve listens", server.stdout.readline() == "serving\n")
    podman = Podman()
    running = Running(podman, ("--rootfs", busybox()), "sh", "-v", f"{DOOR}:{INSIDE}")
    done = podman("exec", running.container, "/opt/agentsh/libexec/agentsh-helper", "attach", "--ask", INSIDE)
    equal("serve gives the container its calls/", (done.returncode, done.stdout), (0, f"{MEMORY // 2} MiB for calls\n"))
    # The first call makes its leaf, those after it use it again.
    asked(running)
    before = asked(running)

    marker = "echo >/out/half"
    commands = [f"echo {n}; exit {n % 7}" for n in range(CALLS)]
    commands.insert(CALLS // 2, marker)

    def kill():
        report("the calls come to their middle", until(lambda: os.path.exists(f"{running.out}/half"), 200))
        report("serve lived until then", server.poll() is None)
        server.send_signal(signal.SIGKILL)
        server.wait(20)

    killer = threading.Thread(target=kill)
    killer.start()
    _, said, log = running(commands)
    killer.join(30)
    expected = [["0"] if c == marker else [str(int(c.split()[-1])), f"out: {c.split()[1][:-1]}"] for c in commands] + [["end"]]
    wrong = [(a, b) for a, b in zip(said, expected) if a != b]
    report(f"{CALLS} calls, serve killed in the middle: every command right", said == expected, (len(said), wrong[:3]))
    equal("and in a leaf, with nothing amiss", sum(1 for r in log if r["leaf"] and not r["degraded"]), len(commands))

    after = asked(running)
    report("the traces have a call's leaf in them", all("/run/agentsh/calls" in str(lines) for lines in (before, after)), before[:20])
    equal("a call reaches nobody at a socket, with serve or without", (reached(before), reached(after)), ([], []))
    equal("and the same files", files(after), files(before))
    cost(running)
    running.end()
    run("rm", "-f", DOOR)


main()
