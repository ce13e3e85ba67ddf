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
    """Return OpenVINO's core, which reads and compiles networks. There is one per process, and it is never released.

    On Linux, each core that compiles a network replaces the stack on which signals are handled, and restores the former
    one when it is released. If the former one belonged to a core that was released before, the next signal, such as
    that of Ctrl-C, would end the process with a segmentation fault.

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

    # Not nncf.set_log_level, which sets the level of all handlers of its logger, also of those that others have added.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
