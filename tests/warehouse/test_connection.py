import psycopg
import pytest
from building import column, execute
from psycopg import sql
from pydantic import SecretStr

from readmission.errors import BadInputError, ServiceDownError
from readmission.services import Services
from readmission.warehouse.connection import address, connect, statement


def refusal(url: str, secret: str) -> str:
    with pytest.raises(ServiceDownError) as caught, connect(SecretStr(url)):
        pass
    message = str(caught.value)
    assert "\n" not in message
    assert secret not in message
    assert caught.value.exit_code == 3
    return message


@pytest.fixture
def password(warehouse: Services) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(warehouse.raw_url.get_secret_value())["password"])


def test_a_port_where_nobody_listens(warehouse: Services, password: str) -> None:
    url = warehouse.raw_url.get_secret_value()
    port = psycopg.conninfo.conninfo_to_dict(url)["port"]
    message = refusal(url.replace(f":{port}/", ":1/"), password)
    assert message.startswith("PostgreSQL at 127.0.0.1:1/test_raw_url_")
    assert message.endswith("see `readmission doctor`")


def test_a_wrong_password(warehouse: Services, password: str) -> None:
    message = refusal(warehouse.raw_url.get_secret_value().replace(password, "hunter2"), "hunter2")
    assert "password authentication failed" in message


def test_an_unknown_database(warehouse: Services, password: str) -> None:
    assert "no_such_db" in refusal(f"{warehouse.raw_url.get_secret_value().rpartition('/')[0]}/no_such_db", password)


@pytest.mark.parametrize(
    "url", ["hunter2", "postgres//me:hunter2@127.0.0.1/db", "postgresql://me:hunter2%zz@127.0.0.1/db"]
)
def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with (
        pytest.raises(BadInputError, match=r"postgresql://user:password@host:port/database") as caught,
        connect(SecretStr(url)),
    ):
        pass
    assert "hunter2" not in str(caught.value)


def test_a_server_that_goes_away_within_the_block(warehouse: Services) -> None:
    with (
        pytest.raises(ServiceDownError, match=r"^PostgreSQL at 127\.0\.0\.1:"),
        connect(warehouse.raw_url) as connection,
    ):
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_mistakes_in_sql_are_not_hidden(warehouse: Services) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn), connect(warehouse.raw_url) as connection:
        connection.execute("SELECT no_such_column FROM pg_class")


def test_a_table_that_no_stage_has_made_is_one_line(warehouse: Services) -> None:
    with (
        pytest.raises(BadInputError, match='"no_such_table" does not exist; run the earlier stages'),
        connect(warehouse.raw_url) as connection,
    ):
        connection.execute("SELECT * FROM no_such_table")


def test_the_end_of_the_block_commits(warehouse: Services) -> None:
    with connect(warehouse.raw_url) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT 7 AS number")
    assert column(warehouse.raw_url, "SELECT number FROM numbers") == [7]


def insert_and_fail(url: SecretStr, autocommit: bool) -> None:
    with connect(url, autocommit=autocommit) as connection:
        connection.execute("INSERT INTO numbers VALUES (7)")
        raise RuntimeError("stop")


@pytest.mark.parametrize(("autocommit", "kept"), [(False, []), (True, [7])])
def test_an_error_rolls_back_unless_each_statement_is_on_its_own(
    warehouse: Services, autocommit: bool, kept: list[int]
) -> None:
    execute(warehouse.raw_url, "CREATE TABLE numbers (number integer)")
    with pytest.raises(RuntimeError, match="stop"):
        insert_and_fail(warehouse.raw_url, autocommit)
    assert column(warehouse.raw_url, "SELECT number FROM numbers") == kept


def test_others_see_the_name_of_the_application(warehouse: Services) -> None:
    with connect(warehouse.raw_url, application="readmission tests") as connection:
        pid = connection.info.backend_pid
        query = "SELECT application_name FROM pg_stat_activity WHERE pid = %s"
        assert column(warehouse.raw_url, query, pid) == ["readmission tests"]


def test_the_address_of_a_url_has_no_password() -> None:
    assert address(SecretStr("postgresql://me:hunter2@host.example:5433/db")) == "host.example:5433/db"
    assert address(SecretStr("postgresql://me:hunter2@host.example/db")) == "host.example:5432/db"


def test_names_are_quoted() -> None:
    name = sql.Identifier("public", 'a"; DROP TABLE b; --')
    assert statement("SELECT * FROM {name}", name=name).as_string() == 'SELECT * FROM "public"."a""; DROP TABLE b; --"'
