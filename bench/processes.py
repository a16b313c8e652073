"""Processes that are started and measured: CPU time and memory of whole process trees."""

import os
import signal
import socket
import subprocess
import time

WORK = os.environ["BENCH_WORK"]


class Process:
    """A command, with its output in a file. If `port` is given it is ready once that accepts."""

    def __init__(self, name, command, port=None, env=None):
        self.name, self.command, self.port = name, [str(word) for word in command], port
        self.env = {**os.environ, **(env or {})}
        self.child = None

    def start(self):
        with open(f"{WORK}/{self.name}.log", "ab") as log:
            self.child = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                start_new_session=True)
        wait_for(lambda: self.port is None or accepts(self.port), f"{self.name} on {self.port}")

    def stop(self):
        if self.child is None:
            return
        for pid in reversed(tree([self.child.pid])):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()
        self.child = None


def wait_for(condition, what, seconds=10, pause=0.02):
    """Asks every 20 ms, or after each `pause`, whether `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain for {what}; see {WORK}/*.log")
        time.sleep(pause)


def accepts(port):
    """Whether somebody listens on the port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tree(roots):
    """The processes `roots` with all that descend from them, parents first."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = read(f"/proc/{entry}/stat")
            if stat:
                parent = int(stat.rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry))
    found = list(roots)
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(roots):
    """User and kernel time of the trees so far, also of threads that have ended, to the ns.

    The clock of a process has its number in the upper bits, inverted (clock_getcpuclockid(3)).
    """
    total = 0.0
    for pid in tree(roots):
        try:
            total += time.clock_gettime((~pid << 3) | 2)
        except OSError:
            pass
    return total


def resident_mib(roots):
    """The sum of the resident set sizes of the trees; pages that they share count repeatedly."""
    total = 0
    for pid in tree(roots):
        for line in read(f"/proc/{pid}/status").splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total / 1024


def descriptors(roots):
    """How many files and sockets the trees have open."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in tree(roots))


def busy_seconds():
    """CPU time of the whole machine so far: spent by processes of any namespace, and stolen."""
    fields = [int(field) for field in read("/proc/stat").splitlines()[0].split()[1:]]
    tick = os.sysconf("SC_CLK_TCK")
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6] + fields[7]) / tick


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
