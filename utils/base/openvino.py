"""Importing OpenVINO, Intel's inference engine, and NNCF, which quantises networks for it. Both are optional."""

import functools
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


@functools.cache
def openvino_core() -> Any:
    """Return OpenVINO's core, which reads and compiles networks: the project's only one, never released.

    On Linux, a core replaces the thread's signal stack when it first compiles a network, and restores the former stack
    when the core and its networks are released. If the former stack belonged to a core that was released before, the
    next signal, such as that of Ctrl-C, ends the process with a segmentation fault. NNCF uses cores of its own, and
    releases them before it returns.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    return import_openvino().Core()


def import_nncf() -> Any:
    """Import NNCF, which would report its use through the same companion package, and silence all but its errors.

    Raises:
        ImportError: NNCF or OpenVINO is not installed.
    """
    import_openvino()
    import nncf

    # nncf.set_log_level would also change the level of handlers that other code has added to this logger.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
