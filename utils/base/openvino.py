"""Importing OpenVINO, Intel's inference engine, which is optional."""

import sys
from typing import Any


def import_openvino() -> Any:
    """Import OpenVINO without its companion package, which reports every use to the vendor.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes the import fail
    import openvino

    return openvino
