"""What must hold of two conversations, one with plain bash and one with agentsh, and of the log of the latter."""

import glob
import json
import re
from collections.abc import Iterator

from clients import Client
from conversation import Conversation
from script import ABORTED, Step

# What agents run for themselves, by its beginning: no tool calls.
OWN = ("SNAPSHOT_FILE=", "env", "ps aux", "set -e; . ", "/usr/bin/lsb_release", "if [ -z", "/bin/sh", "uname")


def log(conversation: Conversation) -> list[dict]:
    """The records of a conversation's calls, as they began; from all files, as Codex' long commands fill one soon."""
    records = []
    for path in glob.glob(f"{conversation.folder}/calls.jsonl*"):
        if not path.endswith(".lock"):
            with open(path, encoding="utf-8") as file:
                records += [json.loads(line) for line in file]
    return sorted(records, key=lambda record: record["id"])


def judge(client: Client, steps: list[Step], plain: Conversation, seen: Conversation, verbose: bool) -> Iterator[tuple[str, list[str]]]:
    """Names and faults, one by one."""
    ends = [f"{word}: {fault}" for word, told in (("bash", plain.told), ("agentsh", seen.told)) for fault in told.faults]
    yield "both conversations come to their end", ends
    records = log(seen)
    for record in records if verbose else []:
        print(f"      {record['class']} {record['leaf']} {record['exit']} {record['signal']} {record['command'][-150:]!r}")
    for number, step in enumerate(steps):
        a, b = plain.told.results.get(number), seen.told.results.get(number)
        faults = [] if a == b else [f"bash:    {a!r}", f"agentsh: {b!r}"]
        if step.command != ABORTED and step.tells not in (a or ""):
            faults.append(f"the result lacks {step.tells!r}: {a!r}")
        yield f"the result of {step.command!r} is the same", faults
    a, b = plain.told.survivors, seen.told.survivors
    yield "of the commands that were left behind and aborted the same processes live on", [] if a == b else [f"bash: {a}, agentsh: {b}"]
    own = [record for record in records if record["command"].startswith(OWN)]
    yield "what the agent runs for itself has a leaf too", [f"{record}" for record in own if record["placement"] != "leaf"]
    yield from _lines(client, steps, [record for record in records if record not in own])


def explained(steps: list[Step], seen: Conversation, verbose: bool) -> Iterator[tuple[str, list[str]]]:
    """The model has read that it was memory, what the limit was and that it wasn't its code's fault; and the agent went on."""
    yield "the conversation comes to its end", seen.told.faults
    results = [seen.told.results.get(number, "") for number in range(len(steps))]
    for step, result in zip(steps, results) if verbose else []:
        print(f"      {step.command!r}: {result!r}")
    for step, result in zip(steps, results):
        yield f"the result of {step.command!r} has {step.tells!r}", [] if step.tells in result else [repr(result)]
    record = next((record for record in log(seen) if _is_of(record, steps[1])), {})
    said = (record.get("feedback") or "none").strip()
    yield "the model has read all that the log says it was told", [] if said in results[1] and "memory" in said else [said, results[1]]
    kills = (record.get("events") or {}).get("oom_kill", 0)
    yield "it was the kernel that killed it, in a leaf of its class", [] if kills and record["class"] == steps[1].class_name else [f"{record}"]


def _lines(client: Client, steps: list[Step], records: list[dict]) -> Iterator[tuple[str, list[str]]]:
    """The log has each command's line, of its class, in the order in which they began, and no other."""
    for step in steps:
        mine = records[0] if records and _is_of(records[0], step) else None
        name = f"the log has {step.command!r}, in a leaf of class {step.class_name}"
        if mine is None and step.cut and not client.cut_is_logged:
            yield f"{name}, or was killed with it", []
            continue
        if mine is None:
            yield name, [f"the next line is {(records or [{}])[0].get('command', 'none')[-300:]!r}"]
            continue
        records.pop(0)
        wanted = {"class": step.class_name, "placement": "leaf"} | ({} if step.cut else {"exit": step.status, "signal": None})
        faults = [f"{key} {mine[key]!r}, expected {value!r}" for key, value in wanted.items() if mine[key] != value]
        if not re.fullmatch(f"{step.class_name}-[0-9]+", mine["leaf"] or ""):
            faults.append(f"leaf {mine['leaf']}")
        yield name, faults
    yield "the log has no line besides", [record["command"][-300:] for record in records]


def _is_of(record: dict, step: Step) -> bool:
    """Is a record of this command? Agents quote it in their own ways."""
    bare = lambda text: re.sub(r"[\\'\"]", "", text)  # noqa: E731
    return bare(step.command) in bare(record["command"])
