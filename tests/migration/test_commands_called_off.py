"""Commands that were sent and then called off, as their connection breaks: nobody gets them again."""

import pytest

from bfcerts.ocpp.gateway import sessions
from bfcerts.ocpp.gateway.commands import Command, Wish, claim
from bfcerts.ocpp.gateway.sessions import Departure
from bfcerts.ocpp.models import OutboxCommand, StationSession
from inventory.models import CertificateJob
from migration.services import authorization_keys, driving, rollouts
from tests.migration import rotating
from tests.migration.fleet import Fleet, Station, capable_family, cohort, roll_out
from tests.support import OPERATOR, ControlPlane

pytestmark = pytest.mark.django_db

SET_ON_SITE = "set-on-site-20-chars"


def test_a_key_that_was_revoked_on_its_way_never_locks_its_charger_out(plane: ControlPlane) -> None:
    made = rotating.station(plane)
    rotating.rotate(made)
    command = rotating.command_of(made)

    authorization_keys.set_initial(
        identity=made.identity, secret=SET_ON_SITE, actor=OPERATOR, reason="test", force=True, now=plane.clock()
    )
    made.password = SET_ON_SITE

    plane.clock.advance(minutes=1)
    assert made.connect()
    assert made.next_command() is None
    command.refresh_from_db()
    assert (command.state, command.secret_payload) == ("cancelled", None)
    assert rotating.states(made) == ["revoked", "revoked", "active"]


def test_a_cut_over_of_a_charger_in_quarantine_is_not_sent_to_it_again(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    (station,) = fleet.add(1, family=capable_family())
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity]))
    asked = until_it_is_cut_over(station)
    sent = sent_to(station)
    assert sent is not None
    assert sent.id == asked.pk

    rollouts.quarantine(case=station.case, actor=OPERATOR, reason="stop it", now=plane.clock())
    session = session_of(station)
    sessions.close([Departure(session.pk, session.station_id, "the connection was lost", 1006, plane.clock())])
    station.connect(2)

    again = sent_to(station)
    assert again is None or again.id != asked.pk
    asked.refresh_from_db()
    assert (asked.state, station.case.state) == ("cancelled", "quarantine")
    assert CertificateJob.objects.get(action="cut_over").state == "cancelled"


def until_it_is_cut_over(station: Station) -> OutboxCommand:
    """The first command of its cut-over, waiting to be sent."""
    for _ in range(40):
        driving.drive(station.plane.clock())
        station.plane.work()
        if station.case.state == "pending_activation":
            return OutboxCommand.objects.filter(state="queued").earliest("pk")
        station.serve()
        station.plane.clock.advance(seconds=10)
    raise AssertionError(f"it is {station.case.state}: {station.case.why}")


def session_of(station: Station) -> StationSession:
    return StationSession.objects.get(station_id=station.identity.authoritative_identifier, closed_at__isnull=True)


def sent_to(station: Station) -> Command | None:
    """What the gateway sends next."""
    session = session_of(station)
    (command,) = claim([Wish(session.station_id, session.pk, station.plane.clock())])
    return command
