"""What the contract says of a recorded invocation."""

from dataclasses import dataclass

WRAPPER = "<wrapper; re-execs> "
# What agents run for themselves: no tool call, so no command is named in the recording.
PROBES = {"<env probe>": "explore", "<snapshot>": "other"}
EDITOR_PROBE = "ps aux | grep -E "
SYNTAX_PROBE = "/usr/bin/env bash -n <<"
NICE_SHELL = "/usr/bin/nice -n 10 /bin/bash"
# Scripts count by their names: this one tells what distribution it is.
SCRIPTS = {"/usr/bin/lsb_release": "explore"}


@dataclass
class Expected:
    """The class, and where the call must be: `leaf`, `in_place`, or None where the log doesn't have it."""

    class_name: str
    placement: str | None
    comparable: bool = True

    @staticmethod
    def asked_for(record: dict) -> str | None:
        """The command that the agent's model asked for."""
        inner = record["inner_command"]
        if inner is None or inner in PROBES:
            return None
        return inner.removeprefix(WRAPPER)

    @staticmethod
    def of(record: dict, known: dict[str, str]) -> "Expected":
        """By the contract's table B."""
        asked = Expected.asked_for(record)
        if asked is not None:
            return Expected(known[asked], "leaf")
        if (probe := PROBES.get(record["inner_command"])) is not None:
            return Expected(probe, "leaf")
        argv = record["argv"]
        if "-c" not in argv:
            if len(argv) > 1 and argv[1] in SCRIPTS:
                return Expected(SCRIPTS[argv[1]], "leaf")
            # Interactive, login: becomes the shell, and nobody needs to know.
            return Expected("agent", None)
        if argv[-1] == NICE_SHELL:
            return Expected("agent", "in_place")
        if argv[-1].startswith(EDITOR_PROBE):
            # Its output is what runs on this machine, which changes.
            return Expected("explore", "leaf", comparable=False)
        if argv[-1].startswith(SYNTAX_PROBE):
            return Expected("explore", "leaf")
        raise SystemExit(f"a recording of a kind that tests/agents/expected.py doesn't know: {argv}")
