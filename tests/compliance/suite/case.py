"""A case: a sentence, something to play on a stage, and what must be seen."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Seen = dict[str, Any]


@dataclass(frozen=True)
class Either:
    """A difference that table A of the contract permits: one value for real bash, another one for agentsh."""

    plain: Any
    agentsh: Any

    def of(self, kind: str) -> Any:
        """The value for this kind of shell."""
        return self.plain if kind == "plain" else self.agentsh


@dataclass(frozen=True)
class Case:
    """One sentence that must hold for every shell under test."""

    name: str
    play: Callable
    expected: Seen = field(default_factory=dict)
    # "root" (must be root), "leaf" (only where calls get a leaf), "shell" (agentsh alone; plain has nothing to show).
    needs: frozenset[str] = frozenset()

    def expected_of(self, kind: str) -> Seen:
        """What must be seen of this kind of shell, label by label."""
        return {k: v.of(kind) if isinstance(v, Either) else v for k, v in self.expected.items()}

    @property
    def permitted(self) -> set[str]:
        """Labels whose values may differ between real bash and agentsh."""
        return {label for label, value in self.expected.items() if isinstance(value, Either)}


CASES: list[Case] = []


def scene(name: str, needs: str = "", **expected: Any) -> Callable:
    """Registers a function as a case; it notes on its stage what is expected here."""

    def register(play: Callable) -> Callable:
        if any(case.name == name for case in CASES):
            raise ValueError(f"two cases are named {name!r}: rename one of them")
        CASES.append(Case(name, play, expected, frozenset(needs.split())))
        return play

    return register


def _bytes(text: str | bytes | Either) -> bytes | Either:
    if isinstance(text, Either):
        return Either(_bytes(text.plain), _bytes(text.agentsh))
    return text.encode() if isinstance(text, str) else text


def call(name: str, *args: str | bytes, out="", err="", status: int | str | Either = 0, needs: str = "", **options: Any) -> None:
    """Registers a case that runs the shell with `args` once; `options` are those of Stage.start."""
    ended = f"exit {status}" if isinstance(status, int) else status

    @scene(name, needs, stdout=_bytes(out), stderr=_bytes(err), status=ended)
    def _play(stage) -> None:
        stage.note_outcome(stage.run(*args, **options))


def command(name: str, text: str | bytes, *args: str | bytes, **options: Any) -> None:
    """Registers a case that runs `bash -c text args…` once."""
    call(name, "-c", text, *args, **options)
