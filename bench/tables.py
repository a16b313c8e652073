"""Markdown tables: medians over the rounds, and in brackets the ratio to the bridge.

A ratio is taken within each round, where both met the same machine; the table shows its median.
"""

import os
import platform
import statistics
import time

GIB, MIB = 1 << 30, 1 << 20
OURS = "isthmus-grpc"


def conditions(run):
    """When, on what, and how disturbed."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                  if line.startswith("model name")), "unknown")
    foreign = run.foreign()
    load = lambda averages: " ".join(f"{average:.1f}" for average in averages)
    begun = time.strftime("%Y-%m-%d %H:%M", time.gmtime(run.begin))
    text = (f"{begun} UTC, {os.cpu_count()} × {model}, Linux {platform.release()}; "
            f"{run.options.rounds} rounds of {run.options.seconds:g} s, "
            f"{time.time() - run.begin:.0f} s in all. Load average {load(run.load_before)} before, "
            f"{load(os.getloadavg())} after; others took {foreign[0]:.0%} of the processors in the "
            f"median measurement and {foreign[1]:.0%} in the worst. {stalls(run)}\n\n")
    failed = [f"{record['peer']} {record['cell']}: {record.get('failed') or record['errors']}"
              for record in run.records if record.get("failed") or record.get("errors")]
    if failed:
        text += "Failed requests: " + "; ".join(failed) + ".\n\n"
    for peer in run.candidates:
        missing = f" — **not run**: {peer.missing}" if peer.missing else ""
        text += f"- `{peer.name}`: {peer.about}{missing}\n"
    return text + "\n"


def stalls(run):
    """How often the machine itself was in the way of a latency."""
    if not run.stalls.watched:
        return "Whether the machine stood still meanwhile could not be watched."
    repeated, in_vain = run.repeated()
    if not repeated:
        return "The machine stood still during no measurement of latency."
    return (f"{repeated} measurements of latency were repeated because the machine stood still "
            f"meanwhile, {in_vain} of them in vain.")


def requests(run):
    text = rows(run, "CPU seconds of all processes of a peer per 100 000 small GETs",
                [("c=1", "c=1"), ("c=16", "c=16"), ("c=64", "c=64"), ("c=256", "c=256"),
                 ("new", "new connection each")], cpu_per_100k, skip="direct")
    text += rows(run, "1000 requests per second",
                 [("c=1", "c=1"), ("c=16", "c=16"), ("c=64", "c=64"), ("c=256", "c=256"),
                  ("new", "new connection each")], lambda r: rate(r) / 1000)
    for key in ("p50", "p99"):
        text += rows(run, f"Latency {key}, ms",
                     [("c=1", "c=1"), ("c=16", "c=16"), ("c=64", "c=64"), ("c=256", "c=256"),
                      ("new", "new connection each")], lambda r: r[key] / 1000)
    return text + steady(run)


def steady(run):
    """Latency at a fixed rate."""
    if not measured(run, "steady"):
        return ""
    text = "### Latency in ms at 2000 requests per second (open loop, 32 connections)\n\n"
    text += "| | p50 | p99 | p99.9 | CPU s per 100 000 |\n" + "|---" * 5 + "|\n"
    for peer in run.running:
        values = [lambda r, key=key: r[key] / 1000 for key in ("p50", "p99", "p999")]
        texts = [entry(run, peer.name, OURS, "steady", value) for value in values]
        texts.append(entry(run, peer.name, OURS, "steady", cpu_per_100k) if peer.processes else "–")
        text += f"| `{peer.name}` | {' | '.join(texts)} |\n"
    return text + "\n"


def bulk(run, ours=OURS):
    text = rows(run, "CPU seconds per GiB", [("download", "download"), ("upload", "upload")],
                lambda r: r["cpu"] / r["bytes"] * GIB if r["bytes"] else None, ours, "direct")
    return text + rows(run, "MiB per second", [("download", "download"), ("upload", "upload")],
                       lambda r: r["bytes"] / r["seconds"] / MIB, ours)


def wan(run, megabit):
    text = rows(run, f"Mbit/s of one request, of {megabit}", [("download", "whole download")],
                lambda r: r["bytes"] * 8e-6 / r["seconds"])
    return text + rows(run, "The same after the first 4 seconds", [("download", "download")],
                       lambda r: r["late"] * 8e-6)


def stalled(run, kinds):
    """What callers that stall do to the others, and what they take."""
    text = ("### 2000 small requests per second beside 32 callers that stall\n\n"
            "| | stalled | p99 without, ms | p99 with, ms | with / without "
            "| MiB added to send | to receive | descriptors left |\n" + "|---" * 8 + "|\n")
    for peer in run.running:
        for kind in kinds:
            alone, beside = (of(run, peer.name, f"{word} {kind}") for word in ("without", "with"))
            p99 = lambda records: number(middle(r["p99"] / 1000 for r in records.values()))
            ratio = middle(beside[n]["p99"] / alone[n]["p99"] for n in beside
                           if n in alone and alone[n]["p99"])
            found = of(run, peer.name, kind).values()
            most = [number(max((r[key] for r in found), default=None))
                    for key in ("send", "receive", "left")]
            texts = [kind, p99(alone), p99(beside), number(ratio), *most]
            text += f"| `{peer.name}` | {' | '.join(texts)} |\n"
    return text + "\n"


def memory(run):
    """Memory of all processes, and fairness beside bulk."""
    if not measured(run, "memory") and not measured(run, "beside"):
        return ""
    text = "### Memory, MiB resident; small GETs at c=16 beside one download at full speed\n\n"
    text += ("| | at start | 1000 idle connections | added by 32 stalled readers "
             "| rate kept | p99 beside, ms | download meanwhile, MiB/s |\n" + "|---" * 7 + "|\n")
    for peer in run.running:
        found = of(run, peer.name, "memory").get(0, {})
        alone, beside = of(run, peer.name, "c=16"), of(run, peer.name, "beside")
        kept = [rate(beside[n]) / rate(alone[n]) for n in beside
                if n in alone and alone[n]["requests"]]
        texts = [number(found.get(key)) for key in ("base", "idle", "stalled")]
        texts.append(f"{statistics.median(kept):.0%}" if kept else "–")
        texts.append(number(middle(r["p99"] / 1000 for r in beside.values())))
        texts.append(number(middle(r["bulk"] / MIB for r in beside.values())))
        text += f"| `{peer.name}` | {' | '.join(texts)} |\n"
    return text + "\n"


def scale(run, subjects, new_mappings):
    """A table for each thing that grows, with ratios to its first step."""
    text = ""
    for title, steps, option in subjects:
        names = [f"{option}-{step}" for step in steps]
        lines = [("CPU s of both ends per 100 000 small GETs at c=64", "small", cpu_per_100k),
                 ("MiB resident of both ends, before the load", "memory", lambda r: r["mib"])]
        text += steps_table(run, title, steps, lambda n, cell: (names[n], cell), lines)
    few, many = (of(run, f"idle-{step}", "memory").get(0) for step in subjects[-1][1])
    if few and many:
        count = subjects[-1][1][1] - subjects[-1][1][0]
        text += f"KiB per idle connection: {number((many['mib'] - few['mib']) * 1024 / count)}.\n\n"
    lines = [(name, key, lambda r, key=key: r[key] * 1000) for key, name in (
        ("answered", "ms from the rename of the config until a request to the last is answered"),
        ("listening", "ms until send listens on all"),
        ("opening", "of these, ms after send had read the config"))]
    return text + steps_table(run, "New mappings", new_mappings, lambda n, key: (
        "new-config", f"new-{new_mappings[n]}"), lines, ratios=False)


def steps_table(run, title, steps, place, lines, ratios=True):
    """Columns are the steps; `place` tells the peer and the cell of a step's number."""
    heads = [f"{step:_}".replace("_", " ") if step >= 10_000 else str(step) for step in steps]
    text = f"### {title}\n\n| | {' | '.join(heads)} |\n" + "|---" * (len(steps) + 1) + "|\n"
    for name, cell, value in lines:
        found = [of(run, *place(n, cell)) for n in range(len(steps))]
        values = [{n: value(record) for n, record in records.items()} for records in found]
        texts = [number(middle(records.values())) for records in values]
        for n in range(1, len(steps)) if ratios else ():
            ratio = middle(values[n][r] / values[0][r] for r in values[n] if values[0].get(r))
            texts[n] += f" ({number(ratio)}×)" if ratio else ""
        text += f"| {name} | {' | '.join(texts)} |\n"
    return text + "\n"


def rows(run, title, columns, value, ours=OURS, skip=None):
    """A table with a row for each peer, and a column for each (cell, title) that was measured."""
    columns = [(cell, name) for cell, name in columns if measured(run, cell)]
    if not columns:
        return ""
    text = f"### {title}\n\n| | {' | '.join(name for _, name in columns)} |\n"
    text += "|---" * (len(columns) + 1) + "|\n"
    for peer in run.running:
        if peer.name != skip:
            texts = [entry(run, peer.name, ours, cell, value) for cell, _ in columns]
            text += f"| `{peer.name}` | {' | '.join(texts)} |\n"
    return text + "\n"


def entry(run, peer, ours, cell, value):
    theirs, own = of(run, peer, cell), of(run, ours, cell)
    values = {n: value(record) for n, record in theirs.items()}
    text = number(middle(values.values()))
    pairs = [(values[n], value(own[n])) for n in values if n in own]
    ratios = [a / b for a, b in pairs if a is not None and b]
    if ratios and peer != ours:
        text += f" ({number(statistics.median(ratios))}×)"
    return text


def of(run, peer, cell):
    """The records by round, without failures."""
    return {record["round"]: record for record in run.records
            if record["peer"] == peer and record["cell"] == cell and "failed" not in record}


def measured(run, cell):
    return any(record["cell"] == cell for record in run.records)


def rate(record):
    return record["requests"] / record["us"] * 1e6


def cpu_per_100k(record):
    return record["cpu"] / record["requests"] * 1e5 if record["requests"] else None


def middle(values):
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def number(value):
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
