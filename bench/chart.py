"""A bar chart of the firmest figures, as SVG."""

from tables import cpu_per_100k, middle, number, of, OURS

WIDTH, LABEL, ROW, TITLE = 720, 130, 20, 34
PANELS = [
    ("CPU seconds per 100 000 small GETs, 64 kept connections", "c=64", cpu_per_100k),
    ("CPU seconds per 100 000 small GETs, a new connection each", "new", cpu_per_100k),
    ("CPU seconds per GiB downloaded", "download",
     lambda record: record["cpu"] / record["bytes"] * (1 << 30) if record["bytes"] else None),
]
# Readable on a light and on a dark page.
STYLE = ("text{font:12px sans-serif;fill:#777}.title{font-weight:bold}"
         "rect{fill:#8a9bb0}.ours{fill:#d9730d}")


def chart(run):
    """Each panel has its own scale; shorter is better."""
    y, parts = 0, []
    peers = [peer.name for peer in run.running if peer.processes]
    for title, cell, value in PANELS:
        values = {peer: middle(value(record) for record in of(run, peer, cell).values())
                  for peer in peers}
        shown = sorted((value, peer) for peer, value in values.items() if value is not None)
        if not shown:
            continue
        parts.append(f'<text class="title" x="0" y="{y + 20}">{title}</text>')
        y += TITLE
        for value, peer in shown:
            length = value / shown[-1][0] * (WIDTH - LABEL - 50)
            ours = ' class="ours"' if peer == OURS else ""
            parts += [f'<text x="0" y="{y + 13}">{peer}</text>',
                      f'<rect{ours} x="{LABEL}" y="{y + 2}" width="{length:.1f}" height="14"/>',
                      f'<text x="{LABEL + length + 6:.1f}" y="{y + 13}">{number(value)}</text>']
            y += ROW
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 6}">'
            f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n")
