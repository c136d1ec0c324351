"""What programs try in the sandbox, and what comes of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from motet.sandbox import Limits, Outcome, run_code

needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)
pytestmark = needs_bubblewrap

_ATTEMPT = """\
import ctypes, errno, fcntl, glob, os, resource, signal, socket, stat, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")

try:
{attempt}
except (OSError, LookupError, ValueError) as exc:
    print("held")
else:
    print("escaped")
"""


def _source(attempt: str) -> str:
    return _ATTEMPT.format(attempt="\n".join(f"    {line}" for line in attempt.splitlines()))


def _run(source: str, limits: Limits | None = None, **settings: Any) -> Outcome:
    return asyncio.run(run_code(source, limits=limits, **settings))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A secret file, sockets that listen, and an environment with a secret."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "secret").write_text("s3cret")
    listeners = {
        "ipv4": socket.create_server(("127.0.0.1", 0)),
        "ipv6": socket.create_server(("::1", 0), family=socket.AF_INET6),
        "unix": socket.socket(socket.AF_UNIX),
        "abstract": socket.socket(socket.AF_UNIX),
        "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    }
    listeners["unix"].bind(str(folder / "unix"))
    listeners["abstract"].bind(f"\0motet-{os.getpid()}")
    listeners["udp"].bind(("127.0.0.1", 0))
    for name in ("unix", "abstract"):
        listeners[name].listen()
    os.environ["MOTET_TEST_SECRET"] = "s3cret"
    try:
        yield {
            "folder": folder,
            "pid": os.getpid(),
            "checkout": Path(__file__).parents[2],
            "prefix": sys.base_prefix,
            "home": Path.home(),
            "ipv4": listeners["ipv4"].getsockname()[1],
            "ipv6": listeners["ipv6"].getsockname()[1],
            "udp": listeners["udp"].getsockname()[1],
        }
    finally:
        del os.environ["MOTET_TEST_SECRET"]
        for listener in listeners.values():
            listener.close()


# Each of these ends well outside of the sandbox, which the test shows first.
_HOST = {
    "the list of users is read": "open('/etc/passwd').read()",
    "a secret file is read": "open('{folder}/secret').read()",
    "a secret file is read by a symbolic link": (
        "os.path.lexists('/tmp/l{pid}') and os.unlink('/tmp/l{pid}')\n"
        "os.symlink('{folder}/secret', '/tmp/l{pid}')\n"
        "try:\n    open('/tmp/l{pid}').read()\nfinally:\n    os.unlink('/tmp/l{pid}')"
    ),
    "a file is written beside the secret": "open('{folder}/new', 'w').write('x')",
    "the home folder is listed": "os.listdir('{home}')",
    "the checkout is listed": "os.listdir('{checkout}/motet')",
    "the checkout is imported": "sys.path[:] = ['{checkout}', *sys.path]\n"
    "assert glob.glob('{checkout}/motet/*.py') or [][0]",
    "the environment's secret is read": "os.environ['MOTET_TEST_SECRET']",
    "the parent's environment is read": "open('/proc/{pid}/environ', 'rb').read()",
    "any process's environment holds the secret": (
        "found = []\nfor path in glob.glob('/proc/[0-9]*/environ'):\n"
        "    try:\n        found += [path] * (b's3cret' in open(path, 'rb').read())\n"
        "    except OSError: pass\nfound[0]"
    ),
    "the parent is signalled": "os.kill({pid}, 0)",
    "the parent's memory is opened": "open('/proc/{pid}/maps').read()[0]",
    "a TCP connection over IPv4": "socket.create_connection(('127.0.0.1', {ipv4}), 2)",
    "a TCP connection over IPv6": "socket.create_connection(('::1', {ipv6}), 2)",
    "a connected datagram, as name servers are asked": (
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.connect(('127.0.0.1', {udp}))\n"
        "s.send(b'x')\ntime.sleep(0.05)\ns.send(b'x')"
    ),
    "a Unix socket of the host": ("s = socket.socket(socket.AF_UNIX)\ns.connect('{folder}/unix')"),
    "an abstract Unix socket of the host": (
        "s = socket.socket(socket.AF_UNIX)\ns.connect(chr(0) + 'motet-{pid}')"
    ),
    "a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "a packet filter's memory file": "os.memfd_create('x')",
    "the session's keyring": "call({keyctl}, 0, -3, 1, 0, 0)",
    "memory shared by key": "check(libc.shmget(0, 4096, 0o1600))",
    "a queue of messages": "check(libc.msgget(0, 0o1600))",
    "being traced": "check(libc.ptrace(0, 0, 0, 0))",
    "another personality": "check(libc.personality(0x0040000))",
    "devices of the kernel": "os.listdir('/sys/class')",
    "the machine's name": "open('/etc/hostname').read()",
    "the mounts' sources": "os.listdir('/proc/{pid}')",
}


@pytest.mark.parametrize("name", _HOST)
def test_what_works_outside_is_held_inside(name: str, host: dict[str, Any]) -> None:
    """Reading, writing, signals and sockets of the host end in an error, as if nothing was there."""
    values = {**host, "keyctl": 250 if os.uname().machine == "x86_64" else 219}
    source = _source(_HOST[name].format(**values))
    outside = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=30, check=False
    )
    assert outside.stdout == "escaped\n", outside.stderr

    outcome = _run(source)

    assert (outcome.stdout, outcome.stderr) == (b"held\n", b"")


_HERE = {
    "shadow passwords": "open('/etc/shadow').read()",
    "a virtual machine's socket to its host": "socket.socket(40, socket.SOCK_STREAM)",
    "a raw socket": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "a packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)",
    "kernel cryptography": "socket.socket(38, socket.SOCK_SEQPACKET, 0)",
    "another network": "socket.create_connection(('1.1.1.1', 53), 2)",
    "a name server": "socket.getaddrinfo('example.com', 80)",
    "the interpreter is written to": "open(os.__file__, 'a')",
    "the interpreter's program is written to": "open(os.path.realpath(sys.executable), 'ab')",
    "a module beside the interpreter's": "open(os.path.dirname(os.__file__) + '/new.py', 'w')",
    "an installed package": "open(os.path.dirname(os.__file__) + '/site-packages/a.py', 'w')",
    "the system is written to": "open('/usr/bin/new', 'w')",
    "the root folder is written to": "open('/new', 'w')",
    "a folder of users is made": "os.mkdir('/home')",
    "a device is made": "os.mknod('/tmp/disk', 0o600 | stat.S_IFBLK, os.makedev(254, 0))",
    "a disk is opened": "open([*glob.glob('/dev/[svh]d*'), *glob.glob('/dev/nvme*')][0])",
    "memory is opened": "open('/dev/mem', 'rb')",
    "the terminal is opened": "open('/dev/tty')",
    "characters are put into a terminal": (
        "try:\n    fcntl.ioctl(0, 0x5412, b'x')\n"
        "except OSError as exc:\n    assert exc.errno == errno.EPERM, exc\n    raise"
    ),
    "a file system is mounted": "check(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))",
    "the system is remounted": "check(libc.mount(None, b'/usr/bin', None, 0x1020, None))",
    "a mount is taken away": "check(libc.umount2(b'/box', 2))",
    "another root": "os.chroot('/tmp')",
    "another user": "os.setuid(0)",
    "another group": "os.setgroups([0])",
    "a user namespace": "check(libc.unshare(0x10000000))",
    "a child in a user namespace": "call(56 if os.uname().machine == 'x86_64' else 220,"
    " 0x10000000 | 17, 0, 0, 0, 0)",
    "the namespace of the first process": "check(libc.setns(os.open('/proc/1/ns/mnt', 0), 0))",
    "the host's name": "check(libc.sethostname(b'x', 1))",
    "the clock": "time.clock_settime(time.CLOCK_REALTIME, 0)",
    "the kernel's log": "check(libc.klogctl(3, ctypes.create_string_buffer(99), 99))",
    "the kernel's settings": "open('/proc/sys/kernel/core_pattern', 'w').write('|/box/x')",
    "the request to reboot": "open('/proc/sysrq-trigger', 'w').write('b')",
    "reboot": "check(libc.reboot(0x89ABCDEF))",
    "programs of the kernel": "call(321 if os.uname().machine == 'x86_64' else 280, 0, 0, 0)",
    "counters of the kernel": "call(298 if os.uname().machine == 'x86_64' else 241, 0, 0, -1, -1)",
    "faults of memory": "call(323 if os.uname().machine == 'x86_64' else 282, 0)",
    "rings of requests": "call(425, 1, ctypes.create_string_buffer(120))",
    "another process's memory": "call(310 if os.uname().machine == 'x86_64' else 270,"
    " 1, 0, 0, 0, 0, 0)",
    "another process's files": "call(438, os.pidfd_open(1), 1, 0)",
    "more memory": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "more processes": "resource.setrlimit(resource.RLIMIT_NPROC, (9999, 9999))",
    "more files": "resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))",
    "a higher priority": "os.nice(-5)",
    "time before all others": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(9))",
    "a file with holes": "os.truncate(os.open('/tmp/x', 66, 0o600), 10**12)",
    "a link to the system's files": "os.link('/usr/bin/env', '/box/env')",
    "the way out through the first process": "os.listdir('/proc/1/root/home')",
    "up and out": "os.chdir('/box')\nos.listdir('../../../../root')",
    "a huge command": "os.execv('/bin/true', ['x' * 3_000_000])",
    "memory that is locked": "check(libc.mlockall(3))",
}


@pytest.mark.parametrize("name", _HERE)
def test_what_needs_rights_is_refused(name: str) -> None:
    """Whatever the user's rights outside, inside the kernel refuses."""
    outcome = _run(_source(_HERE[name]))

    assert (outcome.stdout, outcome.stderr) == (b"held\n", b"")


def test_a_program_has_no_capabilities_and_gains_none() -> None:
    """No capability is left, setuid programs are of no use, and system calls are filtered."""
    outcome = _run("print(open('/proc/self/status').read())")

    found = dict(line.split(":\t", 1) for line in outcome.stdout.decode().splitlines() if line)
    assert {int(found[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapBnd")} == {0}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert set(found["Uid"].split()) == {"1000"}
    assert set(found["Gid"].split()) == {"1000"}


def test_a_program_sees_only_what_it_needs() -> None:
    """The root folder, devices, processes, files and environment are those of the sandbox."""
    outcome = _run(
        "import os, sys\n"
        "print(sorted(os.listdir('/')))\n"
        "print(sorted(os.listdir('/dev')))\n"
        "print([p for p in os.listdir('/proc') if p.isdigit()])\n"
        "print(sorted(os.listdir('/proc/self/fd'))[:-1])\n"
        "print(os.listdir('.'), os.listdir('/tmp'), os.listdir('/etc'))\n"
        "print(open('/proc/1/environ').read(), os.uname().nodename)\n"
        "print([p for p in sys.path if os.path.isdir(p) and 'packages' in p and os.listdir(p)])\n"
    )

    lines = outcome.stdout.decode().splitlines()
    assert set(eval(lines[0])) <= {
        *("bin", "box", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "python"),
        *("sbin", "tmp", "usr"),
    }
    assert eval(lines[1]) == ["full", "null", "random", "shm", "urandom", "zero"]
    assert eval(lines[2]) == ["1", "2"]
    assert eval(lines[3]) == ["0", "1", "2"]
    assert lines[4] == "['main.py'] [] ['ld.so.cache']"
    assert lines[5] == "PWD=/\0 box"
    assert lines[6] == "[]"


def _left(marker: str) -> list[str]:
    """Command lines of processes on this machine that hold `marker`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if marker in line:
            found.append(line)
    return found


_STAYING = {
    "a child": "subprocess.Popen(['sleep', '{marker}'])",
    "a daemon": (
        "if not os.fork():\n    os.setsid()\n    if not os.fork():\n"
        "        os.execvp('sleep', ['sleep', '{marker}'])\n    os._exit(0)\nos.wait()"
    ),
    "a child that holds the output": "subprocess.Popen(['sleep', '{marker}'], stdout=1, stderr=2)",
    "a child that refuses to be told to end": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGHUP,"
        " signal.SIG_IGN)\nsubprocess.Popen(['sleep', '{marker}'], start_new_session=True)"
    ),
}


@pytest.mark.parametrize("name", _STAYING)
@pytest.mark.parametrize("ending", ["", "\ntime.sleep(99)"])
def test_nothing_outlives_the_program(name: str, ending: str) -> None:
    """Children and daemons are gone when the outcome is there, by the end or by the limit."""
    marker = f"7{os.getpid()}.25"
    source = "import os, signal, subprocess, time\n" + _STAYING[name].format(marker=marker)
    seen: list[int] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.05):
            seen.append(len(_left(marker)))

    watcher = threading.Thread(target=watch)
    watcher.start()

    outcome = _run(source + (ending or "\ntime.sleep(1)"), Limits(wall_s=1.5 if ending else 20))

    is_over.set()
    watcher.join()
    assert outcome.ended == ("time" if ending else "done")
    assert max(seen) > 0
    assert _left(marker) == []


def test_a_fork_bomb_stays_small_and_ends() -> None:
    """Processes are counted for the sandbox alone, and end with it."""
    outcome = _run(
        "import os, time\nseen = 0\n"
        "while True:\n"
        "    try:\n        child = os.fork()\n"
        "    except OSError:\n        break\n"
        "    if not child:\n        time.sleep(99)\n"
        "    seen += 1\n"
        "print(seen)\n",
        Limits(max_processes=20, wall_s=5),
    )
    wild = _run(
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n", Limits(wall_s=1)
    )

    assert 10 <= int(outcome.stdout) < 20
    assert (outcome.ended, wild.ended) == ("done", "time")


def test_threads_count_as_processes() -> None:
    """A program cannot start more threads than processes."""
    outcome = _run(
        "import threading, time\nseen = 0\ntry:\n"
        "    while True:\n"
        "        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
        "        seen += 1\n"
        "except RuntimeError:\n    print(seen, flush=True)\n    import os; os._exit(0)\n",
        Limits(max_processes=20),
    )

    assert 10 <= int(outcome.stdout) < 20


def test_memory_of_one_process_is_limited() -> None:
    """Asking for more raises MemoryError in the program."""
    outcome = _run("x = bytearray(300 * 2**20)", Limits(memory_mb=256))

    assert outcome.exit_code == 1
    assert b"MemoryError" in outcome.stderr


_HOARDS = {
    "many processes": (
        "import os, time\nfor _ in range(9):\n    if not os.fork():\n"
        "        x = b'x' * (50 * 2**20)\n        time.sleep(60)\ntime.sleep(60)"
    ),
    "empty files": (
        "import os\nat = 0\nwhile True:\n    os.close(os.open(f'/tmp/{at}', 66))\n    at += 1"
    ),
    "files in every folder": (
        "import time\nfor folder in ('/tmp', '/box', '/dev/shm'):\n    for at in range(9):\n"
        "        try:\n            open(f'{folder}/{at}', 'wb').write(bytes(10 * 2**20))\n"
        "        except OSError: pass\ntime.sleep(60)"
    ),
}


@pytest.mark.parametrize("name", _HOARDS)
def test_memory_of_all_together_is_limited(name: str) -> None:
    """Processes, files and even empty files count together, and end the program."""
    outcome = _run(_HOARDS[name], Limits(memory_mb=120, disk_mb=60, wall_s=40, cpu_s=40))

    assert (outcome.ended, outcome.exit_code) == ("memory", None)


def test_folders_and_files_are_small() -> None:
    """A folder is full at its limit, and a file ends at its own."""
    outcome = _run(
        "import os, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "for folder in ('/tmp', '/box', '/dev/shm'):\n    total = 0\n    for at in range(9):\n"
        "        with open(f'{folder}/{at}', 'wb', buffering=0) as file:\n"
        "            try:\n"
        "                while True: total += file.write(bytes(2**18))\n"
        "            except OSError as exc: code = exc.errno\n"
        "        size = os.path.getsize(f'{folder}/{at}')\n"
        "        print(size <= 2 * 2**20, end=' ')\n"
        "    print(3.9 < total / 2**20 <= 4, code)\n",
        Limits(disk_mb=4, max_file_mb=2),
    )

    assert outcome.stdout.decode().splitlines() == ["True " * 10 + "28"] * 3


@pytest.mark.parametrize("fd", [1, 2])
def test_endless_output_is_cut_and_ends_the_program(fd: int) -> None:
    """What is kept has the limit's size, however much is written."""
    outcome = _run(
        f"import os\nwhile True: os.write({fd}, b'x' * 10000)", Limits(max_output_bytes=777)
    )

    assert (outcome.ended, outcome.is_cut) == ("output", True)
    assert (outcome.stdout, outcome.stderr)[fd - 1] == b"x" * 777


def test_output_at_its_limit_is_whole() -> None:
    """Exactly as much as is allowed is not cut."""
    outcome = _run("print('x' * 776)", Limits(max_output_bytes=777))

    assert (outcome.ended, outcome.is_cut, len(outcome.stdout)) == ("done", False, 777)


_LINGERING = {
    "sleeping": "time.sleep(99)",
    "sleeping with all signals blocked": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\ntime.sleep(99)"
    ),
    "having closed its output": "os.close(1); os.close(2); time.sleep(99)",
    "having closed and opened its output": (
        "os.close(1)\nos.open('/tmp/out', os.O_WRONLY | os.O_CREAT)\nprint('x', flush=True)\n"
        "time.sleep(99)"
    ),
    "having stopped itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "having killed the first process": (
        "os.kill(1, signal.SIGKILL)\nos.kill(1, signal.SIGSTOP)\ntime.sleep(99)"
    ),
    "reading a pipe that is never written": "os.read(os.pipe()[0], 1)",
}


@pytest.mark.parametrize("name", _LINGERING)
def test_doing_nothing_ends_at_the_wall_limit(name: str) -> None:
    """Time runs out for a program that takes no processor, too, and whatever it ignores."""
    outcome = _run(f"import os, signal, time\n{_LINGERING[name]}", Limits(wall_s=0.6))

    assert (outcome.ended, outcome.exit_code) == ("time", None)
    assert 0.5 < outcome.wall_s < 20


def test_processor_time_is_limited() -> None:
    """A busy loop ends by its own limit before the wall's."""
    outcome = _run("while True: pass", Limits(cpu_s=1, wall_s=20))

    assert outcome.ended == "cpu"
    assert outcome.wall_s < 15


def test_a_program_cannot_pose_as_a_broken_sandbox() -> None:
    """What it prints and ends with is an outcome, whatever it looks like."""
    outcome = _run("import sys\nprint('bwrap: No permissions', file=sys.stderr)\nsys.exit(1)")
    marked = _run("import os\nos.write(1, bytes([6, 6]))\nos._exit(125)")

    assert (outcome.stdout, outcome.stderr) == (b"", b"bwrap: No permissions\n")
    assert (outcome.exit_code, outcome.ended) == (1, "done")
    assert (marked.stdout, marked.exit_code) == (b"\6\6", 125)


@pytest.mark.parametrize(
    "source",
    [
        "def f(): f()\nimport sys\nsys.setrecursionlimit(10**9)\nf()",
        "import ctypes\nctypes.string_at(0)",
        "eval('(' * 10**5)",
        "x = '['\nfor _ in range(25): x += x\neval(x)",
        "import os\nos.abort()",
    ],
)
def test_a_crash_is_an_outcome(source: str) -> None:
    """A program that brings the interpreter down or to its limits does no more than fail."""
    outcome = _run(source, Limits(wall_s=2, memory_mb=256))

    assert outcome.exit_code != 0
