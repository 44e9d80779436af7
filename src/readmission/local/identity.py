"""The OS user of the PostgreSQL process, which refuses to run as root."""

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
    """Launcher options with which PostgreSQL can run in ``home``; none for an ordinary user.

    Root uses the user ``nobody`` if that user can reach the state folder and the binaries, else a user namespace.
    Containers often forbid namespaces: then every user gets the permission to enter ``home`` (which a new folder does
    not grant), but not to list it.

    Raises:
        ServiceDownError: started by root, and neither way works.
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
    """Change the owner of a folder and its content to the user of ``identity``; does nothing for an ordinary user."""
    if os.geteuid() != 0:
        return
    account = pwd.getpwnam(UNPRIVILEGED if identity == _AS_NOBODY else "root")
    if folder.stat().st_uid == account.pw_uid:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, account.pw_uid, account.pw_gid, follow_symlinks=False)
    # The folder comes last: its owner tells the next start that its content is done.
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
