"""Commands that are run in a container by a shell that isn't under test, so that two ways of running them can be compared."""

import os
import tempfile

from roots import OPT, PLACE, records
from sessions import MIB, equal, report

# MiB of a container. Half of it is for calls; touching it all is what takes the time when memory is to run out.
MEMORY = 256
# What one call may have of the half that is for calls, in MiB: a sixteenth is left to others.
ALONE = MEMORY // 2 - MEMORY // 2 // 16
# What a shell, or a busybox whose programs are all behind /bin/sh, has to do as it does without agentsh.
COMMANDS = (
    "echo out; echo err >&2; exit 3",
    "cd /out && pwd && echo x >f && wc -c <f",
    "kill -TERM $$",
    "kill -9 $$",
    "for i in 1 2 3; do echo $i; done | sort -r",
    "id -u; umask; ls /; echo $PWD",
    "trap 'echo bye' EXIT; true",
    "no-such-command",
    "sleep 0.1 & wait $!; echo $?",
    "if then",
    "(exit 4); echo $?; false | true; echo $?",
    "mkdir -p /out/d && ls /out/d && rm -r /out/d; cat /etc/passwd | grep -c root",
    "dd if=/dev/zero bs=1000 count=3 2>/dev/null | tr '\\0' x | tail -c 5",
    "/bin/sh -c 'echo inner; exit 9'; echo $?",
    "for a in cat ls sed sort wc; do $a /nonexistent >/dev/null 2>&1; echo $a $?; done </dev/null",
)
LEAF = 'for f in memory.high memory.max pids.max cpu.weight; do cat "$CALLS/$(sed s,.*/,, /proc/self/cgroup)/$f"; done'
# Between the answers to several attempts.
MARK = "@@ next @@"
OUT_OF_MEMORY = "dd if=/dev/zero of=/dev/null bs=600M count=1"

# Runs in the container, by a shell that isn't under test. Each command, by the real shell or by agentsh in its place: its
# status and output. No program is started for an output that is empty: starting one is what takes the time here.
DRIVER = r"""
call() {
    (exec -a "$NAME" "$shell" -c "$1") >/out/out 2>/out/err
    echo "== $?"
    [ ! -s /out/out ] || sed 's/^/out: /' /out/out
    [ ! -s /out/err ] || sed 's/^/err: /' /out/err
}
all() {
    while IFS= read -r command; do call "$command"; done <"$1"
    echo "== end"
}
shell=$REAL; all /case/plain
shell=$NAME; all /case/commands
"""


class Player:
    """Runs commands in containers by the driver: what each said, and the log's lines."""

    def __init__(self, podman, name, calls):
        self.podman, self.name, self.calls = podman, name, calls
        # Of its own: containers of several cases may be running.
        self.case, self.out = (tempfile.mkdtemp(prefix=f"{kind}-", dir=PLACE) for kind in ("case", "out"))
        for folder in (self.case, self.out):
            os.chmod(folder, 0o777)

    def volumes(self):
        """What the driver needs in the container."""
        return ["-v", f"{OPT}:/opt/agentsh:ro", "-v", f"{self.case}:/case:ro", "-v", f"{self.out}:/out"]

    def over(self):
        """agentsh in place of the shell."""
        return ["-v", f"{OPT}/bin/{self.name}:/bin/{self.name}:ro"]

    def variables(self):
        """The driver's environment: agentsh in place of /bin/NAME, and what is called directly without it."""
        real = f"/opt/agentsh/libexec/{self.name}"
        variables = {"NAME": f"/bin/{self.name}", "REAL": real, "CALLS": self.calls, "AGENTSH_LOG": "/out/calls.jsonl"}
        return [word for key, value in variables.items() for word in ("-e", f"{key}={value}")]

    def play(self, plain, ours, *arguments):
        """Runs podman with these arguments and the driver: commands without agentsh, commands with it."""
        for name in os.listdir(self.out):
            os.unlink(f"{self.out}/{name}")
        for name, commands in (("plain", plain), ("commands", ours)):
            with open(f"{self.case}/{name}", "w", encoding="utf-8") as file:
                file.writelines(f"{command}\n" for command in commands)
        with open(f"{self.case}/driver", "w", encoding="utf-8") as file:
            file.write(DRIVER)
        done = self.podman(*arguments, "/opt/agentsh/libexec/busybox", "sh", "/case/driver")
        said = [part.splitlines() for part in done.stdout.split("== ")[1:]]
        if done.returncode or said[-1:] != [["end"]]:
            print(f"# podman: status {done.returncode}, {done.stderr.strip()[-600:]}", flush=True)
        first = said.index(["end"]) + 1 if ["end"] in said else len(said)
        return said[:first], said[first:], records(f"{self.out}/calls.jsonl")


class Fresh(Player):
    """A container for each time, with the driver as its first process."""

    # Without agentsh in a container of its own, in which it isn't there at all; or in the same one.
    apart = False

    def __init__(self, podman, where, name, *options):
        super().__init__(podman, name, "/sys/fs/cgroup/calls")
        self.where, self.options = where, ("--memory", f"{MEMORY}m", *options)

    def __call__(self, ours, plain=()):
        if plain and self.apart:
            return self._run((), plain, ())[0], *self._run(self.over(), (), ours)[1:]
        return self._run(self.over(), plain, ours)

    def _run(self, over, plain, ours):
        what = [*self.volumes(), *over, *self.variables(), *self.options, *self.where]
        return self.play(plain, ours, "run", "--rm", "--network", "none", *what)


class Running(Player):
    """One container that runs all the time."""

    def __init__(self, podman, where, name, *options):
        super().__init__(podman, name, "/run/agentsh/calls")
        what = [*self.volumes(), *self.over(), "--memory", f"{MEMORY}m", *options, *where]
        self.container, self.pid = podman.start(*what, "/opt/agentsh/libexec/busybox", "sleep", "3000")

    def __call__(self, ours, plain=()):
        return self.play(plain, ours, "exec", *self.variables(), self.container)

    def tries(self, *scripts):
        """What each script of root's says, by a shell that isn't under test; all in one go, as that is what takes the time."""
        text = "".join(f"printf '{MARK}'; (\n{script}\n) 2>&1\n" for script in scripts)
        done = self.podman("exec", self.container, "/opt/agentsh/libexec/bash", "-c", text)
        said = [part.strip() for part in done.stdout.split(MARK)[1:]]
        if len(said) != len(scripts):
            print(f"# podman exec: status {done.returncode}, {done.stderr.strip()[-600:]}", flush=True)
        return said + [""] * (len(scripts) - len(said))

    def end(self):
        """Ends the container."""
        self.podman("rm", "-f", "-t", "0", self.container)


def refused(what, ways, said):
    """Attempts that the kernel said no to: it wasn't a program that isn't there or wants other options."""
    for way, answer in zip(ways, said, strict=True):
        real = not any(word in answer for word in ("WENT", "not found", "Usage", "invalid option"))
        report(f"{what}: `{way}` doesn't go", real and answer, answer)


def everything(what, player, in_leaf=True):
    """With agentsh and without: the same from each command. Then, where calls have leaves, what a leaf has, and what happens
    when memory runs out. Gives the log's lines of those commands."""
    more = (LEAF, f"{OUT_OF_MEMORY}; true # pytest", "echo alive") if in_leaf else ()
    plain, ours, log = player((*COMMANDS, *more), COMMANDS)
    count = len(COMMANDS)
    equal(f"{what}: without agentsh every command ends", len(plain), count + 1)
    equal(f"{what}: and with it", len(ours), count + len(more) + 1)
    differ = [(c, a, b) for c, a, b in zip(COMMANDS, plain, ours) if a != b]
    report(f"{what}: {count} commands do as without agentsh", not differ, differ)
    report(f"{what}: each is in the log", len(log) >= count + len(more), len(log))
    if in_leaf:
        report(f"{what}: every call was in a leaf", all(r["leaf"] for r in log), [r["degraded"] for r in log])
        leaf(what, ours[count:], log[-3:])
    return log


def leaf(what, said, log):
    """The call's leaf, and what happened when memory ran out."""
    budget = ALONE * MIB
    expected = ["0", *(f"out: {number}" for number in (min(256 * MIB, budget), budget, 512, 300))]
    equal(f"{what}: a call that looks has its class's limits, within the budget", said[:1], [expected])
    equal(f"{what}: it is in a leaf of its class", [r["leaf"] for r in log[:1]], ["explore-0"])
    killed = said[1] if len(said) > 1 else []
    equal(f"{what}: a call beyond its limit is killed", killed[:1], ["137"])
    told = " ".join(line for line in killed if line.startswith("err: [agentsh]"))
    known = "Out of memory" in told and f"{budget // MIB} MiB" in told
    report(f"{what}: who called is told that it was memory, and whose limit", known, killed)
    equal(f"{what}: the container lives", said[2:], [["0", "out: alive"], ["end"]])
