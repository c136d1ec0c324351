"""The filter of system calls that programs in the sandbox run under, as the kernel's bytes.

Namespaces and limits keep programs in; this takes away what the kernel offers beside them:
kernel interfaces with a record of holes, memory that no limit counts, keyrings that are
inherited, sockets that are not the network namespace's, and the debugging of other processes.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from motet.errors import SandboxError

_X86_64: Final = """
mount 165 umount2 166 pivot_root 155 chroot 161 open_tree 428 move_mount 429 fsopen 430
fsconfig 431 fsmount 432 fspick 433 mount_setattr 442 unshare 272 setns 308
ptrace 101 process_vm_readv 310 process_vm_writev 311 kcmp 312 pidfd_getfd 438
process_madvise 440 add_key 248 request_key 249 keyctl 250
bpf 321 perf_event_open 298 userfaultfd 323 io_uring_setup 425 io_uring_enter 426
io_uring_register 427 fanotify_init 300 name_to_handle_at 303 open_by_handle_at 304
memfd_create 319 memfd_secret 447 shmget 29 msgget 68 semget 64 mq_open 240
mbind 237 migrate_pages 256 move_pages 279 personality 135 modify_ldt 154 iopl 172 ioperm 173
kexec_load 246 kexec_file_load 320 init_module 175 delete_module 176 finit_module 313
swapon 167 swapoff 168 reboot 169 acct 163 quotactl 179 quotactl_fd 443 syslog 103 vhangup 153
settimeofday 164 clock_settime 227 clock_adjtime 305 adjtimex 159 sethostname 170
setdomainname 171 lookup_dcookie 212 uselib 134
"""
_AARCH64: Final = """
mount 40 umount2 39 pivot_root 41 chroot 51 open_tree 428 move_mount 429 fsopen 430
fsconfig 431 fsmount 432 fspick 433 mount_setattr 442 unshare 97 setns 268
ptrace 117 process_vm_readv 270 process_vm_writev 271 kcmp 272 pidfd_getfd 438
process_madvise 440 add_key 217 request_key 218 keyctl 219
bpf 280 perf_event_open 241 userfaultfd 282 io_uring_setup 425 io_uring_enter 426
io_uring_register 427 fanotify_init 262 name_to_handle_at 264 open_by_handle_at 265
memfd_create 279 memfd_secret 447 shmget 194 msgget 186 semget 190 mq_open 180
mbind 235 migrate_pages 238 move_pages 239 personality 92
kexec_load 104 kexec_file_load 294 init_module 105 delete_module 106 finit_module 273
swapon 224 swapoff 225 reboot 142 acct 89 quotactl 60 quotactl_fd 443 syslog 116 vhangup 58
settimeofday 170 clock_settime 112 clock_adjtime 266 adjtimex 171 sethostname 161
setdomainname 162 lookup_dcookie 18
"""
_CLONE3: Final = 435
_NEW_NAMESPACES: Final = 0x7E020000
_ADDRESS_FAMILIES: Final = (1, 2, 10)
"""Unix, IPv4, IPv6: those that belong to the network namespace, or to folders."""
_TERMINAL_REQUESTS: Final = (0x5412, 0x541C, 0x5423)
"""TIOCSTI, TIOCLINUX and TIOCSETD, which reach out of a terminal."""

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_NUMBER, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24
"""Offsets in what the filter sees; of arguments, the low half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    arch: int
    denied: str
    clone: int
    sockets: tuple[int, int]
    ioctl: int
    has_x32: bool


_MACHINES: Final = {
    "x86_64": _Machine(
        arch=0xC000003E, denied=_X86_64, clone=56, sockets=(41, 53), ioctl=16, has_x32=True
    ),
    "aarch64": _Machine(
        arch=0xC00000B7, denied=_AARCH64, clone=220, sockets=(198, 199), ioctl=29, has_x32=False
    ),
}


def seccomp_filter(machine: str | None = None) -> bytes:
    """Return the filter for `bwrap --seccomp`, by default for this machine.

    Raises:
        SandboxError: The machine is neither x86_64 nor aarch64.
    """
    name = machine or platform.machine()
    if name not in _MACHINES:
        known = " and ".join(_MACHINES)
        raise SandboxError(f"the sandbox knows the system calls of {known}; this machine is {name}")
    return b"".join(_instructions(_MACHINES[name]))


def _instructions(machine: _Machine) -> Iterator[bytes]:
    yield _load(_ARCH)
    yield from (_skip_unless(machine.arch, 1), _skip(1), _end(_KILL))
    yield _load(_NUMBER)
    if machine.has_x32:
        yield from (_one(0x35, 0, 1, 0x40000000), _refuse(errno.ENOSYS))
    for number in map(int, machine.denied.split()[1::2]):
        yield from (_skip_unless(number, 1), _refuse(errno.EPERM))
    yield from (_skip_unless(_CLONE3, 1), _refuse(errno.ENOSYS))
    yield from (_skip_unless(machine.clone, 4), _load(_FIRST))
    yield from (_one(0x45, 0, 1, _NEW_NAMESPACES), _refuse(errno.EPERM), _end(_ALLOW))
    for number in machine.sockets:
        yield from (_skip_unless(number, 2 + 2 * len(_ADDRESS_FAMILIES)), _load(_FIRST))
        for family in _ADDRESS_FAMILIES:
            yield from (_skip_unless(family, 1), _end(_ALLOW))
        yield _refuse(errno.EAFNOSUPPORT)
    yield from (_skip_unless(machine.ioctl, 1 + 2 * len(_TERMINAL_REQUESTS)), _load(_SECOND))
    for request in _TERMINAL_REQUESTS:
        yield from (_skip_unless(request, 1), _refuse(errno.EPERM))
    yield _end(_ALLOW)


def _one(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _load(offset: int) -> bytes:
    return _one(0x20, 0, 0, offset)


def _skip_unless(value: int, count: int) -> bytes:
    """Skip `count` instructions unless what was loaded is `value`."""
    return _one(0x15, 0, count, value)


def _skip(count: int) -> bytes:
    return _one(0x05, 0, 0, count)


def _end(action: int) -> bytes:
    return _one(0x06, 0, 0, action)


def _refuse(code: int) -> bytes:
    return _end(0x00050000 | code)
