"""How a call of the shell ended, in the words that expectations are written in."""

import os
import signal
from dataclasses import dataclass


def ending(wait_status: int) -> str:
    """`exit 3`, `killed by SIGTERM`, `stopped by SIGTSTP` or `continued`, from a wait status.

    Whether a core was dumped is left out: table A of the contract permits a difference there.
    """
    if os.WIFCONTINUED(wait_status):
        return "continued"
    if os.WIFSTOPPED(wait_status):
        return f"stopped by {signal_name(os.WSTOPSIG(wait_status))}"
    if os.WIFSIGNALED(wait_status):
        return f"killed by {signal_name(os.WTERMSIG(wait_status))}"
    return f"exit {os.WEXITSTATUS(wait_status)}"


def signal_name(number: int) -> str:
    """SIGTERM and the like; real-time signals by number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass
class Outcome:
    """What the caller of a shell can see of it."""

    out: bytes
    err: bytes
    wait_status: int

    @property
    def status(self) -> str:
        """The ending in words."""
        return ending(self.wait_status)
