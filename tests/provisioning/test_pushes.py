"""Webhooks: entered by their nodes, signed under every name, retried, given up visibly, each apart from the others."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from pytest_django import Settings

from inventory.errors import NotPermittedError, TransitionRefusedError
from inventory.models import SecurityEvent
from provisioning.models import PoolPush, PoolWebhook
from provisioning.pools import pushes, webhooks
from provisioning.pools.choices import PushState
from tests.admin import given
from tests.provisioning.receiver import Receiver, listening
from tests.provisioning.test_contract_pool import said
from tests.provisioning.world import EMAID, PCID, Speaker, World, der
from tests.support import OPERATOR

OEM_EVENTS = ["oem.contract.created", "oem.contract.updated", "oem.contract.deleted"]
MO_EVENTS = ["mo.contract.created.sent.to.oem", "mo.contract.rejected.by.oem", "mo.prov.cert.deleted"]


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    """A receiver whose address may be called."""
    with listening() as made:
        allow(settings, made.origin)
        yield made


def allow(settings: Settings, *origins: str, private: bool = True) -> None:
    given = {"pools_enabled": True, "pool_push_allowed": list(origins), "pool_push_private": private}
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update=given)


def enter(speaker: Speaker, url: str, events: list[str]) -> dict[str, Any]:
    answer = speaker.post("webhook/endpoints", {"url": url, "enabledEvents": events})
    assert answer.status_code == 201, answer.content
    made: dict[str, Any] = json.loads(answer.content)
    return made


def serve(now: datetime | None = None) -> int:
    """Everything that is due, in this thread."""
    moment, tried = now or datetime.now(UTC), 0
    while (held := pushes.hold(moment)) is not None:
        tried += pushes.serve(held, lambda: moment)
    return tried


def test_the_manufacturer_is_told_of_each_contract_under_all_signatures(world: World, receiver: Receiver) -> None:
    secret = enter(world.oem, receiver.url, OEM_EVENTS)["secret"]
    world.car_in_pool()
    contract = world.published()
    world.published(days=800)
    world.mo.delete(f"ccp/signedContractData/{EMAID}")

    assert serve() == 3

    told = [json.loads(one.body) for one in receiver.received]
    assert [one["eventType"] for one in told] == OEM_EVENTS
    assert told[0]["payload"] == {
        "emaid": EMAID,
        "pcid": PCID,
        "contractCert": der(contract.certificate),
        "signatureAlgorithm": "secp256r1",
        "cpsSignerRootFingerprint": world.roots["V2G"].fingerprint,
        "cpsSignerRootCommonName": "V2G Root",
    }
    for one in receiver.received:
        digest = hmac.new(secret.encode(), one.body, hashlib.sha256).hexdigest()
        assert one.path == "/events"
        assert one.headers["payload-signature"] == digest
        assert one.headers["x-hubject-signature"] == one.headers["x-operator-signature"] == f"sha256={digest}"
    assert set(PoolPush.objects.values_list("state", flat=True)) == {PushState.DELIVERED}


def test_the_operator_hears_what_became_of_it(world: World, receiver: Receiver) -> None:
    enter(world.oem, receiver.url, OEM_EVENTS)
    enter(world.mo, receiver.url, MO_EVENTS)
    world.car_in_pool()
    world.published()
    assert serve() == 2
    receiver.statuses = [400]
    world.published(days=800)
    serve()
    world.oem.delete(f"oem/provCerts/{PCID}")
    serve()

    told = [json.loads(one.body)["eventType"] for one in receiver.received]

    assert told[:4] == [
        "oem.contract.created",
        "mo.contract.created.sent.to.oem",
        "oem.contract.updated",
        "mo.contract.rejected.by.oem",
    ]
    assert set(told[4:]) == {"mo.prov.cert.deleted", "oem.contract.deleted"}
    (refused,) = PoolPush.objects.filter(state=PushState.DEAD)
    assert (refused.event_type, refused.status) == ("oem.contract.updated", 400)


def test_nobody_else_is_told(world: World, receiver: Receiver) -> None:
    enter(world.other_oem, receiver.url, OEM_EVENTS)
    enter(world.other_mo, receiver.url, MO_EVENTS)
    world.car_in_pool()
    world.published()

    assert serve() == 0


def test_everybody_who_asked_is_told_of_roots(world: World, receiver: Receiver) -> None:
    enter(world.cpo, receiver.url, ["root.cert.added", "root.cert.revoked"])
    from provisioning.pools import roots
    from tests.pki.material import Issuer

    root = world.add_root(Issuer("Another Root"), "MO")
    roots.remove(root=root, actor=OPERATOR, reason="Not needed")

    serve()

    added, removed = (json.loads(one.body) for one in receiver.received)
    assert (added["eventType"], removed["eventType"]) == ("root.cert.added", "root.cert.revoked")
    assert added["payload"]["rootCertificateId"] == str(root.public_id)
    assert added["payload"]["fingerprintSHA256"] == root.fingerprint


@pytest.mark.parametrize("failure", [500, 503, 401, 404, 302])
def test_an_outage_of_a_day_loses_nothing(world: World, receiver: Receiver, failure: int) -> None:
    enter(world.oem, receiver.url, OEM_EVENTS)
    world.car_in_pool()
    world.published()
    receiver.content = b"<html>Bad gateway</html>"
    now = datetime.now(UTC)
    receiver.statuses = [failure] * 100
    moment = now
    while moment < now + timedelta(hours=24):
        serve(moment)
        moment += timedelta(minutes=10)
    tries = len(receiver.received)
    receiver.statuses = []
    serve(moment + timedelta(hours=1))

    push = PoolPush.objects.get()
    assert 10 <= tries <= 35
    assert push.state == PushState.DELIVERED
    assert {one.body for one in receiver.received} == {bytes(push.body)}


def test_what_never_arrives_is_given_up_told_and_can_be_sent_again(world: World, receiver: Receiver) -> None:
    enter(world.oem, receiver.url, OEM_EVENTS)
    world.car_in_pool()
    world.published()
    receiver.statuses = [500] * 2
    now = datetime.now(UTC)
    serve(now)
    serve(now + timedelta(days=4))
    push = PoolPush.objects.get()
    assert (push.state, push.detail) == (PushState.DEAD, "It answered 500.")
    assert "sent again" in SecurityEvent.objects.get(type="PoolPushGivenUp").message

    with pytest.raises(NotPermittedError):
        pushes.send_again(push=push, actor=actor_without(), reason="It is back")
    pushes.send_again(push=push, actor=OPERATOR, reason="It is back")
    serve()

    assert json.loads(receiver.received[-1].body)["eventId"] == str(push.event_id)
    assert PoolPush.objects.get().state == PushState.DELIVERED
    with pytest.raises(TransitionRefusedError):
        pushes.send_again(push=push, actor=OPERATOR, reason="Once more")


def actor_without() -> Any:
    from inventory.actors import Actor

    return Actor.person(given.person("nobody"))


def test_a_webhook_that_is_dead_holds_up_no_other(world: World, receiver: Receiver, settings: Settings) -> None:
    with listening() as gone:
        port = gone.origin
    allow(settings, receiver.origin, port)
    enter(world.oem, f"{port}/dead", OEM_EVENTS)
    enter(world.oem, receiver.url, OEM_EVENTS)
    world.car_in_pool()
    world.published()
    world.published(days=800)

    serve()

    assert len(receiver.received) == 2
    dead = PoolWebhook.objects.get(url__endswith="dead")
    assert (dead.failures, dead.paused_until is not None) == (1, True)
    assert "cannot be reached" in PoolPush.objects.filter(webhook=dead).order_by("next_run_at").last().detail  # type: ignore[union-attr]  # there are two


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://elsewhere.example/x", "is not among the hosts"),
        ("ftp://127.0.0.1/x", "must be an address"),
        ("https://user@127.0.0.1/x", "no user"),
        ("https://127.0.0.1/x?y=1", "no query"),
        ("https://", "must be an address"),
        ("http://[", "must be an address"),
        (5, "must be an address"),
        (None, "must be an address"),
    ],
)
def test_an_address_that_may_not_be_called_is_not_taken(
    world: World, settings: Settings, url: object, expected: str
) -> None:
    allow(settings, "https://127.0.0.1")

    answer = world.oem.post("webhook/endpoints", {"url": url, "enabledEvents": OEM_EVENTS})

    assert expected in said(answer, 400)


def test_an_address_inside_our_networks_is_not_called(world: World, receiver: Receiver, settings: Settings) -> None:
    enter(world.oem, receiver.url, OEM_EVENTS)
    allow(settings, receiver.origin, private=False)
    world.car_in_pool()
    world.published()

    serve()

    assert receiver.received == []
    assert "no public address" in PoolPush.objects.get().detail


def test_a_host_that_is_no_longer_allowed_is_not_called(world: World, receiver: Receiver, settings: Settings) -> None:
    enter(world.oem, receiver.url, OEM_EVENTS)
    allow(settings)
    world.car_in_pool()
    world.published()

    serve()

    assert receiver.received == []
    assert "is not among the hosts" in PoolPush.objects.get().detail


def test_webhooks_are_managed_by_their_node_alone(world: World, receiver: Receiver) -> None:
    made = enter(world.oem, receiver.url, [*OEM_EVENTS, "mo.prov.cert.factory.reset"])
    path = f"webhook/endpoints/{made['id']}"
    assert (made["status"], made["userRole"], made["wmis"]) == ("enabled", "OEM", ["WVW"])
    assert made["enabledEvents"] == made["events"] == sorted(OEM_EVENTS)

    (shown,) = json.loads(world.oem.get("webhook/endpoints").content)
    assert "secret" not in shown
    for answer in (world.mo.get(path), world.mo.put(path, {"status": "disabled"}), world.mo.delete(path)):
        assert said(answer, 404)
    changed = json.loads(world.oem.put(path, {"url": receiver.url, "events": ["root.cert.added"]}).content)
    assert changed["enabledEvents"] == ["root.cert.added"]
    assert json.loads(world.oem.put(path, {"status": "disabled"}).content)["status"] == "disabled"
    assert world.oem.delete(path).status_code == 200
    assert said(world.oem.get(path), 404)
    history = PoolWebhook.history.all()
    assert [row.actor for row in history] == ["pool:Car Maker"] * 4
    assert not any(hasattr(row, "sealed_secret") for row in history)


@pytest.mark.parametrize("events", [[], None, "root.cert.added", ["no.such.event"], [5]])
def test_events_that_are_none_are_refused(world: World, receiver: Receiver, events: object) -> None:
    answer = world.oem.post("webhook/endpoints", {"url": receiver.url, "enabledEvents": events})

    assert said(answer, 400).startswith("enabledEvents : must be some of root.cert.added")


def test_a_secret_under_another_key_sends_nothing_and_says_so(
    world: World, receiver: Receiver, settings: Settings
) -> None:
    enter(world.oem, receiver.url, OEM_EVENTS)
    PoolWebhook.objects.update(sealed_secret=os.urandom(92))
    world.car_in_pool()
    world.published()

    serve()

    assert receiver.received == []
    assert "cannot be decrypted" in PoolPush.objects.get().detail


def test_a_webhook_is_switched_off_by_the_administration(world: World, receiver: Receiver) -> None:
    enter(world.oem, receiver.url, OEM_EVENTS)
    webhook = PoolWebhook.objects.get()
    world.car_in_pool()
    world.published()

    webhooks.switch(webhook=webhook, enabled=False, actor=OPERATOR, reason="It floods us")
    assert serve() == 0
    webhooks.switch(webhook=webhook, enabled=True, actor=OPERATOR, reason="It is mended")
    assert serve() == 1


def test_what_waits_for_a_deleted_webhook_is_given_up(world: World, receiver: Receiver) -> None:
    made = enter(world.oem, receiver.url, OEM_EVENTS)
    world.car_in_pool()
    world.published()
    world.oem.delete(f"webhook/endpoints/{made['id']}")

    pushes.forget(datetime.now(UTC))

    assert PoolPush.objects.get().state == PushState.DEAD


def test_the_duty_serves_webhooks_beside_the_worker(shared_world: World, receiver: Receiver) -> None:
    came = threading.Event()
    receiver.before_answer = came.set
    enter(shared_world.oem, receiver.url, OEM_EVENTS)
    shared_world.car_in_pool()
    shared_world.published()

    assert pushes.push(datetime.now(UTC)) == 1
    assert came.wait(30)
    for thread in threading.enumerate():
        if thread.name == "pool-push":
            thread.join(30)

    assert PoolPush.objects.get().state == PushState.DELIVERED


KILLED = """
import django, sys
django.setup()
from django.conf import settings
settings.CONFIGURATION = settings.CONFIGURATION.model_copy(
    update={"pool_push_allowed": [sys.argv[1]], "pool_push_private": True})
from django.utils import timezone
from provisioning.pools import pushes
pushes.serve(pushes.hold(timezone.now()), timezone.now)
"""


def test_a_worker_that_is_killed_in_the_call_leaves_a_push_that_goes_on(
    shared_world: World, receiver: Receiver
) -> None:
    came, hang = threading.Event(), threading.Event()

    def wait() -> None:
        came.set()
        hang.wait(60)

    receiver.before_answer = wait
    enter(shared_world.oem, receiver.url, OEM_EVENTS)
    shared_world.car_in_pool()
    shared_world.published()
    values = connection.settings_dict
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "bfcerts.settings",
        "DATABASE_URL": f"postgresql://{values['USER']}:{values['PASSWORD']}@/{values['NAME']}?host={values['HOST']}",
        "BFCERTS_SECRET_KEY": "x" * 50,
        "BFCERTS_CREDENTIAL_KEY": django_settings.CONFIGURATION.credential_secret().decode(),
    }
    with subprocess.Popen([sys.executable, "-c", KILLED, receiver.origin], env=environment) as worker:
        assert came.wait(60)
        worker.send_signal(signal.SIGKILL)
    receiver.before_answer = None
    hang.set()

    push = PoolPush.objects.get()
    assert (push.state, push.attempts) == (PushState.WAITING, 1)
    assert serve() == 0
    assert serve(datetime.now(UTC) + pushes.LEASE * 2) == 1
    push.refresh_from_db()
    assert (push.state, push.attempts) == (PushState.DELIVERED, 2)
    assert len({json.loads(one.body)["eventId"] for one in receiver.received}) == 1
