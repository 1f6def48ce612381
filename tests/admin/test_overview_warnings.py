"""The overview's latest warnings: one line for each charger and kind, so that one flood hides nobody else."""

from html import unescape

import pytest
from django.test import Client

from tests.admin import given
from tests.support import charger

pytestmark = pytest.mark.django_db


def test_a_charger_that_is_refused_again_and_again_is_one_line_with_a_count(console: Client) -> None:
    given.security_event(charger("CS-2"), type="InvalidMessages", message="CS-2 sent nonsense.")
    refused = charger("CS-1")
    for number in range(20):
        count = {"count": 3} if number else {}
        given.security_event(refused, severity="critical", message=f"CS-1 was refused, {number}.", payload=count)
    given.security_event(station_id="CS-3", message="CS-3 was refused.")

    answer = console.get("/admin/")

    lines = [(warned.event.message, warned.times) for warned in answer.context["security_events"]]
    assert lines == [("CS-3 was refused.", 1), ("CS-1 was refused, 19.", 58), ("CS-2 sent nonsense.", 1)]
    assert "58 times, last" in unescape(answer.content.decode())
