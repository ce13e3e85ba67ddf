"""Runs the paper's protocol: five folds of people, every way to choose labelled frames, every rule and baseline.

    python benchmarks/paper.py                                          the rendered demo set
    python benchmarks/paper.py --dataset afewva --data.root data/AfewVA --emonet data/emonet/emonet_8.pth
    python benchmarks/paper.py --cross affectnet --cross_root data/AffectNet    also the network of another data set
    python benchmarks/paper.py --train.epochs 3 --sl.train.epochs 5     any setting of the scripts

In each fold: trains MT-CLAR (afewva: with --preset paper); labels the test clips by every strategy and budget, with
anchors of the clip, of its person or of other clips; trains MT-CLAR + SL for valence and arousal and for expression.
Checks that no part has seen a tested person. Writes tables (CSV and Markdown) and a figure to <runs>/tables.

Each step keeps its run folder. A killed run goes on by the same command; finished steps are not run again.
Settings of the sections data, demo and runtime go to all scripts, model, pairs and train to mtclar.py, support_set to
fsl_mtclar.py, and sl.… to mtclar_sl.py.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd

from benchmarks.protocol.people import check_people
from benchmarks.protocol.plan import SECTIONS, Protocol, run_protocol
from benchmarks.protocol.results import expression_scores, fold_scores, summarise
from benchmarks.protocol.steps import Options, Runner, commit
from benchmarks.protocol.tables import curve_figure, is_detail, markdown_report, people_table
from utils.base.errors import SettingsError
from utils.base.files import write_atomically, write_text
from utils.runs.script import run_script

DEMO_OPTIONS: Options = {
    "data.root": "data/demo_paper",
    "data.validation_share": "0.25",
    "demo.people": "300",
    "demo.frames": "48",
    "demo.short_frames": "8",
    "demo.seed": "0",
    "train.epochs": "6",
    "train.epoch_size": "1440",
    "pairs.test": "2000",
    "support_set.min_frames": "24",
}
"""The size of the demo. The demo sets of the scripts have other sizes, so this one has a folder of its own."""
BEGIN, END = "\n<!-- tables -->\n", "\n<!-- end of tables -->\n"


def main() -> None:
    arguments, words = parser().parse_known_args()
    options = (DEMO_OPTIONS if arguments.dataset == "demo" else {}) | parse_options(words)
    folder = arguments.runs or Path("runs") / f"paper_{arguments.dataset}"
    frames, root = read_frames(arguments.dataset, options)
    options["data.root"] = str(root)
    protocol = make_protocol(arguments, options, frames)
    data = data_hash(frames)
    runner = Runner(folder, data, protocol.count())
    try:
        folds = run_protocol(protocol, runner)
    except KeyboardInterrupt as error:
        error.advice = "the same command goes on where this one has stopped"  # type: ignore[attr-defined]
        raise
    people = check_people(folds, frames, root)
    print(f"\nwhat each part has seen: no tested person\n\n{people_table(people)}\n")
    provenance = describe(protocol, runner, frames)
    write_tables(folder / "tables", fold_scores(folds), expression_scores(folds), people, provenance, arguments.docs)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--dataset", choices=("demo", "afewva"), default="demo", help="data set to label")
    parser.add_argument("--emonet", type=Path, help="published EmoNet weights: initial weights and zero-shot row")
    parser.add_argument("--cross", choices=("demo", "afewva", "affectnet"), default="", help="another data set")
    parser.add_argument("--cross_root", type=Path, help="its folder (default: as for mtclar.py)")
    parser.add_argument("--folds", type=int, nargs="+", choices=range(5), default=range(5), help="default: all five")
    parser.add_argument(
        "--budgets", type=float, nargs="+", default=(1, 0.05, 0.1, 0.2), help="labels of a clip; below 1: a fraction"
    )
    parser.add_argument("--scopes", nargs="*", choices=("person", "others"), help="default: others; afewva: both")
    parser.add_argument("--score_support", action="store_true", help="score frames with a given label, too")
    parser.add_argument("--runs", type=Path, help="folder of all runs (default: runs/paper_<dataset>)")
    parser.add_argument("--docs", type=Path, help="also write short tables to this Markdown file")
    return parser


def parse_options(words: list[str]) -> Options:
    """The settings among the words of the command line, as name → value.

    Raises:
        SettingsError: a word is not a setting that any step uses.
    """
    options: Options = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, given, value = word.removeprefix("--").partition("=")
            options[name] = value if given else None
        elif name and options[name] is None:
            options[name] = word
        else:
            raise SettingsError(f"command line: {word} is not an option; options begin with --")
    for name in options:
        if not any(name.split(".")[0] in sections for sections in SECTIONS.values()):
            raise SettingsError(f"command line: there is no option --{name}; --help lists the options")
    return options


def read_frames(dataset: str, options: Options) -> tuple[pd.DataFrame, Path]:
    """The frame table of the whole data set, and its folder. The demo set is rendered if it is missing."""
    from utils.compute.data import read_splits
    from utils.config.layers import merge_layers
    from utils.config.mtclar import MtclarTrainingSettings

    layer: dict[str, dict[str, str | bool]] = {"data": {}, "demo": {}}
    for name, value in options.items():
        section, _, key = name.partition(".")
        if section in layer:
            layer[section][key] = True if value is None else value
    settings = merge_layers(MtclarTrainingSettings, [("command line", {"dataset": dataset, **layer})])
    return pd.concat(read_splits(settings), ignore_index=True), settings.data_root


def make_protocol(arguments: argparse.Namespace, options: Options, frames: pd.DataFrame) -> Protocol:
    """The protocol that the command line asks for."""
    demo = arguments.dataset == "demo"
    has_expressions = bool((frames["expression"] >= 0).any())
    if not has_expressions:
        print("no expressions.csv: MT-CLAR + SL is trained for valence and arousal only")
    return Protocol(
        dataset=arguments.dataset,
        cross=arguments.cross,
        cross_root=arguments.cross_root,
        emonet=arguments.emonet,
        paper=not demo,
        folds=arguments.folds,
        budgets=arguments.budgets,
        # Each person of the demo has a single clip.
        scopes=arguments.scopes if arguments.scopes is not None else ("others",) if demo else ("person", "others"),
        tasks=("valence_arousal", "expression") if has_expressions else ("valence_arousal",),
        score_support=arguments.score_support,
        options=options,
    )


def data_hash(frames: pd.DataFrame) -> str:
    """Hash of all labels, people and face boxes of a data set, whatever its folder is called."""
    content = frames.drop(columns="path").sort_values(["clip", "frame"], ignore_index=True)
    return hashlib.sha256(pd.util.hash_pandas_object(content).to_numpy().tobytes()).hexdigest()[:12]


def describe(protocol: Protocol, runner: Runner, frames: pd.DataFrame) -> str:
    """The line of provenance: command-line settings, commits, data."""
    options = " ".join(f"--{name}" + (f" {value}" if value else "") for name, value in protocol.options.items())
    everything = json.dumps([str(part) for part in protocol])
    settings = hashlib.sha256(everything.encode()).hexdigest()[:12]
    scored = "all frames scored" if protocol.score_support else "frames with a given label not scored"
    return (
        f"*{protocol.dataset}, {frames['subject'].nunique()} people, {len(frames)} frames, data {runner.data}; "
        f"{len(protocol.folds)} folds; {scored}; mean ± standard deviation over the folds, valence / arousal; "
        f"settings {settings} ({options or 'defaults'}); runs by commit {', '.join(runner.commits())}, "
        f"tables by {commit()}.*"
    )


def write_tables(
    folder: Path,
    scores: pd.DataFrame,
    expression: pd.DataFrame,
    people: pd.DataFrame,
    provenance: str,
    docs: Path | None,
) -> None:
    """Write all tables and the figure, and print where they are."""
    folder.mkdir(exist_ok=True)
    summary = summarise(scores)
    tables = {"folds.csv": scores, "summary.csv": summary, "expression.csv": expression, "people.csv": people}
    for name, table in tables.items():
        write_text(folder / name, f"{table.to_csv(index=False, float_format='%.6g')}# {provenance.strip('*')}\n")
    write_text(folder / "tables.md", markdown_report(summary, expression, people, provenance))
    figure = curve_figure(summary)
    write_atomically(folder / "curve.png", lambda path: figure.savefig(path, format="png", dpi=120))
    if docs:
        before, _, rest = docs.read_text(encoding="utf-8").partition(BEGIN)
        if END not in rest:
            raise SettingsError(
                f"{docs}: lacks the lines {BEGIN.strip()} and {END.strip()}; add them where the tables are to stand"
            )
        short = markdown_report(summary[~is_detail(summary)], expression, people, provenance)
        write_text(docs, f"{before}{BEGIN}\n{short}{END}{rest.partition(END)[2]}")
    print(f"tables      {folder / 'tables.md'}\n            {folder / 'summary.csv'}")
    print(f"figure      {folder / 'curve.png'}")


if __name__ == "__main__":
    run_script(main)
