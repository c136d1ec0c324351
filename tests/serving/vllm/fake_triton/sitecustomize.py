"""Give Triton a backend for CPUs, so that vLLM's newer runner starts; for tests only.

Its kernels then run in Triton's interpreter: the environment has to set TRITON_INTERPRET=1.
"""

import os

if os.environ.get("TRITON_INTERPRET") == "1":
    from triton import backends

    class _Driver:
        @staticmethod
        def is_active() -> bool:
            return False

    class _Backend:
        compiler = None
        driver = _Driver

    backends.backends["cpu"] = _Backend
