"""Python's cycle collector, told what kind of process this is."""

from __future__ import annotations

import gc


def calm_collector() -> None:
    """Let it look at what lives for the process's life never again, and at the rest less often.

    With Python's thresholds it took 9 % of ingest's time and 20 % of the auditor's, all of it to find nothing: requests and
    rows leave few cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
