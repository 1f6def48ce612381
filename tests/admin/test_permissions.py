"""Who may see and do what in the console; every model and every verb inherits these tests."""

from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from bfcerts.console.modeladmin import ReadOnlyAdmin
from inventory.actors import Actor
from inventory.admin.actions import ActionsMixin
from inventory.admin.history import HistoryMixin
from inventory.models import DomainEvent, ManagedIdentity, Plan
from inventory.services import actions, job_actions
from tests.admin import given
from tests.support import charger

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
ACTING: dict[type[Model], ActionsMixin] = {
    model: shown for model in MODELS if isinstance(shown := admin.site._registry[model], ActionsMixin)
}
VERBS = [(model, verb.name) for model, shown in ACTING.items() for verb in shown.verbs]


def address(model: type[Model], page: str, *arguments: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def pages(model: type[Model], instance: Model) -> list[str]:
    """Every page that shows something of a model."""
    found = [address(model, "changelist"), address(model, "change", instance.pk)]
    if isinstance(admin.site._registry[model], HistoryMixin):
        found.append(address(model, "history", instance.pk))
    return found


def signed_in(*permissions: str) -> Client:
    client = Client()
    client.force_login(given.person("somebody", *permissions))
    return client


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_whoever_is_not_signed_in_is_sent_to_the_sign_in_page(model: type[Model]) -> None:
    for page in pages(model, given.MAKERS[model]()):
        response = Client().get(page)
        assert (response.status_code, response.headers["Location"].split("?")[0]) == (302, "/admin/login/")


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_whoever_lacks_the_permission_to_view_sees_nothing(model: type[Model]) -> None:
    own = f"{model._meta.app_label}.view_{model._meta.model_name}"
    others = [permission for permission in given.view_permissions() if permission != own]
    somebody = signed_in(*others)

    for page in pages(model, given.MAKERS[model]()):
        assert somebody.get(page).status_code == 403, page
    assert f'href="{address(model, "changelist")}"' not in somebody.get("/admin/").content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_whoever_may_view_sees_and_changes_nothing(model: type[Model]) -> None:
    instance = given.MAKERS[model]()
    viewer = signed_in(f"{model._meta.app_label}.view_{model._meta.model_name}")

    for page in pages(model, instance):
        assert viewer.get(page).status_code == 200, page
    assert viewer.get(address(model, "add")).status_code == 403
    assert viewer.post(address(model, "add"), {}).status_code == 403
    if model is ManagedIdentity:
        assert viewer.post(address(model, "edit", instance.pk), {"name": "x", "reason": "x"}).status_code == 403
    elif not isinstance(admin.site._registry[model], ReadOnlyAdmin):
        assert viewer.post(address(model, "change", instance.pk), {"name": "x"}).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_nobody_deletes_anything(model: type[Model]) -> None:
    instance = given.MAKERS[model]()
    client = Client()
    client.force_login(given.administrator())

    assert client.post(address(model, "delete", instance.pk), {"post": "yes"}).status_code == 403
    bulk = {"action": "delete_selected", "_selected_action": instance.pk, "post": "yes"}
    client.post(address(model, "changelist"), bulk)
    assert type(instance)._default_manager.filter(pk=instance.pk).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("model", [m for m in MODELS if isinstance(admin.site._registry[m], ReadOnlyAdmin)])
def test_what_only_the_system_writes_has_no_form(model: type[Model]) -> None:
    instance = given.MAKERS[model]()
    client = Client()
    client.force_login(given.administrator())

    # Plans are made on pages of their own, and the usual address leads there.
    assert client.get(address(model, "add")).status_code == (302 if model is Plan else 403)
    page = client.get(address(model, "change", instance.pk)).content.decode()
    assert 'name="_save"' not in page


FILLED_IN = {
    "register": {"certificate_pem": "x", "state": "issued"},
    "provision": {"purpose": "iso15118_evse_leaf", "path": "est"},
    "confirm": {"prerequisite": "account_ready"},
    "record_outcome": {"system": "hubject", "kind": "request", "outcome": "in_progress", "summary": "Taken."},
}
"""What some verbs ask for that means something else at others."""


@pytest.mark.django_db
@pytest.mark.parametrize(("model", "verb"), VERBS, ids=lambda value: getattr(value, "__name__", value))
def test_a_verb_is_refused_without_its_permission(model: type[Model], verb: str) -> None:
    instance = given.MAKERS[model]()
    viewer = signed_in(*given.view_permissions())
    url = address(model, "do", instance.pk, verb)

    page = viewer.get(url)
    if page.status_code == 404:  # enable and disable are offered one at a time
        assert verb in ("enable", "disable")
        return
    assert 'data-testid="confirm"' not in page.content.decode()
    before = DomainEvent.objects.count()
    answer = viewer.post(
        url,
        {
            "reason": "I want to",
            "idempotency_key": "k",
            "version": page.context["version"],
            "purpose": "charger_identity",
            "csr_pem": "",
            "kind": "OnIdle",
            "revocation_reason": "unspecified",
            "identifiers": "CS-1",
            "cohort": given.cohort().pk,
            "threshold_percent": 95,
            "concurrency": 1,
            "rate_per_minute": 1,
            "failure_limit": 1,
            "deadline": "1 day",
            "check_interval": "1 day",
            "anchors": "1",
            "family": 1,
            "further_failures": 1,
            "why": "exposure",
            "cause": "lost",
            "hours": "1",
            "secret": "0123456789abcdef",
            "source": "set",
            "digest": "0" * 64,
            "capability": "get_log",
            "supported": "yes",
            "path": "two_slots_at_our_door",
            "identifier": "DE8AB",
            "issuing_authority": "Registry",
            "label": "backend",
            "days": 1,
            "token": "x" * 40,
            "certificate_pem": given.certificate_for("CS-1"),
            **FILLED_IN.get(verb, {}),
        },
    )

    assert answer.status_code in (403, 409), answer.content
    assert answer.status_code == 403 or 'data-testid="refusal"' in answer.content.decode()
    assert DomainEvent.objects.count() == before


@pytest.mark.django_db
@pytest.mark.parametrize(("model", "verb"), VERBS, ids=lambda value: getattr(value, "__name__", value))
def test_a_verb_cannot_be_reached_by_whoever_may_not_view_its_object(model: type[Model], verb: str) -> None:
    instance = given.MAKERS[model]()
    verbs_only = signed_in(
        "inventory.revoke_certificaterecord", "inventory.command_managedidentity", "migration.set_authorizationkey"
    )

    url = address(model, "do", instance.pk, verb)

    assert verbs_only.get(url).status_code == 403
    assert verbs_only.post(url, {"reason": "x", "idempotency_key": "k"}).status_code == 403


@pytest.mark.django_db
def test_every_verb_that_the_services_offer_has_its_page() -> None:
    actor = Actor.person(given.administrator())
    identity = charger()
    record = given.active_record(identity)
    offered = {
        "managedidentity": {item.verb for item in actions.for_identity(identity, actor, record.requested_at)},
        "certificaterecord": {item.verb for item in actions.for_record(record, actor, record.requested_at)},
        "certificatejob": {item.verb for item in job_actions.for_job(given.job(charger()), actor)},
    }
    for model, shown in ACTING.items():
        verbs = {verb.name for verb in shown.verbs}
        assert offered.get(str(model._meta.model_name), set()) <= verbs


@pytest.mark.django_db
def test_the_page_of_an_identity_shows_only_what_may_be_seen() -> None:
    identity = charger("CS-1")
    record = given.active_record(identity)
    given.session(identity, certificate_fingerprint=record.fingerprint)
    given.domain_event(identity, reason="Because of the summer")
    somebody = signed_in("inventory.view_managedidentity")

    page = unescape(somebody.get(address(ManagedIdentity, "change", identity.pk)).content.decode())

    assert "CS-1" in page
    for hidden in (
        record.fingerprint,
        "Because of the summer",
        "Session now",
        "10.1.2.3",
        "AuthorizationKey (Profile 2)",
    ):
        assert hidden not in page


@pytest.mark.django_db
def test_queues_schedules_and_tokens_have_no_page() -> None:
    labels = {model._meta.app_label for model in MODELS}
    assert not labels & {"django_q", "knox"}
