"""Stands in for vLLM's server: answers /health and /metrics, and has a child process.

FAKE_VLLM says how it fails: `dies` at start, `hangs` without an answer, `deaf` to SIGTERM.
"""

import http.server
import os
import signal
import subprocess
import sys
import time

METRICS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0"} 2.0
vllm:num_requests_running{engine="1"} 1.0
vllm:num_requests_waiting{engine="0"} 5.0
"""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(METRICS.encode() if self.path == "/metrics" else b"")


def on_signal(number, frame):
    print(f"got {signal.Signals(number).name}", flush=True)
    if behaviour != "deaf":
        os._exit(0)


behaviour = os.environ.get("FAKE_VLLM", "")
arguments = sys.argv[1:]
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, on_signal)
print("arguments", " ".join(arguments), flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(f"child {child.pid}", f"server {os.getpid()}", sep="\n", flush=True)
if behaviour == "dies":
    print("\n".join(f"line {i}" for i in range(30)), "\nValueError: no such flag", flush=True)
    os._exit(3)
if behaviour == "hangs":
    time.sleep(600)
address = (arguments[arguments.index("--host") + 1], int(arguments[arguments.index("--port") + 1]))
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
