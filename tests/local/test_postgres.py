import os
import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from processes import ask, descendants
from readmission.errors import ServiceDownError
from readmission.local.credentials import ensure_credentials
from readmission.local.postgres import OWNERS, Postgres, binary
from readmission.local.supervise import Supervised, wait_until_ready
from readmission.services import Services, local_credentials
from readmission.settings import Settings


def connect(settings: Settings, user: str, database: str, password: str | None = None) -> psycopg.Connection:
    secret = local_credentials(settings)[user] if password is None else password
    return psycopg.connect(
        host="127.0.0.1", port=settings.postgres_port, user=user, password=secret, dbname=database, autocommit=True
    )


def run(settings: Settings) -> Supervised:
    service = Postgres(settings, ensure_credentials(settings))
    unit = Supervised(service, settings.home.absolute() / "logs", settings.start_timeout, lambda _: None)
    unit.spawn()
    wait_until_ready([unit])
    return unit


def stop(unit: Supervised) -> None:
    assert unit.child is not None
    unit.child.stop(20)


@pytest.fixture
def own(tmp_path: Path, new_settings: Callable[..., Settings]) -> Settings:
    return new_settings(tmp_path / "home")


@pytest.fixture
def server(own: Settings) -> Iterator[Supervised]:
    unit = run(own)
    yield unit
    stop(unit)


def show(settings: Settings, name: str) -> str:
    with connect(settings, "postgres", "postgres") as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(("database", "owner"), OWNERS.items())
def test_each_owner_can_work_in_its_database(stack: Settings, database: str, owner: str) -> None:
    with connect(stack, owner, database) as connection:
        connection.execute("CREATE TABLE probe (value int)")
        connection.execute("DROP TABLE probe")


@pytest.mark.parametrize(("database", "owner"), OWNERS.items())
def test_nobody_else_can_connect_to_it(stack: Settings, database: str, owner: str) -> None:
    for other in sorted(set(OWNERS.values()) - {owner}):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            connect(stack, other, database)


@pytest.mark.parametrize("owner", OWNERS.values())
def test_owners_are_not_superusers_and_stay_out_of_the_default_database(stack: Settings, owner: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        connect(stack, owner, "postgres")
    with connect(stack, "postgres", "postgres") as connection:
        row = connection.execute(
            "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s", [owner]
        ).fetchone()
    assert row == (False, False, False)


@pytest.mark.parametrize("user", ["postgres", *OWNERS.values()])
@pytest.mark.parametrize("password", ["", "postgres", "wrong"])
def test_a_wrong_password_is_refused(stack: Settings, user: str, password: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        connect(stack, user, "postgres", password)


def test_resolved_addresses_work(services: Services) -> None:
    for url, database in ((services.raw_url, "raw_data_db"), (services.platform_url, "platform_db")):
        assert urlsplit(url.get_secret_value()).hostname == "127.0.0.1"
        with psycopg.connect(url.get_secret_value()) as connection:
            assert connection.info.dbname == database


def test_durability_is_complete_and_the_rest_is_tuned(stack: Settings) -> None:
    assert show(stack, "server_version").startswith("16.")
    for name, value in {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "wal_level": "minimal",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "password_encryption": "scram-sha-256",
        "unix_socket_directories": "",
        "listen_addresses": "127.0.0.1",
        "server_encoding": "UTF8",
    }.items():
        assert show(stack, name) == value, name


def test_passwords_are_stored_as_verifiers_and_are_in_no_log_or_command_line(stack: Settings) -> None:
    with connect(stack, "postgres", "postgres") as connection:
        rows = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolcanlogin").fetchall()
    assert rows
    assert all(row[0].startswith("SCRAM-SHA-256$") for row in rows)
    texts = [path.read_text(errors="replace") for path in (stack.home / "logs").iterdir()]
    texts += [" ".join(line) for line in ask(descendants(os.getpid()), psutil.Process.cmdline)]
    for secret in local_credentials(stack).values():
        assert not any(secret in text for text in texts)


def test_a_killed_server_recovers_and_keeps_its_data(own: Settings) -> None:
    first = run(own)
    assert first.child is not None
    with connect(own, "rawdata_user", "raw_data_db") as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS value")
        os.kill(first.child.pid, signal.SIGKILL)
    # Nobody has reaped the killed server yet, as in a container whose first process does not care.
    second = run(own)
    with connect(own, "rawdata_user", "raw_data_db") as connection:
        row = connection.execute("SELECT sum(value) FROM kept").fetchone()
    stop(second)
    stop(first)
    assert row == (500_500,)


def test_a_killed_server_is_restarted_by_its_watch(own: Settings, server: Supervised) -> None:
    for value in (1, 2):
        with connect(own, "rawdata_user", "raw_data_db") as connection:
            connection.execute(f"CREATE TABLE kept_{value} ()")
        assert server.child is not None
        os.kill(server.child.pid, signal.SIGKILL)
        while server.child.exit_code is None:
            time.sleep(0.01)
        server.restart_if_ended()
    with connect(own, "rawdata_user", "raw_data_db") as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'kept%'").fetchone() == (2,)


def test_a_lock_file_with_a_number_that_is_in_use_again_is_no_obstacle(own: Settings) -> None:
    stop(run(own))
    # As after a power cut: the killed server's process id belongs to another program now, here to this test.
    lock = own.home / "postgres" / "postmaster.pid"
    lock.write_text(f"{os.getppid()}\n{own.home / 'postgres'}\n0\n{own.postgres_port}\n\n127.0.0.1\n")
    stop(run(own))


def test_an_unfinished_cluster_is_made_anew(own: Settings) -> None:
    ensure_credentials(own)
    unfinished = own.home / "postgres.unfinished"
    (unfinished / "data" / "base").mkdir(parents=True)
    (unfinished / "data" / "PG_VERSION").write_text("16\n")
    (unfinished / "password").write_text("left")
    unit = run(own)
    assert not unfinished.exists()
    stop(unit)


def test_the_data_folder_is_for_its_owner_only(own: Settings, server: Supervised) -> None:
    assert stat.S_IMODE((own.home / "postgres").stat().st_mode) == 0o700
    assert server.child is not None
    assert not any("password" in path.name for path in own.home.iterdir())


def test_does_not_run_as_root(server: Supervised) -> None:
    assert server.child is not None
    status = Path(f"/proc/{server.child.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status


def test_a_lost_role_and_database_come_back(own: Settings, server: Supervised) -> None:
    with connect(own, "postgres", "postgres") as connection:
        connection.execute("DROP DATABASE platform_db")
        connection.execute("DROP ROLE platform_user")
    server.service.provision()
    server.service.provision()
    with connect(own, "platform_user", "platform_db") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_credentials_of_another_cluster_are_reported_at_once(own: Settings, tmp_path: Path) -> None:
    stop(run(own))
    foreign = Settings(home=tmp_path / "other")
    ensure_credentials(foreign)
    shutil.copy(foreign.home / "credentials.json", own.home / "credentials.json")
    unit = Supervised(Postgres(own, ensure_credentials(own)), own.home / "logs", 10_000, lambda _: None)
    unit.spawn()
    with pytest.raises(ServiceDownError, match="refuses the password"):
        wait_until_ready([unit])
    stop(unit)


def test_a_full_disk_or_the_like_at_creation_is_one_line(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    ensure_credentials(own)
    service = Postgres(own, {**ensure_credentials(own), "postgres": ""})
    with pytest.raises(ServiceDownError) as error:
        service.program()
    assert "Cannot create the databases" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (own.home / "postgres").exists()


def test_binaries_are_of_version_16() -> None:
    assert binary("postgres").is_file()
    assert "pginstall18" not in str(binary("postgres"))
