"""A CA that can never issue for as long as a policy says is refused when it is configured, not when it is used."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError

from inventory.actors import Actor
from inventory.choices import OperatingMode
from inventory.models import IssuingAuthority, LifecyclePolicy, SecurityEvent
from inventory.services import catalogue, issuance
from tests.acm_pca import AcmPcaServer
from tests.aws.installation import Installation

pytestmark = pytest.mark.django_db

EDITOR = Actor.system("test-editor")


def policy_of(purpose: str) -> LifecyclePolicy:
    return LifecyclePolicy.objects.get(purpose=purpose, enabled=True)


def shorten(policy: LifecyclePolicy, validity: timedelta) -> LifecyclePolicy:
    policy.validity = validity
    policy.renewal_threshold, policy.renewal_lead = validity / 3, timedelta(0)
    policy.escalation_threshold = policy.incident_threshold = None
    return policy


def test_a_short_lived_ca_under_a_policy_of_180_days_is_not_taken_into_use(
    installation: Installation, aws: AcmPcaServer
) -> None:
    aws.set_usage_mode("charger_identity", "SHORT_LIVED_CERTIFICATE")
    policy = policy_of("charger_identity")

    with pytest.raises(issuance.AuthorityNotUsableError) as caught:
        issuance.publish_authorities(installation.clock())

    sentence = str(caught.value)
    assert f"The policy “{policy.name}” cannot be kept" in sentence
    assert "for 7 days at most (SHORT_LIVED_CERTIFICATE), and the policy asks for 180 days" in sentence
    assert "shorten the policy, or let the PKI worker use another CA" in sentence
    assert IssuingAuthority.objects.get(trust_domain="charger_identity").mode == "GENERAL_PURPOSE"


def test_with_a_short_policy_it_is_and_no_longer_one_can_be_saved_then(
    installation: Installation, aws: AcmPcaServer
) -> None:
    aws.set_usage_mode("charger_identity", "SHORT_LIVED_CERTIFICATE")
    policy = shorten(policy_of("charger_identity"), timedelta(days=6))
    catalogue.save(entry=policy, actor=EDITOR, reason="short-lived certificates")
    issuance.publish_authorities(installation.clock())

    with pytest.raises(ValidationError) as caught:
        catalogue.save(entry=shorten(policy, timedelta(days=8)), actor=EDITOR, reason="longer")

    assert "asks for 8 days" in caught.value.message_dict["validity"][0]
    assert policy_of("charger_identity").validity == timedelta(days=6)


def test_other_purposes_and_disabled_policies_may_say_what_they_like(
    installation: Installation, aws: AcmPcaServer
) -> None:
    aws.set_usage_mode("charger_identity", "SHORT_LIVED_CERTIFICATE")
    former = policy_of("charger_identity")
    former.enabled = False
    catalogue.save(entry=former, actor=EDITOR, reason="replaced")
    issuance.publish_authorities(installation.clock())

    former.validity = timedelta(days=170)
    catalogue.save(entry=former, actor=EDITOR, reason="still disabled")
    catalogue.save(
        entry=shorten(policy_of("vehicle_vas_identity"), timedelta(days=90)), actor=EDITOR, reason="vehicles"
    )

    former.enabled, former.mode = True, OperatingMode.TRACKED_ONLY
    catalogue.save(entry=former, actor=EDITOR, reason="what others issue")
    issuance.publish_authorities(installation.clock())

    former.mode = ""
    with pytest.raises(ValidationError, match="7 days at most"):
        catalogue.save(entry=former, actor=EDITOR, reason="enabled again")


def test_a_ca_that_ends_too_soon_for_a_policy_is_told_and_goes_on(installation: Installation) -> None:
    issuing = IssuingAuthority.objects.get(trust_domain="charger_identity")
    installation.clock.now = issuing.not_after - timedelta(days=179)

    issuance.publish_authorities(installation.clock())
    issuance.publish_authorities(installation.clock())

    events = SecurityEvent.objects.filter(type="AuthorityEndsTooSoon", message__contains=issuing.name)
    assert events.count() == 1
    assert f"ends on {issuing.not_after:%Y-%m-%d}" in events.get().message
