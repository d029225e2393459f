"""``python -m ops``: the same as ``hyrelog``."""

from ops.cli import main

main()
