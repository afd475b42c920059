"""Types a job's commands into OpenHands' terminal tool. Run by the Python that has it; argument: the job."""

import json
import os
import sys

from openhands.tools.terminal.definition import TerminalAction
from openhands.tools.terminal.impl import TerminalExecutor

# How long it is looked at a program that waits for an answer or takes no notice: it doesn't end, so all of this passes.
LOOK = 2.0


def text(seen) -> str:
    """What the model is told."""
    return "\n".join(part.text for part in seen.to_llm_content)


def played(executor: TerminalExecutor, *actions: TerminalAction) -> tuple[str, int | None]:
    """Several actions, of which all but the last leave the program at work."""
    seen = [executor(action) for action in actions]
    return "\n".join(text(one) for one in seen), seen[-1].exit_code


def inputs(*keys: str, timeout: float) -> list[TerminalAction]:
    """What is typed into a program at work."""
    return [TerminalAction(command=key, is_input=True, timeout=timeout) for key in keys]


def do(executor: TerminalExecutor, step: dict) -> tuple[str, int | None]:
    """One step."""
    command, guard = step["command"], step["guard"]
    match step["how"]:
        case "type":
            return played(executor, TerminalAction(command=command, timeout=guard))
        case "cut":
            return played(executor, TerminalAction(command=command, timeout=step["time"]), *inputs("C-c", timeout=guard))[0], None
        case "ask":
            return played(executor, TerminalAction(command=command, timeout=LOOK), *inputs(step["answer"], timeout=guard))[0], None
        case "kill":
            said, _ = played(executor, TerminalAction(command=command, timeout=step["time"]), *inputs("C-c", timeout=LOOK),
                             *inputs("C-z", timeout=guard), TerminalAction(command="kill -9 %1; sleep 0.5", timeout=guard))
            return said, None
    raise SystemExit(f"unknown: {step['how']}")


def main() -> None:
    """From the session's start to its end; each result is a line of a file."""
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    executor = TerminalExecutor(working_dir=os.getcwd(), terminal_type=job["backend"])
    with open(job["results"], "w", encoding="utf-8") as results:
        for step in job["steps"]:
            print(json.dumps(do(executor, step | job)), file=results, flush=True)
    executor.close()


main()
