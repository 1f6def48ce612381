"""Keys are taken over from a CSV file in the console: every problem by its line, and no key ever shown."""

from html import unescape
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from migration.models import AuthorizationKey
from tests.admin import given
from tests.support import charger

pytestmark = pytest.mark.django_db

SECRET, OTHER = "a-secret-of-20-chars", "b-secret-of-20-chars"
LIST = "admin:migration_authorizationkey_changelist"


def send(console: Client, *lines: str, content: bytes | None = None, **values: Any) -> Any:
    text = "\n".join(["charger,secret", *lines]).encode() if content is None else content
    file = SimpleUploadedFile("keys.csv", text, content_type="text/csv")
    url = reverse("admin:migration_authorizationkey_import")
    return console.post(url, {"file": file, "reason": "they move here", **values})


def shown(answer: Any) -> str:
    return unescape(answer.content.decode())


def test_a_file_is_looked_at_first_and_imported_when_that_is_asked_for(console: Client) -> None:
    charger("CS-1")
    charger("CS-2")
    lines = f"CS-1,{SECRET}", f"CS-2,{OTHER}"

    looked = send(console, *lines)
    assert looked.status_code == 200
    assert "2 keys that can be read: 2 new, 0 here already" in shown(looked)
    assert "Nothing was changed" in shown(looked)
    assert not AuthorizationKey.objects.exists()

    imported = send(console, *lines, apply="on")
    assert (imported.status_code, imported.headers["Location"]) == (302, reverse(LIST))
    assert [str(item) for item in get_messages(imported.wsgi_request)] == ["Imported 2 keys; 0 were here already."]
    key = AuthorizationKey.objects.get(identity__authoritative_identifier="CS-1")
    assert (key.state, key.source) == ("active", "imported")
    assert key.history.latest().history_change_reason == "they move here"
    assert key.history.latest().actor == "person:maria"


@pytest.mark.parametrize("apply", [{}, {"apply": "on"}], ids=["looked at", "imported"])
def test_every_problem_is_told_by_its_line_and_without_the_key(console: Client, apply: dict[str, Any]) -> None:
    charger("CS-1")
    charger("CS-2")

    answer = send(console, f"CS-1,{SECRET}", "CS-2,tooshort", f"CS-9,{OTHER}", **apply)

    page = shown(answer)
    assert "2 problems" in page
    assert "Line 3:" in page
    assert "Line 4:" in page
    for secret in (SECRET, OTHER, "tooshort"):
        assert secret not in page
    assert not AuthorizationKey.objects.exists()


def test_what_is_no_such_file_is_refused_with_what_one_is(console: Client) -> None:
    charger("CS-1")

    for content, status, sentence in (
        (b"\xff\xfe\x00", 400, "is not UTF-8"),
        (b"id,password\nCS-1,x", 422, "must name the columns"),
        (b"charger,secret\n" + b"x" * 2**20, 400, "too large for this page"),
    ):
        answer = send(console, content=content)
        assert answer.status_code == status
        assert sentence in shown(answer)
    assert "Say why you do this." in shown(send(console, f"CS-1,{SECRET}", reason=""))
    assert not AuthorizationKey.objects.exists()


def test_only_who_may_set_keys_imports_them(console: Client) -> None:
    link = reverse("admin:migration_authorizationkey_import")
    viewer = Client()
    viewer.force_login(given.person("viewer", "migration.view_authorizationkey"))

    assert link in console.get(reverse(LIST)).content.decode()
    assert link not in viewer.get(reverse(LIST)).content.decode()
    assert viewer.get(link).status_code == 403
    assert send(viewer, f"CS-1,{SECRET}", apply="on").status_code == 403
