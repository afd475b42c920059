"""Debian packages for the virtual machine, fetched through an apt state of our own.

The machine's own apt is neither asked for these suites nor changed: lists, archives and sources live in the cache
folder. Packages are unpacked there, never installed, so no root is needed and nothing can conflict with what the
machine has. Only the mirror is taken from the machine's own configuration.
"""

import os
import re
import subprocess

# Kernels, QEMU and virtiofsd all come from here, whatever the machine itself runs: their libraries are unpacked
# beside them, and started through their own dynamic loader.
SUITES = ["trixie", "trixie-backports"]
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class PackageError(Exception):
    """A package can't be had; the message says what was tried and what to do."""


def mirror():
    """The URI of the Debian mirror that this machine's apt uses (AGENTSH_DEBIAN_MIRROR overrides it)."""
    if os.environ.get("AGENTSH_DEBIAN_MIRROR"):
        return os.environ["AGENTSH_DEBIAN_MIRROR"]
    ask = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"]
    for attempt in (1, 2):
        for line in subprocess.run(ask, capture_output=True, text=True, check=False).stdout.splitlines():
            origin, label, uri = line.split("|", 2)
            if origin == label == "Debian":
                return uri
        if attempt == 1:
            # A fresh machine has sources but no lists yet, and the origin is known only from the lists.
            subprocess.run(["apt-get", "update", "-qq"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    raise PackageError(
        "this machine's apt has no Debian mirror among its sources, and the test VM's kernels are Debian's: "
        "set AGENTSH_DEBIAN_MIRROR to the URI of one"
    )


class PrivateApt:
    """An apt whose whole state is below `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self.updated = False
        self.config = os.path.join(folder, "apt.conf")

    def _write_configuration(self):
        if not os.path.exists(KEYRING):
            raise PackageError(f"{KEYRING} isn't there, by which Debian's kernels are known: install debian-archive-keyring")
        for below in ("state/lists/partial", "cache/archives/partial", "sources", "preferences"):
            os.makedirs(os.path.join(self.folder, below), exist_ok=True)
        # An empty status file makes the set of packages the same on every machine.
        with open(os.path.join(self.folder, "status"), "w", encoding="utf-8"):
            pass
        with open(os.path.join(self.folder, "sources/debian.sources"), "w", encoding="utf-8") as sources:
            sources.write(
                f"Types: deb\nURIs: {mirror()}\nSuites: {' '.join(SUITES)}\nComponents: main\nSigned-By: {KEYRING}\n"
            )
        settings = {
            "Dir::State": f"{self.folder}/state",
            "Dir::State::status": f"{self.folder}/status",
            "Dir::Cache": f"{self.folder}/cache",
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": f"{self.folder}/sources",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": f"{self.folder}/preferences",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
            # The user _apt can't write below somebody's home.
            "APT::Sandbox::User": "root",
        }
        with open(self.config, "w", encoding="utf-8") as config:
            config.writelines(f'{name} "{value}";\n' for name, value in settings.items())

    def _run(self, *command, cwd=None):
        environment = dict(os.environ, APT_CONFIG=self.config, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
        done = subprocess.run(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise PackageError(f"`{' '.join(command)}` failed (state in {self.folder}):\n{done.stderr.strip()}")
        return done.stdout

    def update(self):
        """Fetches the suites' lists, once a process."""
        if not self.updated:
            self._write_configuration()
            self._run("apt-get", "update", "-qq")
            self.updated = True

    def names(self, pattern):
        """Names of all packages that match the regular expression as a whole."""
        self.update()
        known = self._run("apt-cache", "pkgnames").split()
        return [name for name in known if re.fullmatch(pattern, name)]

    def unpack(self, packages, into):
        """Downloads exactly these packages and unpacks them below `into`."""
        self.update()
        downloads = os.path.join(self.folder, "downloads")
        os.makedirs(downloads, exist_ok=True)
        _empty(downloads)
        self._run("apt-get", "download", "-qq", *packages, cwd=downloads)
        self._unpack_all(downloads, into)

    def unpack_with_dependencies(self, packages, into):
        """Downloads these packages and everything they depend on, libc included, and unpacks them below `into`."""
        self.update()
        self._run("apt-get", "install", "-y", "-qq", "--download-only", "--no-install-recommends", *packages)
        self._unpack_all(os.path.join(self.folder, "cache/archives"), into)

    def _unpack_all(self, downloads, into):
        os.makedirs(into, exist_ok=True)
        for name in sorted(os.listdir(downloads)):
            if name.endswith(".deb"):
                self._run("dpkg-deb", "-x", os.path.join(downloads, name), into)
        _empty(downloads)


def _empty(folder):
    for name in os.listdir(folder):
        if name.endswith(".deb"):
            os.unlink(os.path.join(folder, name))
