#!/usr/bin/env python3
"""What an agent starts past the shell: put into a leaf of its class by `agentsh-helper serve`, and nothing else is."""
# kernels: newest mid lts
# mem: 1024
# timeout: 150

import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import CALLS, MIB, calls, equal, policy, program, report, run, until  # noqa: E402

HELPER = program("agentsh-helper")
LOG = "/tmp/served.jsonl"

# An agent that starts programs by itself. `leaf(process)` waits until one is in a leaf; `stays` that it hasn't got any.
AGENT = r"""
import signal
def cgroup(pid):
    return (read(f"/proc/{pid}/cgroup") or "").rpartition("/")[2]
def begin(*argv, **options):
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, **options)
def end(process):
    process.stdin.close()
    process.wait(timeout=60)
def leaf(process):
    until(lambda: cgroup(process.pid) != "agent")
    return cgroup(process.pid)
WAIT = "import sys; sys.stdin.read()"
def script(name, text):
    os.makedirs("/tmp/served", exist_ok=True)
    path = "/tmp/served/" + name
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path
"""

MOVED = AGENT + r"""
grown = "#!/usr/bin/python3\nimport sys\nsys.stdin.readline()\nmany = b'y' * (32 << 20)\nsys.stdin.read()\n"
tests = begin(script("pytest", grown), "-q")
report("the agent's own tests get a leaf of their class", leaf(tests).startswith("test-"), cgroup(tests.pid))
leaves = SESSION + "/calls/" + cgroup(tests.pid)
report("with the knobs of one", read(leaves, "pids.max") == "300", read(leaves, "pids.max"))
before = int(read(leaves, "memory.current"))
tests.stdin.write(b"\n"); tests.stdin.flush()
report("what they take from then on is theirs", until(lambda: int(read(leaves, "memory.current")) > before + (28 << 20)))
end(tests)
report("the leaf is empty afterwards", until(lambda: has(leaves + "/cgroup.events", "populated 0")))

wrapped = begin("timeout", "60", "/usr/bin/python3", "-c", WAIT)
report("a wrapper is seen through", leaf(wrapped).startswith("run-"), cgroup(wrapped.pid))
children = lambda pid: (read(f"/proc/{pid}/task/{pid}/children") or "").split()
until(lambda: children(wrapped.pid))
report("and what it started is with it", until(lambda: [cgroup(c) for c in children(wrapped.pid)] == [cgroup(wrapped.pid)]),
       [cgroup(c) for c in children(wrapped.pid)])
end(wrapped)

nested = begin(AGENTSH, "-c", "cat")
report("a call is put into its leaf by agentsh alone", until(lambda: any(cgroup(c).startswith("explore-") for c in children(nested.pid))))
staying = {
    "agentsh": nested,
    "a shell": begin("/bin/dash", "-c", "cat; true"),
    "an agent": begin(script("claude", "#!/usr/bin/python3\n" + WAIT)),
    "a worker of the agent's": begin(sys.executable, "-c", WAIT + " # ", "--multiprocessing-fork"),
}
moved = begin("/usr/bin/python3", "-c", WAIT + "  # the last to come")
report("while others are moved", leaf(moved).startswith("run-"), cgroup(moved.pid))
time.sleep(0.5)
for what, process in staying.items():
    report(f"{what} stays where it is", cgroup(process.pid) == "agent", cgroup(process.pid))
report("and so does the agent itself", cgroup(os.getpid()) == "agent", cgroup(os.getpid()))
for process in [moved, *staying.values()]:
    end(process)

# What is started while serve can't look is there already when it moves the program that has started it.
os.kill(int(os.environ["CASE_SERVE"]), signal.SIGSTOP)
names = {"cat": ["/bin/cat"], "agentsh": [AGENTSH, "-c", "cat"], "agent": ["/tmp/served/claude"]}
several = "#!/usr/bin/python3\nimport subprocess\nall = [subprocess.Popen(it) for it in " + repr(list(names.values())) + "]\nfor it in all: it.wait()\n"
tests = begin(script("pytest", several), "-x")
until(lambda: len(children(tests.pid)) == 3 and all(children(it) for it in children(tests.pid)[1:2]))
until(lambda: "claude" in (read(f"/proc/{children(tests.pid)[2]}/cmdline") or ""))
os.kill(int(os.environ["CASE_SERVE"]), signal.SIGCONT)
report("one that has started others is moved", leaf(tests).startswith("test-"), cgroup(tests.pid))
mine = dict(zip(names, children(tests.pid)))
# Who calls agentsh is taken for an agent, so that its programs get leaves too.
report("with what is its own", until(lambda: cgroup(mine["cat"]) != "agent"), cgroup(mine["cat"]))
time.sleep(0.5)
report("but not agentsh and an agent", [cgroup(mine["agentsh"]), cgroup(mine["agent"])] == ["agent"] * 2,
       (cgroup(mine["agentsh"]), cgroup(mine["agent"])))
end(tests)
"""

# Each takes some thirty descriptors of serve's, which begins with a limit of 1,024.
MANY = AGENT + r"""
crowd = [begin("/usr/bin/tail", "-n", "1") for _ in range(48)]
report("of many programs at once each gets its leaf", until(lambda: all(cgroup(it.pid).startswith("explore-") for it in crowd)),
       [cgroup(it.pid) for it in crowd])
served = lambda: len(os.listdir(f"/proc/{os.environ['CASE_SERVE']}/fd"))
report("though serve has more files open for them than it may by default", until(lambda: served() > 1024), served())
for it in crowd:
    it.stdin.close()
for it in crowd:
    it.wait(timeout=60)
report("and closes them", until(lambda: served() < 100), served())
"""

# Serve is killed while a program is in a leaf; the leaf has a memory.high, which nobody would raise any more.
ORPHANED = AGENT + r"""
import signal
search = begin("/usr/bin/tail", "-n", "1")
name = leaf(search)
report("a search gets a leaf with its memory.high", name.startswith("explore-") and read(SESSION, "calls", name, "memory.high") == str(64 << 20),
       (name, read(SESSION, "calls", name, "memory.high")))
open("/tmp/served/ready", "w").close()
report("when serve is killed nothing is left that could make it stand still",
       until(lambda: read(SESSION, "calls", name, "memory.high") == "max"), read(SESSION, "calls", name, "memory.high"))
report("and it goes on", search.poll() is None and cgroup(search.pid) == name)
alone = begin("/usr/bin/python3", "-c", "many = b'x' * (64 << 20); " + WAIT)
until(lambda: int(read(SESSION, "agent/memory.current")) > 64 << 20)
time.sleep(1)
report("without serve programs stay with the agent", cgroup(alone.pid) == "agent", cgroup(alone.pid))
open("/tmp/served/again", "w").close()
report("one that was started meanwhile gets its leaf when serve is back", leaf(alone).startswith("run-"), cgroup(alone.pid))
report("what it had taken by then stays with the agent", int(read(SESSION, "agent/memory.current")) > 60 << 20,
       read(SESSION, "agent/memory.current"))
end(search); end(alone)
"""


def serve():
    """Starts it, and waits until it serves."""
    process = subprocess.Popen(["prlimit", "--nofile=1024:4096", HELPER, "serve"], stdout=subprocess.PIPE, text=True, env=dict(os.environ, AGENTSH_LOG=LOG))
    equal("serve says when it serves", process.stdout.readline(), "serving\n")
    return process


# An agent of another user's: its leaf is made as that user's, and stands still when serve is asked to end.
OWN = AGENT + r"""
search = begin("/usr/bin/tail", "-n", "1")
name = leaf(search)
path = SESSION + "/calls/" + name
owners = {file: os.stat(f"{path}/{file}").st_uid for file in ("", "cgroup.freeze", "memory.high", "cgroup.procs")}
report("a leaf in a session that was handed over is its owner's", set(owners.values()) == {1000}, owners)
open(path + "/cgroup.freeze", "w").write("1")
report("whoever that is can make it stand still", until(lambda: has(path + "/cgroup.events", "frozen 1")))
open("/tmp/served/stands", "w").close()
report("serve lets go what it looked after when it is asked to end", until(lambda: has(path + "/cgroup.events", "frozen 0")))
report("memory.high too", until(lambda: read(path, "memory.high") == "max"), read(path, "memory.high"))
report("and it goes on", search.poll() is None and cgroup(search.pid) == name)
end(search)
"""


def asked_to_end(server):
    """Ends it by SIGTERM while another user's program stands still in its leaf."""
    made = run(HELPER, "session", "own", "--uid", "1000")
    equal("a session is made for another user", made.returncode, 0)
    base = made.stdout.strip()

    def come_in():
        with open(f"{base}/agent/cgroup.procs", "w", encoding="utf-8") as file:
            file.write("0")
        os.setgid(1000)
        os.setuid(1000)

    os.chmod("/tmp/served", 0o777)
    environment = dict(os.environ, CASE_AGENTSH=program("agentsh"), AGENTSH_LOG="/dev/null")
    command = ["/usr/bin/python3", "-c", CALLS + OWN]
    with subprocess.Popen(command, preexec_fn=come_in, cwd="/", env=environment) as agent:  # pylint: disable=subprocess-popen-preexec-fn
        report("its program stands still", until(lambda: os.path.exists("/tmp/served/stands"), 60))
        server.send_signal(signal.SIGTERM)
        equal("serve ends when it is asked to", server.wait(timeout=20), 0)
        equal("the other user's agent ends", agent.wait(timeout=60), 0)
    with open(LOG, encoding="utf-8") as file:
        last = [json.loads(line) for line in file][-1]
    report("the log says that serve didn't see the end", "serve ended before it" in last["degraded"], last)
    until(lambda: run(HELPER, "session", "own", "--remove").returncode == 0)


def main():
    """Serves while agents start programs, is killed, and serves again."""
    policy("classes:\n  test:\n    pids.max: 300\n  explore:\n    memory.high: 64M\n    memory.max: 128M\n")
    server = serve()
    equal("loading the monitor while it waits for it", run(HELPER, "load").returncode, 0)
    report("only one serves at a time", "runs already" in run(HELPER, "serve").stderr)
    os.environ["CASE_SERVE"] = str(server.pid)
    calls("--session", "d", script=MOVED)
    with open(LOG, encoding="utf-8") as file:
        log = [json.loads(line) for line in file]
    tests = [record for record in log if record["class"] == "test" and record["command"].endswith("-q")]
    report("there is a line for it", len(tests) == 1 and tests[0]["command"].endswith("/tmp/served/pytest -q"), log)
    line = tests[0]
    equal("whose end isn't known", (line["exit"], line["signal"], line["placement"], line["session"]), (None, None, "leaf", "d"))
    report("but its peak is, and its duration", line["memory_peak"] > 28 * MIB and line["duration_us"] > 0, line)
    report("and that it came past the shell", "past the shell" in line["degraded"], line)
    joined = run(program("agentshctl"), "log", "--join", "--json", "--file", LOG)
    kernel = [json.loads(text)["kernel"] for text in joined.stdout.splitlines()]
    report("the kernel's counts are joined to it as to a call's", kernel and all(kernel), joined.stdout)

    calls("--session", "g", script=MANY)
    end = subprocess.Popen([sys.executable, __file__, "orphan"])
    report("a program waits in its leaf", until(lambda: os.path.exists("/tmp/served/ready"), 60))
    server.kill()
    server.wait(timeout=20)
    report("the next one is wanted", until(lambda: os.path.exists("/tmp/served/again"), 60))
    server = serve()
    end.wait(timeout=90)
    equal("reloading the monitor", (run(HELPER, "unload").returncode, run(HELPER, "load").returncode), (0, 0))
    calls("--session", "f", script=AGENT + r"""
late = begin("/usr/bin/python3", "-c", WAIT)
report("serve goes on with a monitor that was loaded anew", leaf(late).startswith("run-"), cgroup(late.pid))
end(late)
""")
    report("serve lives", server.poll() is None)
    asked_to_end(server)
    equal("unloading", run(HELPER, "unload").returncode, 0)
    report("no process of ours is left", until(lambda: not run("pgrep", "-x", "agentsh-helper").stdout))
    kernel = run("dmesg").stdout
    report("the kernel had nothing to complain of", "WARNING" not in kernel and "BUG" not in kernel, kernel[-2000:])


if sys.argv[1:] == ["orphan"]:
    calls("--session", "e", script=ORPHANED)
else:
    main()
