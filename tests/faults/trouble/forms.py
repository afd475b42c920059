"""The ways in which agents call a shell, each played under the same fault."""

from collections.abc import Callable

from suite.case import scene

PROBE = 'echo out; echo err >&2; /bin/echo child | /bin/cat; (exit 4); exit $(($? + 3))'
PROBE_SEEN = {"out": b"out\nchild\n", "err": b"err\n", "status": "exit 7"}
DYING = "echo last; kill -TERM $$"


def play_forms(stage, **options) -> None:
    """A command, one that dies of a signal, one done in place (job control), a script, standard input."""
    script = stage.file("probe.sh", PROBE + "\n", 0o755)
    forms = {
        "command": dict(args=("-c", PROBE)),
        "signal": dict(args=("-c", DYING)),
        "in_place": dict(args=("-mc", PROBE)),
        "script": dict(args=(script,)),
        "stdin": dict(args=("-s",), input=PROBE.encode()),
    }
    for name, form in forms.items():
        done = stage.run(*form["args"], input=form.get("input", b""), **options)
        stage.note(**{f"{name}_out": done.out, f"{name}_err": done.err, f"{name}_status": done.status})


def works(**others) -> dict:
    """What `play_forms` shows where the fault is none to bash."""
    seen = {}
    for name in ("command", "in_place", "script", "stdin"):
        seen |= {f"{name}_{what}": value for what, value in PROBE_SEEN.items()}
    # Of its job control, which it was asked for without a terminal, bash itself says this.
    seen["in_place_err"] = (b"bash: cannot set terminal process group (@PGRP@): Inappropriate ioctl for device\n"
                            b"bash: no job control in this shell\n") + seen["in_place_err"]
    return seen | {"signal_out": b"last\n", "signal_err": b"", "signal_status": "killed by SIGTERM"} | others


def fault(name: str, before: Callable | None = None, needs: str = "", prepare: Callable | None = None, **options) -> None:
    """Registers a case: under this fault, every form works as if nothing were wrong."""

    @scene(name, needs, **works())
    def _play(stage) -> None:
        given = prepare(stage) if prepare else {}
        play_forms(stage, before=before, **options, **(given or {}))


def alike(name: str, before: Callable | None = None, needs: str = "", **options) -> None:
    """Registers a case: under this fault bash may fail too, and agentsh does just what bash does."""

    @scene(name, needs)
    def _play(stage) -> None:
        play_forms(stage, before=before, **options)
