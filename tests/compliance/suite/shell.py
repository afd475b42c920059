"""The shell under test, laid out as an installed one: <prefix>/bin/{bash,sh}."""

import os
import shutil
import subprocess

REAL = "/bin/bash"


def kind_of(path: str) -> str:
    """`plain` for a bash, `agentsh` for the launcher: the launcher carries its own name in its file."""
    with open(path, "rb") as file:
        return "agentsh" if b"AGENTSH_REAL_SHELL" in file.read() else "plain"


def lay_out(path: str, prefix: str) -> str:
    """Makes the prefix's tree for the shell at `path`; returns its kind."""
    kind = kind_of(path)
    os.makedirs(f"{prefix}/bin")
    for name in ("bash", "sh"):
        target = f"{prefix}/bin/{name}"
        if kind == "plain":
            os.symlink(os.path.realpath(path), target)
        elif name == "bash":
            shutil.copy2(path, target)
            os.chmod(target, 0o755)
        else:
            os.link(f"{prefix}/bin/bash", target)
    return kind


def real_answer(*args: str) -> tuple[bytes, bytes, int]:
    """What real bash itself says: for texts that differ from one release of bash to the next."""
    done = subprocess.run(["bash", *args], executable=REAL, capture_output=True, check=False, stdin=subprocess.DEVNULL,
                          env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, timeout=20)
    return done.stdout, done.stderr, done.returncode
