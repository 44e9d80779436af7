import pytest
from obtaining import HIDDEN

from readmission.dataset.sources import parse_source
from readmission.errors import BadInputError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The data source is empty; give "),
        ("ftp://host/x", "Data source ftp://... is not supported; give a path, http(s)://"),
        (f"http://{HIDDEN}:x@/", "The data source is not a valid URL"),
        (f"http://host:{HIDDEN}/", "The data source is not a valid URL"),
        ("https://[::1/x", "The data source is not a valid URL"),
        ("gdrive://", "Data source gdrive://FILE_ID takes"),
        ("gdrive://a&b=c", "Data source gdrive://FILE_ID takes"),
        ("s3://bucket", "Data source s3://bucket/key needs both"),
        ("s3:///key", "Data source s3://bucket/key needs both"),
        ("synthetic:", "Data source synthetic:ROWS takes a number of rows from 1 to"),
        ("synthetic:0", "Data source synthetic:ROWS takes"),
        ("synthetic:-5", "Data source synthetic:ROWS takes"),
        ("synthetic:1e3", "Data source synthetic:ROWS takes"),
        ("synthetic:100000001", "Data source synthetic:ROWS takes"),
        ("~nobody-of-that-name/x.csv", "~nobody-of-that-name/x.csv: no such home folder"),
    ],
)
def test_a_source_that_is_none(text: str, message: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_source(text)
    assert str(caught.value).startswith(message)
    assert HIDDEN not in str(caught.value)
