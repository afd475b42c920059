"""Plays cases, each in a clean process of its own, several at once, none for ever."""

import json
import os
import select
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import Any

from . import kernel
from .case import Case
from .process import descendants_of, end_descendants, reap_all
from .session import Pool, Session
from .stage import Stage, reset_signals


@dataclass
class Result:
    """What a case showed, and what is wrong with it."""

    case: Case
    seen: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    leaves: list[str] = field(default_factory=list)


@dataclass
class _Running:
    case: Case
    pid: int
    reply: int
    folder: str
    session: Session | None
    deadline: float
    data: bytes = b""


class Runner:
    """Cases in, results out; one prefix (one shell under test), at most `jobs` at a time."""

    def __init__(self, prefix: str, kind: str, folder: str, jobs: int, guard: float, pool: Pool | None):
        self.prefix, self.kind, self.folder = prefix, kind, folder
        self.jobs, self.guard, self.pool = jobs, guard, pool
        self.started = 0

    def play(self, cases: list[Case]):
        """Yields a result for each case as it ends."""
        waiting, running = list(cases), {}
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    one = self._start(waiting.pop(0))
                    running[one.reply] = one
                yield from self._collect(running)
        finally:
            for one in running.values():
                os.kill(one.pid, signal.SIGKILL)

    def _start(self, case: Case) -> _Running:
        self.started += 1
        folder = f"{self.folder}/{self.started}"
        os.mkdir(folder)
        session = self.pool.session(self.started) if self.pool else None
        reply, theirs = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            self._case_process(case, folder, session, theirs)
        os.close(theirs)
        # The case's own guard comes first: it knows what it was waiting for.
        return _Running(case, pid, reply, folder, session, time.monotonic() + 3 * self.guard)

    def _case_process(self, case: Case, folder: str, session: Session | None, reply: int) -> None:
        """In the case's process: clean state, the play, the tidying up, the reply. Never returns."""
        result: dict[str, Any] = {"seen": {}, "faults": [], "leaves": []}
        try:
            os.setsid()
            reset_signals()
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
            os.umask(0o022)
            # A case may become another user: its folder has to stay usable.
            os.chmod(folder, 0o755)
            if session:
                session.enter()
            stage = Stage(folder, self.prefix, self.kind, self.guard)
            signal.signal(signal.SIGALRM, _overdue)
            signal.alarm(int(2 * self.guard))
            try:
                case.play(stage)
            except BaseException as error:  # noqa: BLE001 (whatever it is, it is this case's fault to report)
                where = traceback.extract_tb(error.__traceback__)[-1]
                result["faults"].append(f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})")
            signal.alarm(0)
            result["seen"] = {label: _portable(value) for label, value in stage.seen.items()}
            caller_error = f"{folder}/state/caller-error"
            if os.path.exists(caller_error):
                with open(caller_error, encoding="utf-8") as file:
                    result["faults"].append(f"the caller's part failed: {file.read().strip()}")
            if session:
                result["leaves"] = session.leaves()
            self._left_behind(result)
            os.write(reply, json.dumps(result).encode())
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(0)

    def _left_behind(self, result: dict[str, Any]) -> None:
        """A case ends what it starts; what is still there after a while was left by the shell."""
        deadline = time.monotonic() + (self.guard if not result["faults"] else 0)
        while True:
            reap_all()
            below = descendants_of(os.getpid())
            if not below or time.monotonic() > deadline:
                break
            time.sleep(0.002)
        if below and not result["faults"]:
            names = [_command_line(pid) for pid in below]
            result["faults"].append(f"left behind: {', '.join(names)}")
        end_descendants()

    def _collect(self, running: dict[int, _Running]):
        now = time.monotonic()
        nearest = min(one.deadline for one in running.values())
        for reply in select.select(list(running), [], [], max(0.0, nearest - now))[0]:
            piece = os.read(reply, 1 << 20)
            running[reply].data += piece
            if not piece:
                yield self._end(running.pop(reply))
        for one in [one for one in running.values() if time.monotonic() > one.deadline]:
            for pid in [*descendants_of(one.pid), one.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            del running[one.reply]
            yield self._end(one)

    def _end(self, one: _Running) -> Result:
        os.close(one.reply)
        os.waitpid(one.pid, 0)
        result = Result(one.case)
        try:
            reply = json.loads(one.data)
            result.seen = {label: _native(value) for label, value in reply["seen"].items()}
            result.faults, result.leaves = reply["faults"], reply["leaves"]
        except ValueError:
            result.faults.append("the case's process died or hung without a reply")
        if one.session:
            one.session.remove()
        shutil.rmtree(one.folder, ignore_errors=True)
        return result


def _overdue(_number, _frame):
    raise TimeoutError("the case took longer than twice its guard")


def _command_line(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return repr(file.read().replace(b"\0", b" ").strip().decode(errors="replace"))
    except OSError:
        return str(pid)


def _portable(value: Any) -> Any:
    """JSON has no bytes: they travel as latin-1, marked."""
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, (list, tuple)):
        return [_portable(item) for item in value]
    return value


def _native(value: Any) -> Any:
    if isinstance(value, dict):
        return value["bytes"].encode("latin-1")
    if isinstance(value, list):
        return [_native(item) for item in value]
    return value
