"""Who may do what over the API; every route inherits these tests."""

from typing import Any

import pytest
from django.db.models import Model
from django.urls import reverse
from rest_framework.test import APIClient

from inventory.models import DomainEvent
from migration.models import MigrationCase
from tests.admin import given
from tests.api.routes import LISTS, ROUTES, VERBS, Route
from tests.provisioning import given as provisioning_given
from tests.provisioning import pool_given
from tests.support import charger
from tests.trustanchors import given as anchor_given

pytestmark = pytest.mark.django_db

OPERATIONS = (
    "GET artifacts-content",
    "GET artifacts-detail",
    "GET artifacts-list",
    "GET authorization-keys-detail",
    "GET authorization-keys-list",
    "GET bundle-installations-detail",
    "GET bundle-installations-history",
    "GET bundle-installations-list",
    "GET bundle-rollouts-available-actions",
    "GET bundle-rollouts-detail",
    "GET bundle-rollouts-history",
    "GET bundle-rollouts-list",
    "GET certificate-jobs-available-actions",
    "GET certificate-jobs-detail",
    "GET certificate-jobs-history",
    "GET certificate-jobs-list",
    "GET certificate-records-available-actions",
    "GET certificate-records-detail",
    "GET certificate-records-history",
    "GET certificate-records-list",
    "GET certificate-records-policy",
    "GET charger-families-capabilities",
    "GET charger-families-detail",
    "GET charger-families-history",
    "GET charger-families-list",
    "GET cohorts-detail",
    "GET cohorts-history",
    "GET cohorts-list",
    "GET domain-events-detail",
    "GET domain-events-list",
    "GET evidence-detail",
    "GET evidence-list",
    "GET external-references-detail",
    "GET external-references-list",
    "GET identities-available-actions",
    "GET identities-detail",
    "GET identities-history",
    "GET identities-list",
    "GET identities-policy",
    "GET identities-upstream",
    "GET issuing-authorities-detail",
    "GET issuing-authorities-history",
    "GET issuing-authorities-list",
    "GET known-default-keys-detail",
    "GET known-default-keys-list",
    "GET lifecycle-policies-detail",
    "GET lifecycle-policies-history",
    "GET lifecycle-policies-list",
    "GET migration-blackouts-detail",
    "GET migration-blackouts-history",
    "GET migration-blackouts-list",
    "GET migration-breakers-detail",
    "GET migration-breakers-list",
    "GET migration-cases-detail",
    "GET migration-cases-forecast",
    "GET migration-cases-list",
    "GET migration-cases-why",
    "GET migration-rollouts-detail",
    "GET migration-rollouts-list",
    "GET migration-waves-detail",
    "GET migration-waves-list",
    "GET migration-windows-detail",
    "GET migration-windows-history",
    "GET migration-windows-list",
    "GET ownership-decisions-detail",
    "GET ownership-decisions-history",
    "GET ownership-decisions-list",
    "GET ownership-decisions-matrix",
    "GET plan-targets-detail",
    "GET plan-targets-list",
    "GET plans-detail",
    "GET plans-history",
    "GET plans-kinds",
    "GET plans-list",
    "GET pool-changes-detail",
    "GET pool-changes-list",
    "GET pool-contracts-detail",
    "GET pool-contracts-list",
    "GET pool-credentials-detail",
    "GET pool-credentials-list",
    "GET pool-nodes-detail",
    "GET pool-nodes-list",
    "GET pool-provisioning-certificates-detail",
    "GET pool-provisioning-certificates-list",
    "GET pool-pushes-detail",
    "GET pool-pushes-list",
    "GET pool-roots-detail",
    "GET pool-roots-list",
    "GET pool-webhooks-detail",
    "GET pool-webhooks-list",
    "GET provisioning-cases-available-actions",
    "GET provisioning-cases-detail",
    "GET provisioning-cases-history",
    "GET provisioning-cases-list",
    "GET provisioning-evidence-detail",
    "GET provisioning-evidence-list",
    "GET recovery-doors-detail",
    "GET recovery-doors-list",
    "GET security-events-detail",
    "GET security-events-list",
    "GET setbacks-available-actions",
    "GET setbacks-detail",
    "GET setbacks-list",
    "GET station-commands-detail",
    "GET station-commands-list",
    "GET station-logs-detail",
    "GET station-logs-list",
    "GET station-questions-detail",
    "GET station-questions-list",
    "GET station-sessions-detail",
    "GET station-sessions-list",
    "GET trust-anchor-bundles-available-actions",
    "GET trust-anchor-bundles-detail",
    "GET trust-anchor-bundles-history",
    "GET trust-anchor-bundles-list",
    "GET trust-anchors-detail",
    "GET trust-anchors-history",
    "GET trust-anchors-list",
    "GET upstreams-applying",
    "GET upstreams-detail",
    "GET upstreams-history",
    "GET upstreams-list",
    "PATCH charger-families-detail",
    "PATCH cohorts-detail",
    "PATCH identities-detail",
    "PATCH lifecycle-policies-detail",
    "PATCH migration-blackouts-detail",
    "PATCH migration-windows-detail",
    "PATCH ownership-decisions-detail",
    "PATCH upstreams-detail",
    "POST authorization-keys-flag",
    "POST authorization-keys-import",
    "POST authorization-keys-list",
    "POST authorization-keys-revoke",
    "POST authorization-keys-rotate",
    "POST bundle-installations-retry",
    "POST bundle-rollouts-allow-family",
    "POST bundle-rollouts-pause",
    "POST bundle-rollouts-resume",
    "POST bundle-rollouts-retry-failed",
    "POST bundle-rollouts-roll-back",
    "POST bundle-rollouts-stop",
    "POST certificate-jobs-cancel",
    "POST certificate-jobs-run-now",
    "POST certificate-jobs-start-again",
    "POST certificate-records-activate",
    "POST certificate-records-deactivate",
    "POST certificate-records-delete",
    "POST certificate-records-install",
    "POST certificate-records-list",
    "POST certificate-records-reactivate",
    "POST certificate-records-renew",
    "POST certificate-records-revoke",
    "POST charger-families-declare",
    "POST charger-families-list",
    "POST cohorts-add-members",
    "POST cohorts-list",
    "POST cohorts-remove-members",
    "POST identities-cut-over",
    "POST identities-disable",
    "POST identities-enable",
    "POST identities-fetch-security-log",
    "POST identities-install-trust-anchors",
    "POST identities-issue",
    "POST identities-list",
    "POST identities-list-certificates",
    "POST identities-request-csr",
    "POST identities-reset",
    "POST key-paths-approve",
    "POST key-paths-withdraw",
    "POST known-default-keys-list",
    "POST known-default-keys-remove",
    "POST lifecycle-policies-list",
    "POST migration-blackouts-list",
    "POST migration-breakers-close",
    "POST migration-cases-approve-exception",
    "POST migration-cases-cancel",
    "POST migration-cases-quarantine",
    "POST migration-cases-release",
    "POST migration-cases-roll-back",
    "POST migration-rollouts-pause",
    "POST migration-rollouts-resume",
    "POST migration-rollouts-retry-failed",
    "POST migration-rollouts-start-next",
    "POST migration-rollouts-stop",
    "POST migration-waves-roll-back",
    "POST migration-windows-list",
    "POST ownership-decisions-list",
    "POST plans-apply",
    "POST plans-cancel",
    "POST plans-list",
    "POST plans-pause",
    "POST plans-resume",
    "POST plans-stop",
    "POST pool-contracts-block",
    "POST pool-contracts-remove",
    "POST pool-credentials-certificate",
    "POST pool-credentials-list",
    "POST pool-credentials-revoke",
    "POST pool-nodes-close",
    "POST pool-nodes-confirm-identifier",
    "POST pool-nodes-end-identifier",
    "POST pool-nodes-list",
    "POST pool-provisioning-certificates-remove",
    "POST pool-pushes-send-again",
    "POST pool-roots-list",
    "POST pool-roots-remove",
    "POST pool-webhooks-disable",
    "POST pool-webhooks-enable",
    "POST provisioning-cases-block",
    "POST provisioning-cases-cancel",
    "POST provisioning-cases-confirm",
    "POST provisioning-cases-deliver",
    "POST provisioning-cases-list",
    "POST provisioning-cases-retry",
    "POST provisioning-cases-unblock",
    "POST provisioning-evidence-list",
    "POST recovery-doors-close",
    "POST recovery-doors-list",
    "POST recovery-doors-renewal",
    "POST setbacks-try-now",
    "POST trust-anchor-bundles-change-anchors",
    "POST trust-anchor-bundles-list",
    "POST trust-anchor-bundles-release",
    "POST trust-anchor-bundles-withdraw",
    "POST trust-anchors-list",
    "POST upstreams-list",
)


DECIDED = "PATCH ownership-decisions-detail"
SWITCHED = ("PATCH migration-blackouts-detail", "PATCH migration-windows-detail")
"""Entries without a name."""


def address(route: Route, instance: Model) -> str:
    return reverse(f"api:{route.name}", args=[instance.pk] if route.detail else [])


def body_for(route: Route) -> dict[str, Any]:
    """A body that is complete, so that only the permission is missing."""
    identity = charger()
    member = {"identifiers": [identity.authoritative_identifier]}
    key = {"identity": identity.pk, "secret": "0123456789abcdef"}
    needed: dict[str, dict[str, Any]] = {
        "POST identities-list": {"kind": "charger", "authoritative_identifier": "CS-NEW"},
        "POST identities-issue": {"purpose": "charger_identity"},
        "POST certificate-records-list": {
            "identity": identity.pk,
            "purpose": "charger_identity",
            "certificate_pem": given.certificate_for(identity.authoritative_identifier),
        },
        "POST certificate-records-activate": {"evidence": given.seen_in_use(given.active_record(charger())).pk},
        "POST charger-families-list": {"name": "F", "vendor": "V", "model": "M"},
        "POST cohorts-list": {"name": "C"},
        "POST cohorts-add-members": member,
        "POST cohorts-remove-members": member,
        "POST charger-families-declare": {"capability": "get_log", "supported": True, "source": "Data sheet"},
        "POST plans-list": {"kind": "bulk_renewal", "parameters": {"identifiers": [identity.authoritative_identifier]}},
        "POST plans-apply": {"digest": "0" * 64},
        "POST upstreams-list": {"name": "U", "identity": charger().pk},
        "POST lifecycle-policies-list": {"name": "P", "purpose": "charger_identity", "program": "P1"},
        "POST trust-anchors-list": {
            "certificate_pem": anchor_given.authority_pem(),
            "purpose": "iso15118_evse_leaf",
        },
        "POST trust-anchor-bundles-list": {
            "purpose": "iso15118_evse_leaf",
            "anchors": [anchor_given.trust_anchor().pk],
        },
        "POST trust-anchor-bundles-change-anchors": {"anchors": [anchor_given.trust_anchor().pk]},
        "POST trust-anchor-bundles-release": {"cohort": given.cohort().pk},
        "POST bundle-rollouts-allow-family": {"family": 1, "further_failures": 1},
        "POST authorization-keys-list": key,
        "POST migration-windows-list": {"opens": "22:00", "closes": "04:00"},
        "POST migration-blackouts-list": {"first_day": "2030-12-24", "last_day": "2030-12-26"},
        "POST authorization-keys-import": key,
        "POST authorization-keys-rotate": {"identity": identity.pk},
        "POST authorization-keys-flag": {"identity": identity.pk, "why": "exposure"},
        "POST recovery-doors-list": {**key, "cause": "lost", "until": "2099-01-01T00:00:00Z"},
        "POST recovery-doors-renewal": {"identity": identity.pk, "until": "2099-01-01T00:00:00Z"},
        "POST known-default-keys-list": {"label": "Vendor", "secret": "0123456789abcdef"},
        "POST pool-nodes-list": {"name": "N", "role": "mo", "identifiers": ["DE8AB"], "issuing_authority": "R"},
        "POST pool-nodes-confirm-identifier": {"value": "DE8AB", "issuing_authority": "Registry"},
        "POST pool-nodes-end-identifier": {"value": "DE8AB"},
        "POST pool-credentials-list": {
            "node": pool_given.node().pk,
            "label": "L",
            "token": "x" * 40,
            "expires_at": "2099-01-01T00:00:00Z",
        },
        "POST pool-credentials-certificate": {
            "node": pool_given.node().pk,
            "label": "L",
            "certificate_pem": given.certificate_for("CS-1"),
        },
        "POST pool-roots-list": {"certificate": pool_given.root_pem(), "root_type": "MO"},
        "POST key-paths-approve": {"family": given.family().pk, "path": "two_slots_at_our_door"},
        "POST provisioning-cases-list": {
            "identity": identity.pk,
            "purpose": "iso15118_evse_leaf",
            "path": "est",
        },
        "POST provisioning-cases-confirm": {"prerequisite": "account_ready"},
        "POST provisioning-evidence-list": {
            "case": provisioning_given.provisioning_case().pk,
            "system": "hubject",
            "kind": "request",
            "outcome": "in_progress",
        },
        "POST ownership-decisions-list": {"purpose": "iso15118_evse_leaf"},
        "POST key-paths-withdraw": {"family": given.family().pk},
    }
    changed: dict[str, Any] = {"name": "Another"} if route.method == "patch" else {}
    if str(route) in SWITCHED:
        changed = {"enabled": False}
    elif str(route) == DECIDED:
        changed = {"note": "Another"}
    return {"reason": "I want to", **changed, **needed.get(str(route), {})}


def send(client: APIClient, route: Route, url: str, body: dict[str, Any]) -> Any:
    headers = {"If-Match": "*"} if route.method == "patch" else {}
    if route.method == "get":
        return client.get(url)
    return getattr(client, route.method)(url, body, format="json", headers=headers)


def test_the_routes_are_these_and_no_others() -> None:
    assert tuple(str(route) for route in ROUTES) == OPERATIONS


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_whoever_is_not_signed_in_is_asked_to(route: Route) -> None:
    answer = send(APIClient(), route, address(route, given.MAKERS[route.model]()), {})

    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == "Token"
    assert answer.json()["detail"].startswith("Sign in first")


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_whoever_may_not_view_is_refused(route: Route) -> None:
    options = route.model._meta
    own = f"{options.app_label}.view_{options.model_name}"
    somebody = given.person("somebody", *(item for item in given.view_permissions() if item != own))
    instance = given.MAKERS[route.model]()

    answer = send(given.speaker(somebody), route, address(route, instance), body_for(route))

    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    assert answer.headers["Content-Type"] == "application/problem+json"


CONTENT = "GET artifacts-content"
"""The bytes of an artifact ask for a permission of their own (tests/admin/test_artifacts.py)."""


@pytest.mark.parametrize("route", [item for item in ROUTES if item.method == "get" and str(item) != CONTENT], ids=str)
def test_whoever_may_view_is_answered(route: Route) -> None:
    viewer = given.speaker(given.person("viewer", *given.view_permissions()))
    instance = given.MAKERS[route.model]()
    question = "?purpose=charger_identity" if route.name.endswith("identities-policy") else ""
    if route.name.endswith("migration-cases-forecast"):
        assert isinstance(instance, MigrationCase)
        question = f"?change=cut_over&identity={instance.identity_id}"

    answer = viewer.get(address(route, instance) + question)

    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize("route", VERBS, ids=str)
def test_a_verb_is_refused_without_its_permission_and_changes_nothing(route: Route) -> None:
    viewer = given.speaker(given.person("viewer", *given.view_permissions()))
    instance = given.MAKERS[route.model]()
    body = body_for(route)
    before = (DomainEvent.objects.count(), route.model._default_manager.count())

    answer = send(viewer, route, address(route, instance), body)

    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted"), answer.content
    assert "permission" in answer.json()["detail"]
    assert before == (DomainEvent.objects.count(), route.model._default_manager.count())


@pytest.mark.parametrize("route", [route for route in VERBS if route.detail], ids=str)
def test_a_verb_on_what_does_not_exist_is_not_found(route: Route, api: APIClient) -> None:
    number = "00000000-0000-0000-0000-000000000000" if route.model.__name__ == "StationSession" else 987654321
    answer = send(api, route, reverse(f"api:{route.name}", args=[number]), body_for(route))

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("route", LISTS, ids=str)
def test_nothing_is_deleted_over_http(route: Route, api: APIClient) -> None:
    instance = given.MAKERS[route.model]()
    url = reverse(f"api:{route.name.replace('-list', '-detail')}", args=[instance.pk])

    answer = api.delete(url)

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert route.model._default_manager.filter(pk=instance.pk).exists()
