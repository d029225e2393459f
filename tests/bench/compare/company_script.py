"""Make a company with workspaces through the ``hyrelog`` command of the environment that runs this; print it as JSON.

It runs in another build's environment: it may use nothing of this tree, and of the other only its command line.
``python -c SCRIPT REGION WORKSPACES``.
"""

import contextlib
import io
import json
import sys
from importlib.metadata import entry_points
from typing import Any


def call(*arguments: str) -> Any:
    """What the command prints on stdout, parsed."""
    (command,) = entry_points(group="console_scripts", name="hyrelog")
    printed = io.StringIO()
    sys.argv = ["hyrelog", *arguments]
    with contextlib.redirect_stdout(printed):
        try:
            command.load()()
        except SystemExit as ended:
            if ended.code:
                raise RuntimeError(f"hyrelog {' '.join(arguments)} ended with {ended.code}") from None
    return json.loads(printed.getvalue())


def make_company(region: str, workspaces: int) -> dict[str, Any]:
    """A company without rate limits."""
    company = call("company", "create", "Bench", "--region", region, "--plan", "ENTERPRISE", "--json")
    call("company", "override", company["id"], "requestsPerMinute=null", "eventsPerMinute=null")
    made = []
    for number in range(1, workspaces + 1):
        workspace = call("workspace", "create", company["id"], f"Workspace {number}", "--json")
        project = call("project", "create", workspace["id"], "Main", "--json")
        made.append({"id": workspace["id"], "key": workspace["firstKey"]["key"], "project": project["id"]})
    return {"id": company["id"], "key": company["firstKey"]["key"], "workspaces": made}


if __name__ == "__main__":
    print(json.dumps(make_company(sys.argv[1], int(sys.argv[2]))))
