"""As whom PostgreSQL runs: it refuses to be root."""

import os
import pwd
import stat
import subprocess
from pathlib import Path

from readmission.errors import ServiceDownError
from readmission.local.process import Program, child_environment, launch_command

UNPRIVILEGED = "nobody"

_AS_NOBODY = ("--user", UNPRIVILEGED)
_IN_NAMESPACE = ("--map-user",)
_PASS = 0o011


def postgres_identity(postgres: Path, home: Path) -> tuple[str, ...]:
    """Launcher options under which PostgreSQL can run below ``home``; none for an ordinary user.

    Root uses the user ``nobody`` where that user can reach the state folder and the binaries, else a user namespace.
    Containers often forbid namespaces: there every user gets the right to pass through ``home``, which a fresh one does
    not grant, but not to look into it.

    Raises:
        ServiceDownError: started by root, and neither way works here.
    """
    if os.geteuid() != 0:
        return ()
    for identity in (_AS_NOBODY, _IN_NAMESPACE):
        if _works(identity, postgres, home):
            return identity
    if _works_opened(postgres, home):
        return _AS_NOBODY
    raise ServiceDownError(
        f"PostgreSQL cannot run as root, and here neither user {UNPRIVILEGED} can enter {home} nor are user namespaces "
        f"allowed: run as an ordinary user, or `chmod a+x` the folders above that one"
    )


def take_over(folder: Path, identity: tuple[str, ...]) -> None:
    """Give a folder and all in it to the user of ``identity``; nothing to do for an ordinary user."""
    if os.geteuid() != 0:
        return
    account = pwd.getpwnam(UNPRIVILEGED if identity == _AS_NOBODY else "root")
    if folder.stat().st_uid == account.pw_uid:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, account.pw_uid, account.pw_gid, follow_symlinks=False)
    # Last: its owner is what tells the next start that the rest is done.
    os.chown(folder, account.pw_uid, account.pw_gid)


def _works_opened(postgres: Path, home: Path) -> bool:
    before = stat.S_IMODE(home.stat().st_mode)
    home.chmod(before | _PASS)
    if _works(_AS_NOBODY, postgres, home):
        return True
    home.chmod(before)
    return False


def _works(identity: tuple[str, ...], postgres: Path, home: Path) -> bool:
    options = (*identity, "--folder", str(home))
    program = Program("probe", (str(postgres), "--version"), child_environment(), home, identity=options)
    result = subprocess.run(launch_command(program), env=program.environment, capture_output=True, check=False)
    return result.returncode == 0
