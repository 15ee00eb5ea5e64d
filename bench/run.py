"""Measures families against the peers that are installed and prints ratio tables.

    python bench/run.py                     # every family, every case, 1 and 2 threads
    python bench/run.py gemm conv --threads 1
    python bench/run.py --quick             # the short table, under a minute
    python bench/run.py gemm --save bench/results

Peers are looked for in this interpreter, or in the one that --peer-python names.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import statistics
from pathlib import Path
from typing import Any

from harness import HERE, LIBRARIES, Bench, Case, Timing, commit, processor, save


def families() -> list[str]:
    return sorted(path.stem[len("bench_") :] for path in HERE.glob("bench_*.py"))


def row(case: Case, timings: list[Timing], machine: dict[str, float], threads: int) -> dict:
    """One case as plain data: seconds a library, rate, share of the machine's limit."""
    good = {t.library: t for t in timings if t.samples}
    own = good["fastnn"].median if "fastnn" in good else float("nan")
    peers = {n: t.median for n, t in good.items() if n not in ("fastnn", "numpy")}
    fastest = min(peers, key=lambda name: peers[name]) if peers else None
    bandwidth = machine["read_gbs" if case.reads else "copy_gbs"]
    # A case that touches memory more than the machine could compute meanwhile is memory-bound.
    memory_bound = case.bytes / bandwidth > case.flops / machine[case.peak]
    rate = (case.bytes if memory_bound else case.flops) / own / 1e9
    return {
        "case": case.name,
        "bar": case.bar,
        "threads": threads,
        "median_us": {n: round(t.median * 1e6, 3) for n, t in good.items()},
        "min_us": {n: round(t.minimum * 1e6, 3) for n, t in good.items()},
        "cores": {n: round(statistics.median(t.cores), 2) for n, t in good.items()},
        "errors": {t.library: t.error for t in timings if t.error},
        "rate": round(rate, 2),
        "unit": "GB/s" if memory_bound else "GFLOP/s",
        "share": round(rate / (bandwidth if memory_bound else machine[case.peak]), 4),
        "gflops": round(case.flops / own / 1e9, 3),
        "intensity": round(case.flops / case.bytes, 4) if case.bytes else None,
        "fastest_peer": fastest,
        "ratio": round(peers[fastest] / own, 3) if fastest else None,
        "ratios": {n: round(t.median / own, 3) for n, t in good.items() if n != "fastnn"},
    }


def heading() -> str:
    return (
        f"{'case':44s} {'thr':>3s} {'time us':>10s} {'rate':>15s} {'of peak':>8s} "
        f"{'fastest peer':>14s} {'ratio':>6s}   others"
    )


def line(r: dict[str, Any]) -> str:
    own = r["median_us"].get("fastnn", float("nan"))
    others = "  ".join(f"{n} {v:.2f}" for n, v in r["ratios"].items() if n != r["fastest_peer"])
    errors = "  ".join(f"[{n}: {e}]" for n, e in r["errors"].items())
    ratio = f"{r['ratio']:6.2f}" if r["ratio"] is not None else "     -"
    return (
        f"{r['case']:44s} {r['threads']:3d} {own:10.1f} {r['rate']:8.1f} {r['unit']:>6s} "
        f"{100 * r['share']:7.0f}% {r['fastest_peer'] or '-':>14s} {ratio}   {others} {errors}"
    )


def measure(
    names: list[str],
    threads: int,
    libraries: tuple[str, ...],
    peer_python: str | None,
    quick: bool,
    match: str,
    exclude: str,
    samples: int,
) -> dict[str, Any]:
    """Run the families' cases with one number of threads, printing a line a case."""
    rows = []
    with Bench(threads, libraries, peer_python) as bench:
        machine = bench.machine()
        print(
            f"{processor()}, {threads} thread(s): {machine['fma_gflops']:.0f} GFLOP/s float32, "
            f"copy {machine['copy_gbs']:.0f} GB/s, read {machine['read_gbs']:.0f} GB/s; "
            f"{', '.join(f'{n} {v}' for n, v in bench.versions.items())}",
            flush=True,
        )
        for library, reason in bench.missing.items():
            print(f"without {library}: {reason}")
        print(heading())
        for name in names:
            for case in importlib.import_module(f"bench_{name}").CASES:
                if (quick and not case.quick) or match not in case.name:
                    continue
                if exclude and exclude in case.name:
                    continue
                seconds = 0.004 if quick else 0.02
                timings = bench.measure(f"bench_{name}", case, samples=samples, seconds=seconds)
                rows.append({"family": name, **row(case, timings, machine, threads)})
                print(line(rows[-1]), flush=True)
        return {
            "threads": threads,
            "machine": machine,
            "libraries": bench.versions,
            "missing": bench.missing,
            "rows": rows,
        }


def command(arguments: argparse.Namespace) -> str:
    """What was run, less the paths of one machine."""
    words = ["python bench/run.py", *arguments.families]
    words += ["--quick"] if arguments.quick else []
    words += [f"--match '{arguments.match}'"] if arguments.match else []
    words += [f"--exclude '{arguments.exclude}'"] if arguments.exclude else []
    words += [
        f"--threads {' '.join(map(str, arguments.threads))}",
        f"--samples {arguments.samples}",
    ]
    return " ".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", help=f"of {', '.join(families())}")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--peer-python", help="interpreter that has the peers installed")
    parser.add_argument("--quick", action="store_true", help="the short table")
    parser.add_argument("--match", default="", help="only cases whose name contains this")
    parser.add_argument("--exclude", default="", help="no case whose name contains this")
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--save", type=Path, help="folder for <family>.json")
    arguments = parser.parse_args()
    names = arguments.families or families()
    runs = [
        measure(
            names,
            threads,
            tuple(arguments.libraries),
            arguments.peer_python,
            arguments.quick,
            arguments.match,
            arguments.exclude,
            arguments.samples,
        )
        for threads in arguments.threads
    ]
    if arguments.save:
        for name in names:
            if not any(r["family"] == name for run in runs for r in run["rows"]):
                continue
            record = {
                "family": name,
                "commit": commit(),
                "date": datetime.date.today().isoformat(),
                "processor": processor(),
                "command": command(arguments),
                "runs": [
                    {**run, "rows": [r for r in run["rows"] if r["family"] == name]} for run in runs
                ],
            }
            save(arguments.save / f"{name}.json", record)
            print(json.dumps({"saved": str(arguments.save / f"{name}.json")}))


if __name__ == "__main__":
    main()
