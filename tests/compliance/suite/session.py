"""A cgroup v2 tree for the cases: a pool of this runner's own, one fresh session for each case."""

import os
import time


def mounted() -> str | None:
    """Where the cgroup2 file system is mounted, from /proc/self/mountinfo."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            if after.split()[0] == "cgroup2":
                return before.split()[4]
    return None


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


class Pool:
    """The folder that holds the sessions; `controllers` are switched on all the way down."""

    def __init__(self, controllers: tuple[str, ...], owner: str = "compliance"):
        root = mounted()
        if root is None:
            raise SystemExit("no cgroup2 mount in /proc/self/mountinfo: use --mode degraded here")
        self.root = root
        self.controllers = controllers
        self.path = f"{root}/agentsh-{owner}-{os.getpid()}"
        os.mkdir(self.path)
        try:
            self._enable(root)
            self._enable(self.path)
        except OSError as error:
            self.remove()
            raise SystemExit(f"{error}: this tree lacks {' '.join(controllers)}; use --mode v2 here") from error

    def _enable(self, folder: str) -> None:
        for controller in self.controllers:
            _write(f"{folder}/cgroup.subtree_control", f"+{controller}")

    def session(self, number: int) -> "Session":
        """A fresh session."""
        return Session(self, f"{self.path}/case-{number}")

    def remove(self) -> None:
        """Ends what still runs in the pool and removes it."""
        for folder, _, _ in os.walk(self.path, topdown=False):
            _remove(folder)


def _remove(folder: str) -> None:
    deadline = time.monotonic() + 10
    while os.path.isdir(folder):
        try:
            _write(f"{folder}/cgroup.kill", "1")
            os.rmdir(folder)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


class Session:
    """<session>/agent, where the case runs, and <session>/calls, where leaves must appear."""

    def __init__(self, pool: Pool, path: str):
        self.path = path
        os.mkdir(path)
        pool._enable(path)
        os.mkdir(f"{path}/agent")
        os.mkdir(f"{path}/calls")
        pool._enable(f"{path}/calls")

    def enter(self) -> None:
        """Moves this process to the agent's place."""
        _write(f"{self.path}/agent/cgroup.procs", str(os.getpid()))

    def leaves(self) -> list[str]:
        """The names of the leaves that calls have got so far."""
        return sorted(entry.name for entry in os.scandir(f"{self.path}/calls") if entry.is_dir())

    def remove(self) -> None:
        """Ends what still runs in the session and removes it."""
        for folder, _, _ in os.walk(self.path, topdown=False):
            _remove(folder)
