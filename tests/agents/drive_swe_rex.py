"""Types a job's commands into a session of SWE-ReX, as SWE-agent does. Run by the Python that has it; argument: the job."""

import asyncio
import json
import sys

from swerex.deployment.local import LocalDeployment
from swerex.exceptions import CommandTimeoutError
from swerex.runtime.abstract import BashAction, BashInterruptAction, CloseBashSessionRequest, Command, CreateBashSessionRequest


async def cut(runtime, step: dict) -> tuple[str, int | None]:
    """Its time runs out; then SWE-agent interrupts it: Ctrl-C, and if that isn't heard, Ctrl-Z and SIGKILL."""
    try:
        seen = await runtime.run_in_session(BashAction(command=step["command"], timeout=step["time"], check="silent"))
        return f"it ended by itself: {seen.output}", seen.exit_code
    except CommandTimeoutError as error:
        seen = await runtime.run_in_session(BashInterruptAction(timeout=1.0, n_retry=2))
        return f"{type(error).__name__}: {error}\n{seen.output}", None


async def ask(runtime, step: dict) -> tuple[str, int | None]:
    """A program that waits for an answer, and ends with it."""
    asked = await runtime.run_in_session(
        BashAction(command=step["command"], is_interactive_command=True, expect=["who\\? "], timeout=step["guard"]))
    answered = await runtime.run_in_session(BashAction(command=step["answer"], is_interactive_quit=True, timeout=step["guard"]))
    return f"{asked.output}{asked.expect_string}{answered.output}", None


async def typed(runtime, step: dict) -> tuple[str, int | None]:
    """A command as most are."""
    seen = await runtime.run_in_session(BashAction(command=step["command"], timeout=step["guard"], check="silent"))
    return seen.output, seen.exit_code


async def executed(runtime, step: dict) -> tuple[str, int | None]:
    """Without a session."""
    shell = step["how"] != "run"
    timeout = step["time"] if step["how"] == "expire" else step["guard"]
    try:
        seen = await runtime.execute(Command(command=step["command"] if shell else step["command"].split(), shell=shell, timeout=timeout))
    except CommandTimeoutError as error:
        return f"{type(error).__name__}: {error}", None
    return f"{seen.stdout}\n{seen.stderr}", seen.exit_code


HOW = {"type": typed, "cut": cut, "kill": cut, "ask": ask, "execute": executed, "run": executed, "expire": executed}


async def main() -> None:
    """From the session's start to its end; each result is a line of a file."""
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    deployment = LocalDeployment()
    await deployment.start()
    await deployment.runtime.create_session(CreateBashSessionRequest(startup_source=job["startup"], startup_timeout=job["guard"]))
    with open(job["results"], "w", encoding="utf-8") as results:
        for step in job["steps"]:
            print(json.dumps(await HOW[step["how"]](deployment.runtime, step | job)), file=results, flush=True)
    await deployment.runtime.close_session(CloseBashSessionRequest())
    await deployment.stop()


asyncio.run(main())
