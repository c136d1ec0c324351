"""Routers by name: `knn`, `knn(k=40)`, `mlp(layers=(100, 100))`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from motet.search.registry import find_algorithm

if TYPE_CHECKING:
    from motet.routing.router import Router

ROUTERS: Final[dict[str, str]] = {
    "elo": "motet.routing.elo:EloRouter",
    "knn": "motet.routing.knn:KnnRouter",
    "linear": "motet.routing.logistic:LinearRouter",
    "matrix-factorisation": "motet.routing.matrix_factorisation:MatrixFactorisationRouter",
    "mlp": "motet.routing.mlp:MlpRouter",
}
"""Name -> module and class; loaded when asked for."""


def find_router(text: str) -> Router:
    """Return the router that `text` names; its settings are Python literals.

    Raises:
        ConfigError: There is no such router or setting, or a value is wrong.
    """
    return cast("Router", cast(Any, find_algorithm(text, ROUTERS, what="router")))
