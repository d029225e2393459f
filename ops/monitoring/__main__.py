"""``python -m ops.monitoring``: write the dashboard and the rules beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ops.monitoring.alerts import rules
from ops.monitoring.dashboard import dashboard
from ops.monitoring.promql import metrics

HERE = Path(__file__).parent


def files() -> Mapping[str, str]:
    """What belongs into each file."""
    of = metrics()
    return {"grafana-dashboard.json": json.dumps(dashboard(of), indent=1) + "\n", "prometheus-rules.yaml": rules(of)}


def main() -> None:
    """Write them."""
    for name, text in files().items():
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
