"""What must hold of a runtime's sessions: with agentsh as without it, and of the log."""

import re
from collections import Counter
from collections.abc import Iterator

import calls
from persistent import Line, Typed
from sessions import Session

Faults = Iterator[tuple[str, list[str]]]
# The interpreter that OpenHands' prompt names: with shims it is the shim. A step of its own runs what it names.
INTERPRETER = re.compile(r"\[Python interpreter: (\S+)\]")
# Bash speaks of a killed job when it comes to it, at one prompt or the next; until then it may call it stopped once more.
KILLED = re.compile(r"(\s*\[1\]\+ +(Stopped|Killed) +python3 stubborn\.py)+\s*")


def judge(sessions: list[Session], verbose: bool) -> Faults:
    """Names and faults, one by one. The first session is the one without agentsh."""
    plain = sessions[0]
    for session in sessions:
        yield f"{_of(session)}: the session comes to its end", session.told.faults
        if verbose:
            print(f"      {_of(session)}: {session.told.seconds:.1f} s")
    for number, step in enumerate(plain.steps):
        yield f"{_of(plain)}: {step.command!r} does what it should", _right(step, plain.results.get(number))
    yield f"{_of(plain)}: no program runs in a leaf, and there is no log", [line for line in plain.said() if "/calls/" in line] + [
        f"{record}" for record in calls.log(plain)]
    for session in sessions[1:]:
        yield from _as_without(plain, session)
        yield from _logged(plain, session, verbose)


def _of(session: Session) -> str:
    return f"{session.backend} {session.way.name}".strip()


def _right(step: Typed, result: tuple[str, int | None] | None) -> list[str]:
    if result is None:
        return ["it has no result"]
    text, status = result
    faults = [] if step.tells in text else [f"the result lacks {step.tells!r}: {text!r}"]
    return faults + ([] if status == step.status else [f"status {status}, expected {step.status}: {text!r}"])


def _as_without(plain: Session, seen: Session) -> Faults:
    """The runtime is told the same, and the same processes outlive its shell."""
    for number, step in enumerate(plain.steps):
        a, b = (_comparable(session, number) for session in (plain, seen))
        yield f"{_of(seen)}: the result of {step.command!r} is the same", [] if a == b else [f"without: {a!r}", f"with:    {b!r}"]
    if any(step.how == "kill" for step in plain.steps):
        told = [text for text, _ in seen.results.values() if re.search(r"\]\+ +Killed +python3 stubborn", text)]
        yield f"{_of(seen)}: bash says once that what takes no notice was killed", [] if len(told) == 1 else told or ["it doesn't"]
    a, b = plain.told.survivors, seen.told.survivors
    yield f"{_of(seen)}: of what was left behind the same lives on", [] if a == b else [f"without: {a}, with: {b}"]
    a, b = (Counter(line.rpartition(" ")[0] for line in session.said()) for session in (plain, seen))
    differing = [] if a == b else [f"without: {a - b}, with: {b - a}"]
    yield f"{_of(seen)}: the programs are started as often, and with the same arguments", differing


def _comparable(session: Session, number: int) -> tuple[str, int | None] | None:
    result = session.results.get(number)
    if result is None:
        return None
    text, status = KILLED.sub("\n", result[0]), result[1]
    return INTERPRETER.sub(lambda found: f"[Python interpreter: {_behind(session, found.group(1))}]", text), status


def _behind(session: Session, path: str) -> str:
    """A shim counts as what is behind it, where that is `python` as without shims."""
    return "$TOOLS/python" if path in (f"{session.ground.shims}/python", "@DIR@/shims/python") else path


def _logged(plain: Session, seen: Session, verbose: bool) -> Faults:
    """The log has what it should have, and nothing besides; each line has a leaf to itself, and its program was there."""
    records = calls.log(seen)
    for record in records if verbose else []:
        print("     ", *(record.get(key) for key in ("class", "leaf", "exit", "signal", "shim")), repr(record["command"][-120:]))
    own = [record for record in records if seen.client.is_own(record)]
    wanted = seen.client.own(seen.backend, seen.way)
    a, b = [line.command for line in wanted], [record["command"] for record in own]
    yield f"{_of(seen)}: the log has what the runtime runs for itself", [f"expected {a}, it has {b}"] if a != b else [
        fault for line, record in zip(wanted, own) for fault in _faults(line, record, seen, None)]
    rest = [record for record in records if record not in own]
    called = list(rest)
    for step in seen.steps:
        for line in step.lines(seen.way):
            # Two that begin at the same time may stand either way round.
            near = rest[: len(step.lines(seen.way))]
            mine = next((record for record in near if seen.plain(record["command"]) == line.command), None)
            name = f"{_of(seen)}: the log has {line.command!r}, in a leaf of class {line.class_name}"
            if mine is None:
                yield name, [f"the next line is {(rest or [{}])[0].get('command', 'none')!r}"]
                continue
            rest.remove(mine)
            yield name, _faults(line, mine, seen, plain)
    yield f"{_of(seen)}: the log has no line besides", [record["command"][-300:] for record in rest]
    yield f"{_of(seen)}: no two had one leaf at a time", _shared(records)
    yield f"{_of(seen)}: the programs say themselves that they were there", _elsewhere(seen, called)


def _faults(line: Line, record: dict, seen: Session, plain: Session | None) -> list[str]:
    status, signal = line.status, line.signal
    if line.left and line.left not in plain.told.survivors:
        status, signal = None, 1
    in_leaf = line.class_name != "agent"
    wanted = {"class": line.class_name, "placement": "leaf" if in_leaf else "in_place", "exit": status, "signal": signal,
              "shim": line.command.split()[0] if line.through_shim else None}
    faults = [f"{key} {record.get(key)!r}, expected {value!r}" for key, value in wanted.items() if record.get(key) != value]
    if in_leaf and not re.fullmatch(f"{line.class_name}-[0-9]+", record["leaf"] or ""):
        faults.append(f"leaf {record['leaf']}")
    return faults


def _shared(records: list[dict]) -> list[str]:
    uses = Counter((record["cgroup_id"], record["generation"]) for record in records if record["placement"] == "leaf")
    faults = [f"use {use} of a leaf had {count} commands" for use, count in uses.items() if count > 1]
    return faults if uses else ["nothing had a leaf"]


def _elsewhere(seen: Session, records: list[dict]) -> list[str]:
    """Programs that tell where they are, each against its line of the log; one that is killed with its launcher has none."""
    told = Counter()
    for line in seen.said():
        words, _, place = line.rpartition(" 0::")
        told[words, place.rpartition("/calls/")[2] if "/calls/" in place else "no leaf"] += 1
    names = {words.split()[0] for words, _ in told}
    logged = Counter()
    for record in records:
        words = [part for part in re.split(r"[\s']+", seen.plain(record["command"])) if part]
        words[0] = words[0].rpartition("/")[2]
        if words[0] in names and any(" ".join(words) == said for said, _ in told):
            logged[" ".join(words), record["leaf"]] += 1
    in_leaves = Counter({key: count for key, count in told.items() if key[1] != "no leaf"})
    without_line = {step.command for step in seen.steps if step.how == "kill"}
    faults = [f"{key} said so, and the log doesn't have it" for key in in_leaves - logged if key[0] not in without_line]
    faults += [f"the log has {key}, which didn't say so" for key in logged - in_leaves]
    faults += [f"{words} ran in no leaf" for words in without_line if not any(words == said for said, _ in in_leaves)]
    return faults if in_leaves else ["none did"]
