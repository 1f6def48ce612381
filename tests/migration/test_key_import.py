"""The keys that a fleet uses already come in from a file, which is looked at as a whole first."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command

from inventory.actors import Actor
from inventory.errors import InvalidInputError, NotPermittedError, TransitionRefusedError
from inventory.models import SecurityEvent
from migration.models import AuthorizationKey
from migration.services import authorization_keys, key_import
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEADER = "charger,secret,created_at,last_success_at"
SECRET, OTHER = "a-secret-of-20-chars", "b-secret-of-20-chars"


def look(*lines: str) -> key_import.Outcome:
    return key_import.dry_run(text="\n".join([HEADER, *lines]), actor=OPERATOR, now=NOW)


def run(*lines: str) -> key_import.Outcome:
    return key_import.run(text="\n".join([HEADER, *lines]), actor=OPERATOR, reason="taken over", now=NOW)


def test_keys_come_in_with_their_age_and_last_success() -> None:
    charger("CS-1")
    charger("CS-2")
    lines = (f"CS-1,{SECRET},2024-01-31T12:00:00Z,2026-05-31T08:00:00+02:00", f"CS-2,{OTHER},,")

    assert (look(*lines).new, AuthorizationKey.objects.count()) == (2, 0)
    outcome = run(*lines)

    assert (outcome.lines, outcome.new, outcome.unchanged, outcome.problems) == (2, 2, 0, [])
    first, second = AuthorizationKey.objects.order_by("identity__authoritative_identifier")
    assert first.created_at == datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert first.last_success_at == datetime(2026, 5, 31, 6, tzinfo=UTC)
    assert (second.created_at, second.last_success_at, second.source) == (NOW, None, "imported")
    assert first.history.latest().history_change_reason == "taken over"


def test_the_same_file_again_changes_nothing() -> None:
    charger("CS-1")
    run(f"CS-1,{SECRET},,")

    outcome = run(f"CS-1,{SECRET},,")

    assert (outcome.new, outcome.unchanged) == (0, 1)
    assert AuthorizationKey.objects.count() == 1


def test_every_problem_is_told_by_its_line_and_without_the_secret_and_nothing_is_imported() -> None:
    for number in (1, 2, 3):
        charger(f"CS-{number}")
    authorization_keys.set_initial(
        identity=charger("CS-9"), secret="quite-another-secret", actor=OPERATOR, reason="x", now=NOW
    )

    outcome = run(
        f"CS-1,{SECRET},,",
        "CS-2,tooshort,,",
        f"CS-7,{SECRET},,",
        f",{OTHER},,",
        f"CS-3,{OTHER},yesterday,2030-01-01T00:00:00Z",
        f"CS-1,{OTHER},,",
        f"CS-9,{OTHER},,",
        f"CS-3,{OTHER}",
        f"CS-3,{OTHER},0001-01-01T00:00:00+14:00,",
    )

    assert [str(problem) for problem in outcome.problems] == [
        "Line 3: An AuthorizationKey has 16 to 40 printable ASCII characters.",
        "Line 4: There is no charger 'CS-7' in the inventory; add it first.",
        "Line 5: No charger is named.",
        "Line 6: created_at must be a time up to now, as 2025-01-31T12:00:00Z, or empty.",
        "Line 6: last_success_at must be a time up to now, as 2025-01-31T12:00:00Z, or empty.",
        "Line 7: CS-1 is in line 2 already; keep one of them.",
        "Line 8: CS-9 has another key here, which an import never replaces. Set this one by hand if it is right.",
        "Line 9: 2 columns instead of 4.",
        "Line 10: created_at must be a time up to now, as 2025-01-31T12:00:00Z, or empty.",
    ]
    assert AuthorizationKey.objects.filter(source="imported").count() == 0
    said = " ".join(map(str, outcome.problems))
    assert all(secret not in said + repr(outcome) for secret in (SECRET, OTHER, "tooshort"))


def test_shared_keys_are_taken_over_counted_and_told() -> None:
    charger("CS-1")
    charger("CS-2")
    lines = (f"CS-1,{SECRET},,", f"CS-2,{SECRET.encode().hex()},,")

    assert look(*lines).shared == 1
    run(*lines)
    assert SecurityEvent.objects.filter(type="SharedAuthorizationKey").count() == 1


@pytest.mark.parametrize(
    "text", ["", "charger", "charger,secret,colour", "charger,secret,secret", 'charger,secret\nCS-1,"open']
)
def test_what_is_no_such_file_is_refused_as_a_whole(text: str) -> None:
    with pytest.raises(InvalidInputError):
        key_import.dry_run(text=text, actor=OPERATOR, now=NOW)


def test_only_who_may_set_keys_may_import_them_or_try() -> None:
    person = Actor.person(User.objects.create_user("maria"))

    with pytest.raises(NotPermittedError):
        key_import.dry_run(text=HEADER, actor=person)
    with pytest.raises(NotPermittedError):
        key_import.run(text=HEADER, actor=person, reason="x")
    with pytest.raises(InvalidInputError, match="A reason is needed"):
        key_import.run(text=HEADER, actor=OPERATOR, reason=" ")


def command(file: Path, *arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("import_authorization_keys", str(file), "--as", "maria", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_the_command_looks_first_and_imports_when_told_to(tmp_path: Path) -> None:
    user = User.objects.create_user("maria")
    user.user_permissions.add(Permission.objects.get(codename="set_authorizationkey"))
    charger("CS-1")
    file = tmp_path / "keys.csv"
    file.write_text(f"\ufeff{HEADER}\r\nCS-1,{SECRET},,\r\n", encoding="utf-8")

    out, _ = command(file)
    assert out.startswith("1 line: 1 key would be imported")
    assert AuthorizationKey.objects.count() == 0
    out, _ = command(file, "--apply", "--reason", "taken over")
    assert out.startswith("1 line: 1 key imported")
    assert AuthorizationKey.objects.get().history.latest().actor == "person:maria"
    assert SECRET not in out


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    user = User.objects.create_superuser("maria")
    file = tmp_path / "keys.csv"
    file.write_text(f"{HEADER}\nCS-1,short,,\n")
    with pytest.raises(CommandError, match="1 problems; nothing was imported"):
        command(file, "--apply", "--reason", "x")
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        command(tmp_path / "none.csv")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CommandError, match="is not UTF-8"):
        command(file)
    User.objects.filter(pk=user.pk).update(username="mario")
    with pytest.raises(CommandError, match="There is no user 'maria'"):
        command(file)


def test_a_key_that_was_set_meanwhile_is_not_replaced() -> None:
    identity = charger("CS-1")
    authorization_keys.set_initial(identity=identity, secret=OTHER, actor=OPERATOR, reason="x", now=NOW)

    with pytest.raises(TransitionRefusedError, match="never replaces"):
        authorization_keys.import_existing(
            identity=identity, secret=SECRET, actor=OPERATOR, reason="x", now=NOW + timedelta(days=1)
        )
