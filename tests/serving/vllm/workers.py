"""What the workers of pytest-xdist take at a time: tests that share an engine stay together."""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

SERVER = (
    "test_eval_search",
    "test_launch",
    "test_routed_jury",
    "test_rules",
    "test_rules_durability",
    "test_server",
    "test_server_tokens",
)
ENGINE = ("test_inprocess", "test_inprocess_rules", "test_inprocess_scoring")
ALONE = ("test_inprocess_scripts", "test_layer_tap")
"""Files whose tests have nothing in common."""


class ByEngine(LoadScopeScheduling):
    """Starts the server and the engine in the process once, each on one of the workers."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        name = PurePosixPath(path).stem
        if name in SERVER:
            return "server"
        if name in ENGINE:
            return "engine"
        return nodeid if name in ALONE else path
