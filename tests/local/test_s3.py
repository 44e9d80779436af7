import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_s3 import S3Client

import plain_http
from readmission.errors import ServiceDownError
from readmission.local import s3
from readmission.local.credentials import ensure_credentials
from readmission.local.s3 import INNER_OFFSET, S3, s3_client
from readmission.services import Services, local_credentials
from readmission.settings import Settings

KEY = "probe/folder/object.bin"
BODY = bytes(range(256)) * 40_000  # 10 MB: several chunks


def client_of(services: Services, secret: str | None = None) -> S3Client:
    secret = secret or services.s3_secret_key.get_secret_value()
    return s3_client(services.s3_url, services.s3_access_key.get_secret_value(), secret, 30)


@pytest.fixture(scope="module")
def stored(services: Services) -> str:
    client = client_of(services)
    client.put_object(Bucket=services.s3_bucket, Key=KEY, Body=BODY)
    return f"{services.s3_bucket}/{KEY}"


def test_objects_come_back_as_they_went(services: Services, stored: str) -> None:
    client = client_of(services)
    assert client.get_object(Bucket=services.s3_bucket, Key=KEY)["Body"].read() == BODY
    listed = client.list_objects_v2(Bucket=services.s3_bucket, Prefix="probe/")
    assert [item["Key"] for item in listed["Contents"]] == [KEY]


def test_both_buckets_exist(services: Services) -> None:
    client = client_of(services)
    assert {"mlflow", services.s3_bucket} <= {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}


@pytest.mark.parametrize("name", ["Not A Name", "UPPER_CASE!"])
def test_a_bucket_name_that_cannot_be_is_one_line_with_its_setting(stack: Settings, name: str) -> None:
    service = S3(stack.model_copy(update={"s3_bucket": name}), local_credentials(stack))
    with pytest.raises(ServiceDownError) as error:
        service.provision()
    assert "READMISSION_S3_BUCKET" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_key_is_refused(services: Services, stored: str) -> None:
    client = client_of(services, "wrong" * 8)
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.get_object(Bucket=services.s3_bucket, Key=KEY)


def test_without_a_key_no_port_hands_objects_out(stack: Settings, stored: str) -> None:
    addresses = [
        f"http://127.0.0.1:{stack.s3_port}/{stored}",
        f"http://127.0.0.1:{stack.s3_filer_port}/buckets/{stored}",
        f"http://127.0.0.1:{stack.s3_filer_port}/buckets/{stack.s3_bucket}/",
    ]
    for address in addresses:
        assert plain_http.get(address).status_code in (401, 403), address


def test_without_a_key_no_port_takes_or_deletes_objects(stack: Settings, services: Services, stored: str) -> None:
    address = f"http://127.0.0.1:{stack.s3_filer_port}/buckets/{stored}"
    assert plain_http.put(address, content=b"changed").status_code == 401
    assert plain_http.delete(address).status_code == 401
    assert plain_http.delete(f"http://127.0.0.1:{stack.s3_port}/{stored}").status_code == 403
    client = client_of(services)
    assert client.head_object(Bucket=services.s3_bucket, Key=KEY)["ContentLength"] == len(BODY)


def test_the_admin_page_asks_for_a_login(stack: Settings) -> None:
    response = plain_http.get(f"http://127.0.0.1:{stack.s3_admin_port}/")
    assert response.status_code == 307
    assert response.headers["location"].endswith("/login")


def test_its_files_are_for_the_owner_only_and_keep_no_password(stack: Settings, stored: str) -> None:
    folder = stack.home / "s3"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    options = folder / "mini.options"
    assert stat.S_IMODE(options.stat().st_mode) == 0o600
    assert not any(secret in options.read_text() for secret in local_credentials(stack).values())


def test_telemetry_is_off(stack: Settings) -> None:
    assert "master.telemetry=false" in (stack.home / "s3" / "mini.options").read_text()


def test_ports_cover_the_inner_ones(tmp_path: Path) -> None:
    ports = dict(S3(Settings(home=tmp_path), {}).ports())
    assert ports[9000] == ports[9000 + INNER_OFFSET] == "READMISSION_S3_PORT"
    assert len(ports) == 10


def test_secrets_are_not_in_the_command_line(tmp_path: Path, new_settings: Callable[..., Settings]) -> None:
    settings = new_settings(tmp_path)
    program = S3(settings, ensure_credentials(settings)).program()
    for secret in (*local_credentials(settings).values(), program.environment["WEED_JWT_FILER_SIGNING_READ_KEY"]):
        assert secret not in " ".join(program.command)


def test_an_own_aws_profile_does_not_reach_the_server(
    tmp_path: Path, new_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "mine")
    monkeypatch.setenv("WEED_FILER_OPTIONS", "mine")
    settings = new_settings(tmp_path)
    environment = S3(settings, ensure_credentials(settings)).program().environment
    assert "mine" not in environment.values()


def test_left_sockets_are_removed_or_named(
    tmp_path: Path, new_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = new_settings(tmp_path / "home")
    monkeypatch.setattr(s3, "_SOCKET_FOLDER", tmp_path)
    left = tmp_path / f"seaweedfs-s3-grpc-{settings.s3_port + INNER_OFFSET}.sock"
    left.touch()
    service = S3(settings, ensure_credentials(settings))
    service.program()
    assert not left.exists()
    left.mkdir()  # cannot be unlinked, as another user's file
    with pytest.raises(ServiceDownError, match=left.name):
        service.program()
