"""What the log must hold: for every call that ended by itself one line, and no line that isn't whole."""

import glob
import json
import re
from collections import Counter

MARKER = re.compile(r"mark-(\d+)-")


class Ledger:
    """Numbers the calls, and compares the log with what became of them."""

    def __init__(self, log: str):
        self.log = log
        self.expected: dict[int, int] = {}
        self.killed: set[int] = set()
        self.next = 0

    def number(self) -> int:
        """A number for a call about to start."""
        self.next += 1
        return self.next

    def ended(self, number: int, status: int) -> None:
        """The call ended by itself: the log must have it."""
        self.expected[number] = status

    def was_killed(self, number: int) -> None:
        """The launcher was killed: the log may have the call."""
        self.killed.add(number)

    def files(self) -> list[str]:
        """The log and its predecessors."""
        return sorted(glob.glob(glob.escape(self.log) + "*"))

    def check(self, report, leaves: bool) -> None:
        """Every marker exactly once, every line whole, every leaf of its call's class."""
        seen: Counter = Counter()
        torn, wrong = [], []
        for path in self.files():
            with open(path, "rb") as file:
                content = file.read()
            if content and not content.endswith(b"\n"):
                torn.append(f"{path} doesn't end with a newline: {content[-80:]!r}")
            for place, line in enumerate(content.split(b"\n")[:-1], start=1):
                try:
                    record = json.loads(line)
                    number = int(MARKER.search(record["command"]).group(1))
                except (ValueError, KeyError, AttributeError, TypeError) as error:
                    torn.append(f"{path}:{place}: {error!r}: {line[:120]!r}")
                    continue
                seen[number] += 1
                wrong += self._faults(number, record, leaves)
        report.check("every line of the log is whole", torn)
        known = set(self.expected) | self.killed
        faults = [f"call {number}: {seen[number]} lines" for number in self.expected if seen[number] != 1]
        faults += [f"killed call {number}: {seen[number]} lines" for number in self.killed if seen[number] > 1]
        faults += [f"call {number} is unknown" for number in seen if number not in known]
        report.check(f"each of {len(self.expected)} calls stands in the log exactly once", faults)
        report.check("and says how it ended, its class and its leaf", wrong)
        count = len(self.files())
        report.check(f"the log was rotated meanwhile ({count - 1} times)", [] if count > 2 else ["never"])

    def _faults(self, number: int, record: dict, leaves: bool) -> list[str]:
        faults = []
        status = self.expected.get(number)
        if status is not None and record["exit"] != status:
            faults.append(f"call {number}: exit {record['exit']} in the log, {status} to its caller")
        if leaves and not (record["leaf"] or "").startswith(record["class"] + "-"):
            faults.append(f"call {number}: class {record['class']}, leaf {record['leaf']}, {record['degraded']}")
        return faults
