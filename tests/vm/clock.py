"""The guest's clock: the host's time-stamp counter, at the host's own rate.

Emulated, the guest reads the host's counter as it is, but finds out its rate by racing it against another emulated clock.
On a loaded host that race was lost by so much that the guest's seconds took 0.2 s (seen: a call of 1 minute logged 269 s).
"""

import re
import subprocess

RATE = re.compile(r"tsc: (?:Refined TSC clocksource calibration:|Detected) ([0-9.]+) MHz")


def kernel_argument():
    """Tells the guest the rate; nothing where the host doesn't say it: then the guest must measure."""
    log = subprocess.run(["dmesg"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    rates = RATE.findall(log.decode(errors="replace"))
    return f" tsc_early_khz={round(float(rates[-1]) * 1000)}" if rates else ""
