"""The shell's own upstream test suite: fetched from the distribution's source package, its helper programs built."""

import glob
import os
import re
import shutil
import subprocess

HELPERS = ("recho", "zecho", "printenv", "xcase")


class NoSource(Exception):
    """The source package could not be had here; the text says what to do."""


def cache() -> str:
    """The folder that keeps it from run to run, outside the repository."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return f"{base}/agentsh/bash-source"


def obtain() -> str:
    """The unpacked source with built helpers in `helpers/`; fetched only if it isn't there for this version."""
    version = _output("dpkg-query", "-W", "-f", "${source:Version}", "bash").strip()
    tree = f"{cache()}/bash-{version.replace(':', '_')}"
    if not os.path.exists(f"{tree}/helpers/ready"):
        shutil.rmtree(tree, ignore_errors=True)
        os.makedirs(cache(), exist_ok=True)
        _unpack(_download(version), tree)
        _build(tree)
    return tree


def _output(*command: str, cwd: str | None = None) -> str:
    try:
        return subprocess.run(command, cwd=cwd, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600).stdout
    except FileNotFoundError as error:
        raise NoSource(f"{command[0]} is missing: apt-get install dpkg-dev gcc") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = getattr(error, "stderr", "") or ""
        raise NoSource(f"{' '.join(command[:2])} failed: {said.strip()[-500:]}") from error


def source_entries(listing: str, deb822: bool) -> str:
    """The machine's own package sources, turned into sources of source packages."""
    if deb822:
        return re.sub(r"(?mi)^Types:.*$", "Types: deb-src", listing)
    lines = [line for line in listing.splitlines() if re.match(r"\s*deb\s", line)]
    return "".join(re.sub(r"^\s*deb\s", "deb-src ", line) + "\n" for line in lines)


def _private_apt(folder: str) -> list[str]:
    """apt-get with a state of its own, so that the machine's is not touched."""
    parts = f"{folder}/parts"
    for path in ("state/lists/partial", "cache/archives/partial", "parts"):
        os.makedirs(f"{folder}/{path}", exist_ok=True)
    for path in ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*")]:
        if path.endswith((".list", ".sources")) and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                entries = source_entries(file.read(), path.endswith(".sources"))
            if entries.strip():
                with open(f"{parts}/{os.path.basename(path)}", "w", encoding="utf-8") as file:
                    file.write(entries)
    settings = {
        "Dir::State": f"{folder}/state", "Dir::State::status": "/var/lib/dpkg/status", "Dir::Cache": f"{folder}/cache",
        "Dir::Etc::SourceList": "/dev/null", "Dir::Etc::SourceParts": parts, "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    return ["apt-get", "-q", *(word for name, value in settings.items() if value for word in ("-o", f"{name}={value}"))]


def _download(version: str) -> str:
    folder = f"{cache()}/download"
    os.makedirs(folder, exist_ok=True)
    if not glob.glob(f"{folder}/bash_*.dsc"):
        apt = _private_apt(f"{cache()}/apt")
        _output(*apt, "update")
        try:
            _output(*apt, "source", "--download-only", f"bash={version}", cwd=folder)
        except NoSource:
            # The mirror keeps the newest only: its tests do as well, as both shells run the same.
            _output(*apt, "source", "--download-only", "bash", cwd=folder)
        shutil.rmtree(f"{cache()}/apt", ignore_errors=True)
    return max(glob.glob(f"{folder}/bash_*.dsc"))


def _unpack(description: str, tree: str) -> None:
    _output("dpkg-source", "--no-check", "--no-copy", "-x", description, tree)


def _build(tree: str) -> None:
    """The four programs that the tests print and read with, without configuring the whole shell."""
    helpers = f"{tree}/helpers"
    os.makedirs(f"{helpers}/empty", exist_ok=True)
    with open(f"{helpers}/empty/config.h", "w", encoding="ascii"):
        pass
    have = [f"-DHAVE_{name}_H" for name in ("STRING", "UNISTD", "STDLIB")]
    where = [f"-I{path}" for path in (f"{helpers}/empty", tree, f"{tree}/include", f"{tree}/lib")]
    for name in HELPERS:
        _output("cc", "-w", "-std=gnu89", "-include", "stdlib.h", "-include", "string.h", *have, *where, f"{tree}/support/{name}.c", "-o", f"{helpers}/{name}")
    # Two long files of the build that heredoc5.sub reads: any will do, if it is the same for both shells.
    shutil.copy(f"{tree}/config.h.in", f"{helpers}/config.h")
    shutil.copy(f"{tree}/patchlevel.h", f"{helpers}/version.h")
    with open(f"{helpers}/ready", "w", encoding="ascii"):
        pass
