"""What grows with the work: mappings, tunnels, idle callers, and how long a new config takes."""

import datetime
import os
import random
import re
import time
import urllib.request

import loads
import peers
import tables
from processes import WORK, wait_for

# What grows: its name, the steps, and the option of `Bridge`.
SUBJECTS = [("Mappings", (1, 20, 2000), "mappings"),
            ("Tunnels", (1, 16, 256), "tunnels"),
            ("Idle connections of callers", (10, 10_000), "idle")]
CONNECTIONS, PORTS = 64, 8
NEW_MAPPINGS, CHANGES = (1, 20, 2000), 5
# The most that one --tunnel takes.
TUNNELS_OF_A_URL = 64


class Bridge(peers.Peer):
    """The bridge over gRPC with so many mappings, tunnels, and callers that are connected."""

    def __init__(self, name, base, mappings=20, tunnels=1, idle=0, log="warn"):
        self.ports = range(base + 20, base + 20 + mappings)
        self.tunnels, self.idle, self.callers, self.admin = tunnels, idle, [], base + 11
        peers.write_config(name, dict.fromkeys(self.ports, peers.BACKEND))
        tunnel = f"grpc://127.0.0.1:{base + 10}"
        urls = -(-tunnels // TUNNELS_OF_A_URL)
        processes = peers.ends(
            name, tunnel, [*["--tunnel", tunnel] * urls, "--connections", tunnels // urls],
            ["--admin", f"127.0.0.1:{self.admin}", "--idle-timeout", "10m"], log)
        about = f"mappings: {mappings}, tunnels: {tunnels}, idle connections: {idle}"
        super().__init__(name, base, processes, about)
        self.http = self.sink = base + 20

    def start(self):
        super().start()
        wait_for(lambda: self.sessions() == self.tunnels, f"the tunnels of {self.name}", 30)
        share = self.idle // 10
        for port in self.ports[:10] if share else ():
            self.callers += loads.idle_callers(port, share)

    def stop(self):
        super().stop()
        for caller in self.callers:
            caller.close()
        self.callers = []

    def sessions(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics") as page:
            return int(re.search(r"^isthmus_sessions (\d+)", page.read().decode(), re.M)[1])

    def spread(self):
        """As many of its ports as the load has threads, from the first to the last."""
        count = len(self.ports)
        return [self.ports[n * (count - 1) // (PORTS - 1)] for n in range(PORTS)]


def scale(run, options):
    """CPU time and memory at each step of what grows, and how long new mappings take."""
    steps = [(option, step) for _, steps, option in SUBJECTS for step in steps]
    bridges = [Bridge(f"{option}-{step}", 10_000 + 2_500 * number, **{option: step})
               for number, (option, step) in enumerate(steps)]
    changed = Bridge("new-config", 30_000, mappings=1, log="info")
    run.start([*bridges, changed])
    for bridge in run.running:
        run.record(bridge, "memory", 0, mib=bridge.memory())
    for number, order in run.rounds():
        for bridge in order:
            if bridge is not changed:
                run.measure(bridge, "small", number, lambda: loads.small_gets(
                    bridge.http, CONNECTIONS, options.seconds, ports=bridge.spread()))
    if changed in run.running:
        for number in range(1 if options.quick else CHANGES):
            for count in NEW_MAPPINGS:
                run.attempt(changed, f"new-{count}", number, lambda: change(changed, count))
    return tables.scale(run, SUBJECTS, NEW_MAPPINGS)


def change(bridge, count):
    """Adds so many mappings, and takes them away again: seconds from the rename of the config."""
    before = dict.fromkeys(bridge.ports, peers.BACKEND)
    new = range(bridge.http + 1, bridge.http + 1 + count)
    log = Log(bridge.processes[0].name)
    # At any time between two looks of the ends at the file.
    time.sleep(random.uniform(0, 0.25))
    begin = time.time()
    peers.write_config(bridge.name, {**before, **dict.fromkeys(new, peers.BACKEND)})
    try:
        wait_for(lambda: loads.works(new[-1]), f"{count} new mappings", pause=0.001)
        answered = time.time()
        wait_for(lambda: log.time_of("mapping opened"), "the log")
    finally:
        restore(bridge, before)
    read, opened = (log.time_of(text) for text in ("config applied", "mapping opened"))
    return {"answered": answered - begin, "listening": opened - begin, "opening": opened - read}


def restore(bridge, config):
    """Writes the config and waits until both ends have it."""
    logs = [Log(process.name) for process in bridge.processes]
    peers.write_config(bridge.name, config)
    for log in logs:
        wait_for(lambda: log.time_of("config applied"), "the old config")


class Log:
    """What a process logs from now on."""

    def __init__(self, name):
        self.path = f"{WORK}/{name}.log"
        self.begin = os.path.getsize(self.path)

    def time_of(self, text):
        """When the first line with this text was logged, in seconds since 1970."""
        with open(self.path) as file:
            file.seek(self.begin)
            for line in file:
                if text in line:
                    return datetime.datetime.fromisoformat(line.split()[0]).timestamp()
        return None
