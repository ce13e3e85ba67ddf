"""Measures the work on an archive of many videos.

    python benchmarks/archive.py --checkpoint runs/mtclar/<run>/best.pt
    python benchmarks/archive.py cost next

- cost: 1,000 simulated videos of 1,500 frames are labelled in one run: seconds per video and memory, early and late.
- next: a simulated archive of 200 videos is labelled at suggested frames (`fsl_mtclar.py --suggest`), of 200 people and
  of ten: seconds from a label to the next suggestion, and memory.
- check: 1,000 simulated archives of each kind are checked by drawn frames (`fsl_mtclar.py --check`). The table has how
  often the upper bound of the RMSE holds, and the ratio of the bound to the real RMSE. A second table compares other
  bounds, and frames that are drawn with equal probabilities.
- people: 50 clips of ten people are labelled from the labels of each clip alone, and from those of all clips of the
  person (`fsl_mtclar.py --people`).
- film: a film of 40 shots, which shows four people, is labelled from 20 labels by `fsl_mtclar.py`.

Without names of sections, all of them run. The last three need a calibrated network that was trained on the demo set,
which is not trained on the people rendered here: run fsl_mtclar.py first.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd

from benchmarks.archive_check import measure_check
from benchmarks.archive_film import measure_film
from benchmarks.archive_people import measure_people
from benchmarks.archive_speed import measure_cost, measure_next

SECTIONS = ("cost", "next", "check", "people", "film")


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    arguments = parse()
    checkpoint, folder, shift = arguments.checkpoint, arguments.folder, arguments.seed
    tables: list[pd.DataFrame] = []
    for section in arguments.sections or SECTIONS:
        if section == "cost":
            tables = [measure_cost(arguments.videos)]
        elif section == "next":
            tables = [measure_next()]
        elif section == "check":
            tables = measure_check(checkpoint, folder, shift, arguments.draws)
        elif section == "people":
            tables = measure_people(checkpoint, folder, shift)
        else:
            tables = [measure_film(checkpoint, folder, shift)]
        for table in tables:
            print(f"{section}\n{table.to_string(index=False, float_format='{:.3f}'.format)}\n", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="section", help="of the above (default: all)")
    parser.add_argument("--checkpoint", type=Path, help="best.pt of a mtclar.py run on the demo set (default: newest)")
    parser.add_argument("--folder", type=Path, default=Path("data/archive"), help="for demo sets, the film and figures")
    parser.add_argument("--seed", type=int, default=0, help="is added to all demo seeds: other people")
    parser.add_argument("--videos", type=int, default=1000, help="cost: number of videos")
    parser.add_argument("--draws", type=int, nargs="+", default=[20, 60, 200], help="check: numbers of frames")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"unknown sections: {', '.join(sorted(unknown))}; choose from {', '.join(SECTIONS)}")
    return arguments


if __name__ == "__main__":
    main()
