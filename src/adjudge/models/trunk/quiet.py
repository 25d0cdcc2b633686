"""Transformers without its messages and bars, and without anything sent to the hub but requests for files."""

from __future__ import annotations

import os


def quiet_transformers() -> None:
    """Keep load reports and bars off the screen; real problems come as errors.

    Bars would fill a log with a line for every file and shard, and stand across our own. For a hub id without
    safetensors Transformers would ask a service to convert it, in the user's name; that is switched off too.
    """
    from transformers.utils import logging

    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    logging.set_verbosity_error()
    logging.disable_progress_bar()
