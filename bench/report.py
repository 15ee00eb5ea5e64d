"""Turns measurements into tables and pictures.

    python bench/report.py bench/results                     # writes bench/results/README.md, *.svg
    python bench/report.py bench/results --readme README.md  # and the summary in the README
    python bench/report.py result.json                       # pytest bench --benchmark-json=...

Reads what ``run.py --save`` wrote, one file a family, or a file of pytest-benchmark.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import PEERS
from targets import TARGETS

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else float("nan")


def load_results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def load_pytest_benchmark(path: Path) -> list[dict[str, Any]]:
    """The same structure from a pytest-benchmark file; no machine limits in it."""
    record = json.loads(path.read_text())
    groups: dict[str, dict[str, float]] = {}
    for b in record["benchmarks"]:
        medians = groups.setdefault(b["group"], {})
        medians[b["extra_info"]["library"]] = b["stats"]["median"]
    rows = []
    for name, medians in groups.items():
        own = medians.get("fastnn")
        peers = {n: t for n, t in medians.items() if n in PEERS}
        if own is None:
            continue
        fastest = min(peers, key=lambda n: peers[n]) if peers else None
        rows.append(
            {
                "case": name,
                "threads": 0,
                "median_us": {n: round(t * 1e6, 3) for n, t in medians.items()},
                "ratios": {n: t / own for n, t in medians.items() if n != "fastnn"},
                "fastest_peer": fastest,
                "ratio": peers[fastest] / own if fastest else None,
                "rate": None,
                "unit": "",
                "share": None,
                "errors": {},
            }
        )
    machine = record["machine_info"]["cpu"]["brand_raw"]
    run = {"threads": 0, "machine": {}, "rows": rows}
    return [
        {
            "family": path.stem,
            "commit": record["commit_info"]["id"][:9],
            "date": record["datetime"][:10],
            "processor": machine,
            "command": f"pytest bench --benchmark-json={path.name}",
            "runs": [run],
        }
    ]


def number(value: float | None, pattern: str) -> str:
    return "-" if value is None or value != value else format(value, pattern)


def table(run: dict[str, Any]) -> list[str]:
    """Markdown rows of one run: time, rate, share of the limit, ratio to every peer."""
    names = [n for n in ("numpy", *PEERS) if any(n in r["ratios"] for r in run["rows"])]
    lines = [
        "| case | fastnn | rate | of the limit | fastest peer | ratio | "
        + " | ".join(f"/ {n}" for n in names)
        + " |",
        "|" + "---|" * (6 + len(names)),
    ]
    for r in run["rows"]:
        cells = [
            r["case"],
            number(r["median_us"].get("fastnn"), ".1f") + " us",
            f"{number(r['rate'], '.1f')} {r['unit']}",
            number(r["share"], ".0%"),
            r["fastest_peer"] or "-",
            f"**{number(r['ratio'], '.2f')}**",
            *(number(r["ratios"].get(n), ".2f") for n in names),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def reached(value: float | None, target: float | None, pattern: str) -> str:
    """A figure with its target behind it, in bold where it falls short."""
    text = number(value, pattern)
    if target is None or value is None or value != value:
        return text
    text = f"{text} (of {target:{pattern}})"
    return text if value >= target else f"**{text}**"


def bars(family: str, run: dict[str, Any]) -> list[str]:
    """Markdown rows: what each row of the targets reaches."""
    lines = [
        "| row | cases | against the fastest peer | each at least | without ncnn | "
        "against PyTorch | share of the limit at least |",
        "|" + "---|" * 7,
    ]
    notes = []
    for name, target in TARGETS.get(family, {}).items():
        rows = [r for r in run["rows"] if r.get("bar") == name and r["ratio"]]
        if not rows:
            continue
        torch = [r["ratios"]["torch"] for r in rows if "torch" in r["ratios"]]
        others = [[v for n, v in r["ratios"].items() if n not in ("numpy", "ncnn")] for r in rows]
        share = target.share and target.share[run["threads"] > 1]
        cells = [
            name,
            str(len(rows)),
            reached(geometric_mean(r["ratio"] for r in rows), target.mean, ".2f"),
            reached(min(r["ratio"] for r in rows), target.each, ".2f"),
            reached(geometric_mean(min(o) for o in others if o), target.without_ncnn, ".2f"),
            reached(geometric_mean(torch), target.torch, ".2f"),
            reached(min(r["share"] for r in rows), share, ".0%"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if target.note and any("**" in cell for cell in cells):
            notes.append(f"- {name}: {target.note}")
    if notes:
        lines += ["", "Where a row falls short, and why:", "", *notes]
    return lines if len(lines) > 2 else []


def details(records: list[dict[str, Any]]) -> str:
    lines = [
        "# Measurements",
        "",
        "Medians of samples taken in turns, each library in its own process. A ratio is the peer's",
        "time divided by fastnn's: above 1, fastnn is faster. The limit is the measured peak of",
        "fused multiply-adds, or the measured copy bandwidth where a case is bound by memory; a",
        "share above 100% means data in cache, or an algorithm with fewer operations. Figures that",
        "fall short of their target, which stands beside them, are in bold.",
    ]
    for record in records:
        lines += ["", f"## {record['family']}", ""]
        lines.append(
            f"{record['processor']}, {record['date']}, commit {record['commit']}, "
            f"`{record['command']}`"
        )
        for run in record["runs"]:
            limits = ", ".join(f"{k} {v:.0f}" for k, v in run["machine"].items())
            lines += ["", f"Threads: {run['threads']}; {limits}"]
            if run.get("libraries"):
                versions = ", ".join(f"{n} {v}" for n, v in run["libraries"].items())
                lines += ["", f"Versions: {versions}"]
            if targets := bars(record["family"], run):
                lines += ["", *targets]
            lines += ["", *table(run)]
            mean = geometric_mean(r["ratio"] for r in run["rows"] if r["ratio"])
            lines += ["", f"Geometric mean against the fastest peer: {number(mean, '.2f')}"]
    return "\n".join(lines) + "\n"


def summary(records: list[dict[str, Any]]) -> list[str]:
    """One row a family and number of threads, for the README."""
    lines = [
        "| family | threads | cases | against the fastest peer | worst case | against PyTorch |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        for run in record["runs"]:
            rows = [r for r in run["rows"] if r["ratio"]]
            if not rows:
                continue
            torch = geometric_mean(r["ratios"]["torch"] for r in rows if "torch" in r["ratios"])
            worst = min(rows, key=lambda r: r["ratio"])
            lines.append(
                f"| {record['family']} | {run['threads']} | {len(rows)} | "
                f"{geometric_mean(r['ratio'] for r in rows):.2f} x | "
                f"{worst['ratio']:.2f} x ({worst['case']}) | {number(torch, '.2f')} x |"
            )
    return lines


def picture(records: list[dict[str, Any]], path: Path) -> None:
    """Bars of fastnn against the fastest peer, and a roofline where the limits are known."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "fastnn"
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    threads = sorted({run["threads"] for r in records for run in r["runs"]})
    families = [r["family"] for r in records]
    height = 0.8 / len(threads)
    for t, count in enumerate(threads):
        means = [
            geometric_mean(
                row["ratio"]
                for run in r["runs"]
                if run["threads"] == count
                for row in run["rows"]
                if row["ratio"]
            )
            for r in records
        ]
        at = [i + t * height for i in range(len(families))]
        left.barh(at, [m - 1 for m in means], height * 0.9, left=1, label=f"{count} thread(s)")
    left.set_yticks([i + 0.4 - height / 2 for i in range(len(families))], families)
    left.invert_yaxis()
    left.axvline(1, color="black", linewidth=1)
    left.set_xscale("log")
    left.set_xlabel("speed of fastnn / fastest peer (geometric mean)")
    left.legend()
    for r in records:
        for run in r["runs"]:
            if run["threads"] != threads[0] or not run["machine"]:
                continue
            points = [
                (row["intensity"], row["gflops"])
                for row in run["rows"]
                if row.get("gflops") and row.get("intensity")
            ]
            if points:
                right.scatter(*zip(*points), s=14, label=r["family"])
            machine = run["machine"]
    if any(run["machine"] for r in records for run in r["runs"]):
        xs = [2.0**i for i in range(-4, 11)]
        roof = [min(machine["fma_gflops"], x * machine["copy_gbs"]) for x in xs]
        right.plot(xs, roof, color="black", linewidth=1)
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_xlabel("FLOP per byte that must move")
        right.set_ylabel(f"GFLOP/s, {threads[0]} thread(s)")
        right.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def update_readme(readme: Path, records: list[dict[str, Any]], image: str) -> None:
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    first = records[0]
    commits = ", ".join(sorted({r["commit"] for r in records}))
    body = [
        "Speed of fastnn divided by that of the fastest installed peer on the same case (geometric",
        f"mean; above 1, fastnn is faster), measured on {first['processor']} on {first['date']} at",
        f"commit {commits} with `bench/run.py`; the commands stand above the tables in",
        "[bench/results](bench/results/README.md), with every case. Below 1 there is work left.",
        "",
        *summary(records),
        "",
        f"![Speed against the fastest peer, and the roofline]({image})",
    ]
    readme.write_text(before + BEGIN + "\n" + "\n".join(body) + "\n" + END + after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of results, or a pytest-benchmark file")
    parser.add_argument("--readme", type=Path, help="file whose summary is replaced")
    arguments = parser.parse_args()
    if arguments.source.is_dir():
        records, folder = load_results(arguments.source), arguments.source
    else:
        records, folder = load_pytest_benchmark(arguments.source), arguments.source.parent
    if not records:
        raise SystemExit(f"no results in {arguments.source}")
    text = details(records)
    (folder / "README.md").write_text(text)
    picture(records, folder / "speed.svg")
    if arguments.readme:
        update_readme(arguments.readme, records, f"{folder}/speed.svg")
    print("\n".join(summary(records)))


if __name__ == "__main__":
    main()
