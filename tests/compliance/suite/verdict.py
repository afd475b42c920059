"""Says whether what was seen is what must be seen, and prints the difference so that a person can use it."""

import difflib
from typing import Any

from .case import Seen
from .runner import Result


def judge(result: Result, kind: str) -> list[str]:
    """The faults of a result, each in a few lines; none when it passed."""
    expected = {label: _plain(value) for label, value in result.case.expected_of(kind).items()}
    return result.faults + _differences(expected, result.seen, "expected", "seen", check_missing=not result.faults)


def compare(ours: Result, theirs: Result) -> list[str]:
    """The differences of two transcripts of one case, but for those that table A permits."""
    keep = lambda seen: {label: value for label, value in seen.items() if label not in ours.case.permitted}  # noqa: E731
    return _differences(keep(ours.seen), keep(theirs.seen), "A", "B") + ours.faults + theirs.faults


def _differences(first: Seen, second: Seen, first_name: str, second_name: str, check_missing: bool = True) -> list[str]:
    faults = []
    for label in [*first, *(label for label in second if label not in first)]:
        if label not in first or label not in second:
            if check_missing:
                faults.append(f"{label}: only {first_name if label in first else second_name} has it")
        elif first[label] != second[label]:
            faults.append(f"{label}:\n{_difference(first[label], second[label], first_name, second_name)}")
    return faults


def _difference(first: Any, second: Any, first_name: str, second_name: str) -> str:
    one, two = _lines(first), _lines(second)
    if len(one) <= 1 and len(two) <= 1:
        return f"      {first_name}: {''.join(one)[:2000]}\n      {second_name}: {''.join(two)[:2000]}"
    lines = difflib.unified_diff(one, two, first_name, second_name, lineterm="", n=1)
    return "\n".join(f"      {line[:400]}" for line in list(lines)[:40])


def _lines(value: Any) -> list[str]:
    if isinstance(value, bytes):
        return [repr(line)[1:] for line in value.splitlines(keepends=True)]
    if isinstance(value, list):
        return [repr(item) for item in value]
    return [repr(value)]


def _plain(value: Any) -> Any:
    """Tuples and lists are one and the same in a transcript."""
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
