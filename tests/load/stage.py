"""Where the calls run: a launcher laid out as installed, a log that rotates often, a session of its own."""

import os
import re
import subprocess
import time

from suite import shell
from suite.session import Pool, Session

CONTROLLERS = {"v2": (), "vm": ("cpu", "memory", "pids")}
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# As in src/cgroup/leaf.rs: leaves of these numbers are kept for the next calls.
POOL_SIZE = 16
# A hang guard, not a measure: a guest under TCG on a loaded machine is slow.
GUARD = 120.0
# No log file smaller than this is allowed by the policy; a line has some 800 bytes.
LEAST_ROTATION = 64 << 10
LINE_BYTES = 800
ROTATIONS = 40


def built() -> str | None:
    """The launcher as `cargo build` leaves it."""
    if folder := os.environ.get("AGENTSH_BUILD"):
        return f"{folder}/agentsh"
    target = os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"))
    found = [f"{target}/{entry}/debug/agentsh" for entry in (os.listdir(target) if os.path.isdir(target) else [])]
    return next((path for path in found if os.path.exists(path)), None)


def wait_until(holds) -> bool:
    """Waits for something that has to come true by itself; False if it doesn't within the guard."""
    end = time.monotonic() + GUARD
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class Stage:
    """The launcher, its log and its session."""

    def __init__(self, folder: str, launcher: str | None, mode: str, calls: int, owner: str = "load"):
        if not launcher or not os.path.exists(launcher):
            raise SystemExit(f"{launcher or 'agentsh'} is not built: run `cargo build`, or name it with --shell")
        if shell.lay_out(launcher, f"{folder}/prefix") != "agentsh":
            raise SystemExit(f"{launcher} is not the launcher")
        self.folder = folder
        self.bash = f"{folder}/prefix/bin/bash"
        self.log = f"{folder}/log/calls.jsonl"
        self.token = f"load-{os.getpid()}-{os.urandom(4).hex()}"
        self.work = f"{folder}/work"
        os.mkdir(self.work)
        self.environment = {
            "PATH": "/usr/bin:/bin", "HOME": self.work, "LC_ALL": "C", "LOAD_RUN": self.token, "AGENTSH_LOG": self.log,
        }
        self.environment["AGENTSH_POLICY"] = self._policy(os.path.join(os.path.dirname(launcher), "agentshctl"), calls)
        self.session: Session | None = None
        self.pool: Pool | None = None
        if mode in CONTROLLERS:
            self._enter(CONTROLLERS[mode], owner)

    def _policy(self, agentshctl: str, calls: int) -> str:
        """A policy by which the log rotates while it is being written, and nothing is thrown away."""
        rotation = max(LEAST_ROTATION, (3 * calls + 1000) * LINE_BYTES // ROTATIONS)
        written, compiled = f"{self.folder}/policy.yaml", f"{self.folder}/policy"
        with open(written, "w", encoding="ascii") as file:
            file.write(f"version: 1\nlog:\n  rotate: {rotation // 1024}K\n  keep: 100\n")
        subprocess.run([agentshctl, "policy", "compile", "--out", compiled], check=True, timeout=GUARD, cwd=self.work,
                       env={**self.environment, "AGENTSH_POLICY": written}, stdin=subprocess.DEVNULL)
        return compiled

    def _enter(self, controllers: tuple[str, ...], owner: str) -> None:
        with open("/proc/self/cgroup", encoding="ascii") as file:
            self.home = re.search(r"^0::(.*)$", file.read(), re.MULTILINE).group(1)
        self.pool = Pool(controllers, owner)
        try:
            self.session = self.pool.session(1)
            self.session.enter()
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Leaves the session, ends what is left in it and removes it."""
        if self.pool is not None:
            with open(f"{self.pool.root}{self.home}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
            self.pool.remove()

    def populated(self) -> list[str]:
        """Names of the leaves in which somebody lives."""
        return [leaf for leaf in self.session.leaves() if "populated 1" in self.read(leaf, "cgroup.events")]

    def read(self, leaf: str, file: str) -> str:
        """A leaf's file; empty if the leaf has gone."""
        try:
            with open(f"{self.session.path}/calls/{leaf}/{file}", encoding="ascii") as opened:
                return opened.read().strip()
        except (FileNotFoundError, OSError):
            return ""

    def check_leaves(self, report) -> None:
        """No leaf beyond the pool, and nobody in any."""
        if self.session is None:
            return
        leaves = self.session.leaves()
        faults = [f"{leaf} is beyond the pool" for leaf in leaves if int(leaf.rsplit("-", 1)[1]) >= POOL_SIZE]
        faults += [f"{leaf} is populated" for leaf in self.populated()]
        faults += [f"{leaf} is frozen" for leaf in leaves if self.read(leaf, "cgroup.freeze") == "1"]
        if not leaves:
            faults.append("there never was a leaf")
        report.check(f"no leaf is left beyond the pool, and none is in use ({len(leaves)} in the pool)", faults)

    def processes(self, word: bytes = b"") -> list[str]:
        """Processes started by a call, with this word in their command line: `PID command line`."""
        mine = f"LOAD_RUN={self.token}".encode()
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    command = file.read()
                if word not in command:
                    continue
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if mine in file.read().split(b"\0"):
                        found.append(f"{pid} {command.replace(bytes(1), b' ').decode(errors='replace')}")
            except OSError:
                continue  # It has ended meanwhile.
        return found
