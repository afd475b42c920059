"""Docker's daemon, for the cases about it."""

import contextlib
import os
import subprocess

from roots import PLACE, SECONDS
from sessions import read, report, run, until

SOCKET, CONTAINERD = f"{PLACE}/docker.sock", f"{PLACE}/containerd.sock"
# Debian's, not one that somebody has put before it.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": PLACE}


class Docker:
    """Docker's daemon with containerd and runc, on this machine's own cgroups: there is no systemd here."""

    def __init__(self, *options):
        self.said = f"{PLACE}/dockerd.log"
        containerd = ["containerd", "--address", CONTAINERD, "--root", f"{PLACE}/containerd", "--state", f"{PLACE}/containerd-state"]
        dockerd = ["dockerd", "-H", f"unix://{SOCKET}", "--containerd", CONTAINERD, "--data-root", f"{PLACE}/docker"]
        dockerd += ["--exec-root", f"{PLACE}/docker-exec", "--pidfile", f"{PLACE}/docker.pid", "--storage-driver", "vfs"]
        dockerd += ["--iptables=false", "--ip6tables=false", "--bridge", "none", *options]
        self.daemons = []
        for command, socket in ((containerd, CONTAINERD), (dockerd, SOCKET)):
            with open(self.said, "ab") as out:
                self.daemons.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=ENVIRONMENT))
            report(f"{command[0]} is there", until(lambda: os.path.exists(socket), 60), (read(self.said) or "")[-600:])
        up = until(lambda: self("info").returncode == 0, 60)
        report("Docker answers", up, (read(self.said) or "")[-600:])

    def __call__(self, *arguments, seconds=SECONDS, **options):
        return run("/usr/bin/docker", "-H", f"unix://{SOCKET}", *arguments, env=ENVIRONMENT, seconds=seconds, **options)

    def start(self, *arguments):
        """Starts a container in the background: its id, and the pid of its first process."""
        done = self("run", "-d", "--network", "none", *arguments)
        if done.returncode:
            print(f"# docker run: {done.stderr.strip()}", flush=True)
            return None, 0
        container = done.stdout.strip()
        return container, int(self("inspect", "--format", "{{.State.Pid}}", container).stdout or 0)

    def image(self, name, root):
        """Makes an image of a folder."""
        archive = f"{PLACE}/{name}.tar"
        run("tar", "-c", "-C", root, "-f", archive, ".")
        done = self("import", archive, name)
        os.unlink(archive)
        report(f"an image is made: {name}", done.returncode == 0, done)
        return name

    def end(self):
        """Ends the daemons."""
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(30)
        for socket in (SOCKET, CONTAINERD):
            with contextlib.suppress(OSError):
                os.unlink(socket)
        for parent in ("docker", "default"):
            # They leave those of their containers behind.
            for folder, _, _ in os.walk(f"/sys/fs/cgroup/{parent}", topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
