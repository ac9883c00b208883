"""No credential in an address or a setting is shown, and what is none is shown as it is."""

from __future__ import annotations

import pytest

from streamlab.core.errors import explained
from streamlab.core.redaction import credentials_in, redacted, shown_address, without_credentials

CANARY = "CANARYtok123"


@pytest.mark.parametrize(
    "text",
    [
        f"s3://AKIA:{CANARY}@127.0.0.1/b",
        f"s3://AKIA:{CANARY}/more+of/it@bucket/b",
        f"s3://AKIA:a@{CANARY}@bucket/b",
        f"https://{CANARY}@host/x",
        f"cannot open 'postgresql://me:{CANARY}@db:5432/x'",
        f"simplecache::s3://me:{CANARY}@host/x",
        f"https://127.0.0.1:1/b?sv=1&sig={CANARY}&x=1",
        f"abfs://c@a.dfs.core.windows.net/x?sas_token={CANARY}",
        f"/tmp/x.db?motherduck_token={CANARY}",
        f"md:x?motherduck_token='{CANARY}'",
        f"host=db password={CANARY} user=me",
        f"host=db password='a {CANARY}' user=me",
        f"AccountName=a;AccountKey={CANARY}==;x",
        f"AWS_SECRET_ACCESS_KEY={CANARY}",
    ],
)
def test_credentials_are_hidden(text):
    assert CANARY not in without_credentials(text)
    assert CANARY not in shown_address(text)
    assert CANARY not in explained("start", needed="a place", got=text, hint=text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8080/user@example.com",
        "s3://bucket/jobs",
        "token == 5",
        "see me@example.com",
        'col("key")=3',
        "filter: needs a Boolean, got http://host:80 and a@b",
    ],
)
def test_all_else_is_shown_as_it_is(text):
    assert without_credentials(text) == text


def test_the_credentials_of_an_address_are_found_in_what_others_say_of_it():
    said = f'Invalid bucket name "AKIA:{CANARY}@127.0.0.1", or a%2Fb, or {CANARY}'
    assert CANARY not in redacted(said, credentials_in(f"s3://AKIA:{CANARY}@127.0.0.1/b"))
    assert redacted("got sec/ret", credentials_in("s3://u:sec%2Fret@h/b")) == "got ***"
