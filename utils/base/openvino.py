"""Importing OpenVINO, Intel's inference engine, and NNCF, which quantises networks for it. Both are optional."""

import logging
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


def import_nncf() -> Any:
    """Import NNCF, which would report its use through the same companion package, and silence all but its errors.

    Raises:
        ImportError: NNCF or OpenVINO is not installed.
    """
    import_openvino()
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf
