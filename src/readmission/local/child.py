"""Execute a program that ends when its parent process ends (Linux; standard library only).

Run as ``python -I -S child.py --parent PID --signal SIGINT [--user NAME | --map-user] [--folder DIR] -- PROGRAM ...``.
It replaces ``preexec_fn``, which is unsafe in a process with threads. It can drop root privileges by switching the
user, or by a user namespace in which root's files belong to ``nobody``; the latter works below a folder that only root
can enter.

The kernel sends the signal when the *thread* that started this process ends: start children from the main thread only.
"""

import argparse
import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
NOBODY = 65534

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    """Drop privileges, set the parent-death signal and execute the program."""
    options = _parse(arguments)
    if options.user:
        _switch_user(options.user)
    if options.map_user:
        _map_user()
    # After switching the user, which clears the parent-death signal.
    end_with_parent(options.parent, signal.Signals[options.signal])
    if options.folder:
        os.chdir(options.folder)
    os.execv(options.program[0], options.program)  # noqa: S606 - replacing this process is intended


def end_with_parent(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent ends; exit now if it has ended already.

    Args:
        parent: process id of the parent, as the parent itself passed it.
        number: the signal.
    """
    _check(_libc.prctl(PR_SET_PDEATHSIG, int(number)), "prctl")
    if os.getppid() != parent:
        sys.exit("the parent ended before its child started")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="child")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--signal", choices=[item.name for item in signal.Signals], required=True)
    identity = parser.add_mutually_exclusive_group()
    identity.add_argument("--user")
    identity.add_argument("--map-user", action="store_true")
    parser.add_argument("--folder")
    parser.add_argument("program", nargs="+")
    return parser.parse_args(arguments)


def _switch_user(name: str) -> None:
    account = pwd.getpwnam(name)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def _map_user() -> None:
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(CLONE_NEWUSER), "unshare")
    # The kernel allows a group mapping only after setgroups has been denied.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} {group} 1")


def _check(result: int, call: str) -> None:
    if result != 0:
        sys.exit(f"{call}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(sys.argv[1:])
