#!/usr/bin/env python3
"""Several calls of one session compete for its budget: what matters less is slowed, then frozen, and only at last killed."""
# kernels: newest lts
# mem: 2048
# timeout: 420

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from sessions import HERE, calls, policy  # noqa: E402

# `hog` is what a search, an installation or a build is in this case: only its memory counts. Weights: 300, 50, 100.
POLICY = """
session:
  reserve: 64M
overrides:
  - match: [hog, "look*"]
    class: explore
  - match: [hog, "install*"]
    class: install
  - match: [hog, "build*"]
    class: build
  - match: [hog, "install-unfrozen"]
    freeze: never
  - match: [hog, "build-unfrozen"]
    freeze: never
  - match: [hog, "install-impatient"]
    throttle_timeout: 5s
# So that who waits does so until the other has ended, on a slow machine too.
holding:
  recent: 10m
"""

WATCH = r"""
import threading
MIB = 1 << 20
def leaf_of(process):
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    until(lambda: any("/calls/" in (read(f"/proc/{child}/cgroup") or "") for child in (read(path) or "").split()))
    places = [read(f"/proc/{child}/cgroup") or "" for child in (read(path) or "").split()]
    return SESSION + "/calls/" + next(p for p in places if "/calls/" in p).rsplit("/", 1)[1]

class Watched:
    '''A call, and the lowest memory.high that was seen of its leaf.'''
    def __init__(self, command):
        self.begun = time.monotonic()
        self.process = start("hog " + command)
        self.leaf = leaf_of(self.process)
        self.lowest, self.done, self.stalled_before = None, False, 0
        # The leaf may have served others.
        self.stalled_before = self.stalled()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
    def current(self):
        return int(read(self.leaf, "memory.current") or 0)
    def stalled(self):
        pressure = read(self.leaf, "memory.pressure") or "total=0"
        return int(pressure.splitlines()[0].rpartition("total=")[2]) - self.stalled_before
    def watch(self):
        while not self.done and self.process.poll() is None:
            high = read(self.leaf, "memory.high") or "max"
            if high != "max":
                self.lowest = min(self.lowest or 1 << 60, int(high))
            time.sleep(0.03)
    def end(self, seconds=100):
        call = Call(self.process, seconds)
        call.took = time.monotonic() - self.begun
        call.ended = time.monotonic()
        self.done = True
        self.thread.join()
        r = call.record
        print(f"# {r.get('command')}: status {call.status} after {call.took:.1f} s, lowest high "
              f"{self.lowest and self.lowest // MIB} MiB, slowed {r.get('slowed_us', 0) / 1e6:.1f} s, held "
              f"{r.get('held_us', 0) / 1e6:.1f} s, raised to {(r.get('raised_to') or 0) // MIB} MiB, killed {r.get('killed')}, "
              f"high events {(r.get('events') or {}).get('high')}, oom {(r.get('events') or {}).get('oom_kill')}", flush=True)
        if call.told: print("#   " + call.told.replace("\n", "\n#   "), flush=True)
        return call
def grown(watched, mib):
    report(f"{mib} MiB are there", until(lambda: watched.current() >= mib * MIB, 60), watched.current() // MIB)
def let_go(name):
    open(f"/tmp/go-{name}", "w").close()
def untouched(name, call, watched, word):
    report(f"{name}: what matters more is whole", (call.status, call.out) == (0, word + " whole\n"), call)
    report(f"{name}: and was neither held nor killed", not call.record["held_us"] and not call.record["killed"], call)
def finished(name, call, word):
    report(f"{name}: what gave way comes to its end, with the right output and status", (call.status, call.out) == (0, word + " whole\n"), call)
    report(f"{name}: and was not killed", call.record["killed"] is None and call.record["events"]["oom_kill"] == 0, call)
"""

# The budget is 600 MiB in each. A search is busy, and so may take more, until it is let go. It is there first: on a slow machine
# what gives way would have grown up before it.
SLOWED = r"""
high = Watched("look-a 230 60 /tmp/go-a 1 busy")
grown(high, 230)
low = Watched("install-a 340 30")
report("slowed: it is, by its memory.high", until(lambda: (low.lowest or 1 << 60) < 400 * MIB and low.stalled() > 1_000_000, 60), (low.lowest, low.stalled()))
let_go("a")
high_call, low_call = high.end(), low.end()
untouched("slowed", high_call, high, "look-a")
finished("slowed", low_call, "install-a")
report("slowed: the log says for how long", low_call.record["slowed_us"] > 500_000, low_call)
report("slowed: no freezing was needed", low_call.record["held_us"] == 0, low_call)
report("slowed: its high was taken off again", low_call.record["limits"]["memory_high"] is None, low_call)
"""

FROZEN = r"""
high = Watched("look-b 230 60 /tmp/go-b 1 busy")
grown(high, 230)
low = Watched("install-b 340 40 /tmp/go-b 32")
report("frozen: 32 processes get around the throttle, and are frozen", until(lambda: has(low.leaf + "/cgroup.events", "frozen 1"), 60))
report("frozen: after they were slowed", low.lowest and low.lowest <= 400 * MIB, low.lowest)
let_go("b")
high_call, low_call = high.end(), low.end()
untouched("frozen", high_call, high, "look-b")
finished("frozen", low_call, "install-b")
report("frozen: the log says for how long", low_call.record["held_us"] > 0, low_call)
report("frozen: and thawed when the other had ended", has(low.leaf + "/cgroup.events", "frozen 0"))
high = Watched("look-b 230 60 /tmp/go-c 1 busy")
grown(high, 230)
unfrozen = Watched("install-unfrozen 340 40 /tmp/go-c 32")
report("freeze: never: it is slowed", until(lambda: (unfrozen.lowest or 1 << 60) < 400 * MIB and unfrozen.stalled() > 1_000_000, 60), (unfrozen.lowest, unfrozen.stalled()))
let_go("c")
high_call, low_call = high.end(), unfrozen.end()
finished("freeze: never", low_call, "install-unfrozen")
report("freeze: never is obeyed", low_call.record["held_us"] == 0 < low_call.record["slowed_us"], low_call)
"""

KILLED = r"""
other = start("sleep 300")
for word in ("build-c", "build-unfrozen"):
    middle = Watched("build-d 60 100 /tmp/never")
    grown(middle, 60)
    low = Watched(f"{word} 330 100 /tmp/never")
    grown(low, 330)
    high = Watched("look-c 400 40")
    high_call, low_call = high.end(), low.end()
    untouched(word, high_call, high, "look-c")
    report(f"{word}: one call is killed to make room", (low_call.status, low_call.record["killed"]) == (-9, "made_room"), low_call)
    report(f"{word}: and not by the OOM killer", low_call.record["events"]["oom_kill"] == 0, low_call)
    report(f"{word}: it had been frozen first, where it may be", (low_call.record["held_us"] > 0) == (word == "build-c"), low_call)
    report(f"{word}: the agent is told why and what to do", all(t in low_call.told for t in ("Killed: memory ran out", "calls that matter more", "600 MiB", "Run it again")), low_call)
    report(f"{word}: its elder of the same class lives on", middle.process.poll() is None)
    middle.process.kill()
    middle.process.wait()
report("another call lives", other.poll() is None)
other.kill()
"""

IMPATIENT = r"""
high = Watched("look-e 230 60 /tmp/go-e 1 busy")
grown(high, 230)
low = Watched("install-impatient 340 30")
low_call = low.end()
report("held up: it ends", (low_call.status, low_call.record["killed"]) == (-9, "held_up"), low_call)
report("held up: not before its timeout", low_call.record["slowed_us"] + low_call.record["held_us"] >= 3_500_000, low_call)
report("held up: and while the other still ran", high.process.poll() is None)
report("held up: the agent is told why and what to do", "calls that matter more" in low_call.told and "Run it again" in low_call.told, low_call)
let_go("e")
untouched("held up", high.end(), high, "look-e")
"""

PIPELINE = r"""
first = subprocess.Popen([AGENTSH, "-c", "hog install-f 340 60"], stdout=subprocess.PIPE)
second = subprocess.Popen([AGENTSH, "-c", "hog look-f 230 60; cat"], stdin=first.stdout, stdout=subprocess.PIPE, text=True)
first.stdout.close()
out, _ = second.communicate(timeout=100)
report("a call that another one waits for comes to its end", (first.wait(60), second.returncode, out) == (0, 0, "look-f whole\ninstall-f whole\n"), (first.returncode, second.returncode, out))
for r in records()[-2:]:
    print(f"# {r['command']}: slowed {r['slowed_us'] / 1e6:.1f} s, held {r['held_us'] / 1e6:.1f} s, killed {r['killed']}", flush=True)
"""

# Its high is 256 MiB, and it is alone: only a raise lets it grow.
LOCKED = r"""
locker = "import fcntl, os, time; os.setuid(65534); fcntl.flock(os.open(DIR, os.O_RDONLY), 6); print('locked', flush=True); time.sleep(300)"
locker = subprocess.Popen([sys.executable, "-c", locker.replace("DIR", repr(SESSION + "/calls"))], stdout=subprocess.PIPE)
report("locked: any user can lock calls/", locker.stdout.readline() == b"locked\n")
look = Watched("look-l 500 60")
call = look.end()
untouched("locked", call, look, "look-l")
report("locked: it was raised all the same", call.record["raised_to"] > 400 * MIB, call)
report("locked: and hardly slowed", call.record["slowed_us"] < 5_000_000, call)
report("locked: while the lock was held", locker.poll() is None)
locker.kill()
"""


def main():
    """One session for each; the first word of the case's arguments chooses one."""
    scripts = {"slowed": SLOWED, "frozen": FROZEN, "killed": KILLED, "impatient": IMPATIENT, "pipeline": PIPELINE, "locked": LOCKED}
    policy(POLICY)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["gcc", "-O2", "-static", "-o", f"{folder}/hog", f"{HERE}/hog.c"], check=True)
        os.chmod(folder, 0o755)
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
        for name in sys.argv[1:] or scripts:
            calls("--session", name, "--memory-max", "664M", script=WATCH + scripts[name], seconds=150)


if __name__ == "__main__":
    main()
