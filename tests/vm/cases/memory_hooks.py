#!/usr/bin/env python3
"""The memory hooks where the kernel doesn't have them: dormant; and what they would do, rehearsed at every charge."""
# kernels: newest lts
# mem: 1024
# timeout: 120

import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from sessions import MIB, POOL, PYTHON, equal, program, report, run, write  # noqa: E402

HELPER = program("agentsh-helper")


# Takes memory; then goes on taking a little, as who has been quiet for two seconds is taken to be done.
ONCE = "import time; x = b'x' * (%d << 20); time.sleep(0.2)"
GO_ON = """
import mmap, time
x = b"x" * (%d << 20)
while True:
    with mmap.mmap(-1, 1 << 20) as more:
        more.write(b"y" * (1 << 20))
    time.sleep(0.02)
"""


def take(session, mib, program=ONCE, place="calls/run-0"):
    """A command that takes memory in a session."""
    cgroup = f"{POOL}/{session}/{place}"
    os.makedirs(cgroup, exist_ok=True)
    return ["sh", "-c", f"echo 0 >{cgroup}/cgroup.procs && exec {PYTHON} -c \"$0\"", program % mib]


class Rehearsal:
    """The hooks' programs, which decide and aren't obeyed."""

    def __init__(self):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([HELPER, "rehearse"], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.ready = self.process.stdout.readline()

    def counts(self):
        """What they would have done, by session."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        names = {os.stat(f"{POOL}/{name}").st_ino: name for name in ("high", "normal", "low")}
        return {names[number]: it for number, it in json.loads(self.process.stdout.readline()) if number in names}

    def end(self):
        """Ends it."""
        self.process.stdin.close()
        self.process.wait(timeout=30)


def bpf(command, *fields):
    """bpf(2) with these 64-bit words for its attributes."""
    attributes = ctypes.create_string_buffer(struct.pack(f"={len(fields)}Q", *fields), 128)
    done = ctypes.CDLL(None, use_errno=True).syscall(321, command, attributes, 128)
    if done < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}")
    return done


def full():
    """The map of sessions as `load` pins it, with as many that are gone as there is room for. The hooks themselves aren't there."""
    pins = "/sys/fs/bpf/agentsh"
    for folder in ("", "maps", "links"):
        os.makedirs(f"{pins}/{folder}", mode=0o700, exist_ok=True)
    # BPF_MAP_CREATE: a hash of 8 bytes to 88, and 1024 of them; BPF_MAP_UPDATE_ELEM; BPF_OBJ_PIN.
    sessions = bpf(0, 1 | 8 << 32, 88 | 1024 << 32)
    value = ctypes.create_string_buffer(88)
    for number in range(1024):
        key = ctypes.create_string_buffer(struct.pack("=Q", (1 << 40) + number), 8)
        bpf(2, sessions, ctypes.addressof(key), ctypes.addressof(value), 0)
    for name in ("memcg_sessions", "memcg_ops_v6"):
        path = ctypes.create_string_buffer(f"{pins}/maps/{name}".encode())
        bpf(6, ctypes.addressof(path), sessions)
    made = run(HELPER, "session", "late")
    hooks = json.loads(run(HELPER, "status", "--json").stdout)["memory_hooks"]
    equal("a new session has the place of one that is gone", [it["id"] for it in hooks["sessions"]][:2], [os.stat(f"{POOL}/late").st_ino])
    report("and is made", made.returncode == 0, made)
    run(HELPER, "session", "--remove", "late")
    os.close(sessions)
    shutil.rmtree(pins)


def main():
    """Both."""
    tried = run(f"{os.path.dirname(HERE)}/memcg_bpf_ops", "--dormant")
    print(tried.stdout, end="")
    equal("the program for patched kernels finds nothing wrong on this one", tried.returncode, 0)
    equal("without being told it fails there", run(f"{os.path.dirname(HERE)}/memcg_bpf_ops").returncode, 3)

    full()
    for name in ("high", "normal", "low"):
        run(HELPER, "session", name, "--priority", name)
    rehearsal = Rehearsal()
    equal("the kernel takes the hooks' decisions as programs that look at charges", rehearsal.ready, "ready\n")
    rehearsal.counts()
    write(f"{POOL}/memory.max", str(300 * MIB))
    run(*take("low", 100))
    alone = rehearsal.counts()
    equal("who is alone would wait for nobody", [it["delays"] for it in alone.values()], [0, 0, 0])
    run(*take("low", 20, place="agent"))
    run(*take("high", 20, place="agent"))
    agents = rehearsal.counts()
    report("agents would be kept, within their reserve always",
           all(agents[name][key] > alone[name][key] for name in ("low", "high") for key in ("kept_low", "kept_min")), agents)
    high = subprocess.Popen(take("high", 150, GO_ON))
    time.sleep(2)
    run(*take("low", 100))
    run(*take("normal", 100))
    busy = rehearsal.counts()
    print(f"# {busy}")
    report("low would wait while high may need what is left", busy["low"]["delayed_ms"] > 100, busy)
    report("and a normal one too", busy["normal"]["delays"] > 0, busy)
    equal("but not high", busy["high"]["delays"], 0)
    report("what is high's would be kept as long as there is anything else", busy["high"]["kept_low"] > agents["high"]["kept_low"])
    equal("what is low's wouldn't", busy["low"]["kept_low"], agents["low"]["kept_low"])
    high.kill()
    high.wait()
    rehearsal.end()
    equal("it ends with its caller", rehearsal.process.returncode, 0)
    write(f"{POOL}/memory.max", "max")
    for name in ("high", "normal", "low"):
        run(HELPER, "session", "--remove", name)
    kernel = run("dmesg").stdout
    report("the kernel had nothing to complain of", "WARNING" not in kernel and "BUG" not in kernel, kernel[-2000:])


main()
