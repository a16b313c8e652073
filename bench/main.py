"""Starts the peers, loads them in turn, and writes what it measured; started by bench/run."""

import argparse
import json
import os
import resource
import statistics
import sys
import time

import chart
import loads
import peers
import scale
import tables
from processes import WORK, busy_seconds, cpu_seconds, descriptors, resident_mib
from stalls import Stalls

OURS_SSH_CIPHER = "aes256-gcm@openssh.com"
WAN_MILLISECONDS, WAN_MEGABIT = 100, 1000
IDLE, STALLED = 1000, 32
STEADY_CONNECTIONS, STEADY_PER_SECOND = 32, 2000
TRIES = 4  # of a latency, while the machine stands still


def main():
    parser = argparse.ArgumentParser(prog="bench/run", description="Measures the bridge.")
    parser.add_argument("--quick", action="store_true", help="one round of short loads")
    parser.add_argument("--peers", help="only these, separated by commas")
    parser.add_argument("--cells", help="only these loads, separated by commas")
    parser.add_argument("--out", help="the Markdown file; beside it come the records (.jsonl) and a chart (.svg)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of each load of small requests")
    parser.add_argument("--ssh", action="store_true", help="bulk over SSH, against ssh -R")
    parser.add_argument("--wan", action="store_true", help="bulk over 100 ms each way")
    parser.add_argument("--stalled", action="store_true", help="small requests beside callers that stall")
    parser.add_argument("--scale", action="store_true", help="small requests as work grows")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    modes = {"ssh": ssh, "wan": wan, "stalled": stalled, "scale": scale.scale, "table": table}
    kind = next(name for name in modes if getattr(options, name, True))
    out = os.path.abspath(options.out or f"{WORK}/{kind}.md")
    with open(os.path.splitext(out)[0] + ".jsonl", "w") as file:
        run = Run(options, file)
        text = modes[kind](run, options)
    text = tables.conditions(run) + text
    write(out, text)
    if kind == "table":
        write(os.path.splitext(out)[0] + ".svg", chart.chart(run))
    print(text)
    print(f"written to {out}", file=sys.stderr)


class Run:
    """Keeps the records, and how busy others kept the machine meanwhile."""

    def __init__(self, options, file):
        self.options, self.file, self.records = options, file, []
        self.begin, self.load_before = time.time(), os.getloadavg()
        self.stalls = Stalls()
        self.backend = peers.backend()
        for process in self.backend:
            process.start()

    def start(self, candidates):
        """Starts those that were asked for, and notes which run."""
        by_name = {peer.name: peer for peer in candidates}
        self.candidates = [by_name[name] for name in chosen("--peers", self.options.peers, by_name)]
        for peer in self.candidates:
            try:
                if not peer.missing:
                    peer.start()
            except (OSError, TimeoutError) as error:
                peer.missing = str(error)
                peer.stop()
        self.running = [peer for peer in self.candidates if not peer.missing]

    def measure(self, peer, cell, round_number, load):
        """Runs `load` and records the CPU time that all processes of `peer` took for it. A latency
        that was taken while the machine stood still says nothing about a peer: it is taken again,
        unless requests failed, which is to be told."""
        for attempt in range(1, TRIES + 1):
            before = self.stalls.count()
            values = attempted(peer, load)
            disturbed = self.stalls.count() > before
            if not disturbed or "p99" not in values or values.get("errors"):
                break
        self.record(peer, cell, round_number, tries=attempt, disturbed=disturbed, **values)

    def record(self, peer, cell, round_number, **values):
        record = {"peer": peer.name, "cell": cell, "round": round_number, **values}
        self.records.append(record)
        self.file.write(json.dumps(record) + "\n")
        self.file.flush()

    def attempt(self, peer, cell, round_number, work):
        """Records what `work` brought, or why it failed."""
        try:
            values = work()
        except OSError as error:
            values = {"failed": str(error)}
        self.record(peer, cell, round_number, **values)

    def foreign(self):
        """The share of the machine that went to others or was stolen: median and most."""
        shares = [record["foreign"] for record in self.records if "foreign" in record] or [0]
        return statistics.median(shares), max(shares)

    def repeated(self):
        """How many latencies were taken again as the machine had stood still, and how many in vain."""
        again = [record for record in self.records if record.get("tries", 1) > 1]
        return len(again), sum(record["disturbed"] for record in again)

    def rounds(self):
        """A B, then B A, and so on, so that a drift of the machine meets all alike."""
        for number in range(self.options.rounds):
            print(f"round {number + 1} at {time.time() - self.begin:.0f} s", file=sys.stderr)
            yield number, self.running if number % 2 == 0 else self.running[::-1]


def chosen(option, asked, names):
    """Those of `names` that the option asks for, or all without it."""
    wanted = asked.split(",") if asked else names
    for name in wanted:
        if name not in names:
            sys.exit(f"bench/run: {option}: there is no `{name}` here, but {', '.join(names)}")
    return [name for name in names if name in wanted]


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def attempted(peer, load):
    """What a run of `load` brought, and what it took."""
    begin, busy, own, cpu = time.monotonic(), busy_seconds(), own_seconds(), peer.cpu()
    try:
        result = load()
    except OSError as error:
        return {"failed": str(error)}
    cpu, own = peer.cpu() - cpu, own_seconds() - own
    elapsed = (time.monotonic() - begin) * os.cpu_count()
    foreign = max(0, busy_seconds() - busy - own) / elapsed
    return {"cpu": cpu, "foreign": foreign, **result}


def own_seconds():
    """CPU time of this namespace, ended children included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return cpu_seconds([os.getpid()]) + ended.ru_utime + ended.ru_stime


def table(run, options):
    loaded = cells(options)
    run.start(peers.everyone().values())
    for number, order in run.rounds():
        for name, load in loaded:
            for peer in order:
                run.measure(peer, name, number, lambda: load(peer))
    for peer in run.running:
        if peer.processes and not options.cells:
            run.attempt(peer, "memory", 0, lambda: resident(peer))
    return tables.requests(run) + tables.bulk(run) + tables.memory(run)


def cells(options):
    """What each round does to each peer: names and loads."""
    seconds = options.seconds

    def small(connections, close=False):
        return lambda peer: loads.small_gets(peer.http, connections, seconds, close)

    def beside_download(peer):
        with loads.Downloads(peer.http) as downloads:
            time.sleep(0.3)
            result = loads.small_gets(peer.http, 16, seconds)
        return {**result, "bulk": downloads.bytes / downloads.seconds}

    every = {
        **{f"c={connections}": small(connections) for connections in (1, 16, 64, 256)},
        "new": small(64, close=True),
        "steady": lambda peer: loads.steady_gets(
            peer.http, STEADY_CONNECTIONS, STEADY_PER_SECOND, seconds),
        "beside": beside_download,
        "download": lambda peer: loads.download(peer.http),
        "upload": lambda peer: loads.upload(peer.sink, f"{WORK}/www/1g"),
    }
    return [(name, every[name]) for name in chosen("--cells", options.cells, every)]


def resident(peer):
    """Resident memory of a fresh peer, with idle connections, and added by stalled readers."""
    peer.stop()
    peer.start()
    time.sleep(0.5)
    base = peer.memory()
    callers = loads.idle_callers(peer.http, IDLE)
    time.sleep(0.7)
    idle = peer.memory()
    for caller in callers:
        caller.close()
    peer.stop()
    peer.start()
    time.sleep(0.5)
    before = peer.memory()
    callers = loads.stalled_callers(peer.http, STALLED)
    time.sleep(2)
    stalled = peer.memory() - before
    for caller in callers:
        caller.close()
    return {"base": base, "idle": idle, "stalled": stalled}


def ssh(run, options):
    """One request at a time, 1 GiB down and up, the same cipher in both."""
    run.start([peers.isthmus("isthmus-ssh", 7200, "ssh"),
               peers.ssh_forward("sshR", 7500, OURS_SSH_CIPHER)])
    for number, order in run.rounds():
        for peer in order:
            run.measure(peer, "download", number, lambda: loads.download(peer.http))
            run.measure(peer, "upload", number,
                        lambda: loads.upload(peer.sink, f"{WORK}/www/1g"))
    return tables.bulk(run, "isthmus-ssh")


def wan(run, options):
    """One request for 1 GiB through a relay that delays."""
    paths = [peers.long_path(base + 15, base + 10, WAN_MILLISECONDS, WAN_MEGABIT)
             for base in (7100, 7200, 7500)]
    for path in paths:
        path.start()
    run.start([peers.isthmus("isthmus-grpc", 7100, "grpc", through=7115),
               peers.isthmus("isthmus-ssh", 7200, "ssh", through=7215),
               peers.ssh_forward("sshR", 7500, OURS_SSH_CIPHER, through=7515)])
    for number, order in run.rounds():
        for peer in order:
            run.measure(peer, "download", number, lambda: loads.download(peer.http, 15, 4))
    return tables.wan(run, WAN_MEGABIT)


def stalled(run, options):
    """Small requests at a fixed rate, without and with callers that stall."""
    run.start([peers.isthmus("isthmus-grpc", 7100, "grpc"),
               peers.isthmus("isthmus-ssh", 7200, "ssh")])
    for number, order in run.rounds():
        for kind in loads.STALLED:
            for peer in order:
                run.attempt(peer, kind, number, lambda: stall(run, peer, kind, number))
    return tables.stalled(run, loads.STALLED)


def stall(run, peer, kind, number):
    """One kind of them at a fresh peer: latency, memory of each side, and what is left of them."""
    peer.stop()
    peer.start()
    steady = lambda: loads.steady_gets(
        peer.http, STEADY_CONNECTIONS, STEADY_PER_SECOND, run.options.seconds)
    steady()
    memory = lambda: [resident_mib([root]) for root in peer.roots()]

    def alone():
        run.measure(peer, f"without {kind}", number, steady)

    def beside():
        before, held = memory(), descriptors(peer.roots())
        with loads.Stalled(kind, peer, STALLED):
            time.sleep(1)
            run.measure(peer, f"with {kind}", number, steady)
            grown = [now - then for now, then in zip(memory(), before)]
        end = time.monotonic() + 10
        while (left := descriptors(peer.roots()) - held) > 0 and time.monotonic() < end:
            time.sleep(0.1)
        return {"send": grown[0], "receive": grown[1], "left": max(0, left)}

    if number % 2 == 0:
        alone()
        return beside()
    values = beside()
    alone()
    return values


main()
