"""Prints a YAML file that the project ships, written from the fields of the settings.

python -m utils.config config.yaml > config.yaml
python -m utils.config mtclar_sl_config.yaml > mtclar_sl_config.yaml
"""

import argparse

from utils.config.mtclar import MtclarTrainingSettings
from utils.config.sections import SupportSettings
from utils.config.supervised import SLTrainingSettings
from utils.config.yaml_files import commented_yaml

HEADER = """\
# Settings of {scripts} with their defaults, which are those of the demo.
# Every setting can also be given on the command line: {example}
# This file is generated: python -m utils.config {file}

"""


class SharedSettings(MtclarTrainingSettings):
    """The settings in config.yaml: those of mtclar.py, and the section of fsl_mtclar.py."""

    support_set: SupportSettings = SupportSettings()


def shipped_file(file: str) -> str:
    """Return the content of config.yaml or mtclar_sl_config.yaml."""
    kind: type[MtclarTrainingSettings | SLTrainingSettings] = SharedSettings
    scripts, example = "mtclar.py and fsl_mtclar.py", "python mtclar.py --train.epochs 5"
    if file == "mtclar_sl_config.yaml":
        kind, scripts, example = SLTrainingSettings, "mtclar_sl.py", "python mtclar_sl.py --task expression"
    return HEADER.format(scripts=scripts, example=example, file=file) + commented_yaml(kind) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        "python -m utils.config", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", choices=("config.yaml", "mtclar_sl_config.yaml"), default="config.yaml")
    print(shipped_file(parser.parse_args().file), end="")
