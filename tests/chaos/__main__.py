"""``python -m tests.chaos``: many executions while parts of the platform are killed and frozen."""

from __future__ import annotations

import argparse

from tests.chaos.run import run, seed_of_environment


def main() -> None:
    """Run chaos with the size and the seed of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=200)
    parser.add_argument("--disruptions", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = seed_of_environment() if options.seed is None else options.seed
    run(executions=options.executions, disruptions=options.disruptions, seed=seed)


if __name__ == "__main__":
    main()
