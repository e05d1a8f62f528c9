"""Runs the tests again and again, each round with a fresh seed: ``make soak ROUNDS=10``.

``python -m tests.soak [--rounds N] [--seed FIRST] [arguments of pytest]``.  Every round prints its
seed.  A failure does not end the soak: what failed is listed at the end, each with the command
that replays it, and the exit status is 1.
"""

import argparse
import secrets
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
LARGEST_SEED = 2**31 - 1
# pytest's exit status where tests ran and some failed; others mean that it could not run them.
TESTS_FAILED = 1


def run_round(seed: int, arguments: list[str]) -> list[str]:
    """Run pytest once, its output passed on; the names of the tests that failed.

    Raises:
        SystemExit: pytest could not run the tests at all.
    """
    command = [sys.executable, "-m", "pytest", "--seed", str(seed), *arguments]
    failed = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            word, _, rest = line.partition(" ")
            if word in ("FAILED", "ERROR") and "::" in rest:
                failed.append(rest.split(" - ")[0].strip())
    if process.returncode not in (0, TESTS_FAILED) or (process.returncode and not failed):
        sys.exit(f"soak: pytest ended with status {process.returncode} at seed {seed}")
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Run the rounds and print what failed; 0 if nothing did."""
    parser = argparse.ArgumentParser(prog="tests.soak", description="Tests with fresh seeds.")
    parser.add_argument("--rounds", type=int, default=10, help="number of rounds (default: 10)")
    parser.add_argument("--seed", type=int, help="seed of the first round; the next ones count on")
    options, rest = parser.parse_known_args(arguments)
    replays = []
    start = time.monotonic()
    for number in range(options.rounds):
        fresh = secrets.randbelow(LARGEST_SEED)
        seed = fresh if options.seed is None else options.seed + number
        print(f"soak: round {number + 1} of {options.rounds}, seed {seed}", flush=True)
        failed = run_round(seed, rest)
        replays += [f"pytest '{name}' --seed {seed}" for name in failed]
    minutes = (time.monotonic() - start) / 60
    print(f"soak: {options.rounds} rounds in {minutes:.0f} minutes, {len(replays)} failures")
    for replay in replays:
        print(f"  {replay}")
    return 1 if replays else 0


if __name__ == "__main__":
    sys.exit(main())
