"""Given-parts of the tests of the doors: one of everything that provisioning lists."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.db.models import Model

from provisioning.models import ExternalReference, OwnershipDecision, ProvisioningCase, ProvisioningEvidence
from provisioning.services import cases
from provisioning.services.outcomes import Answer, record_outcome
from tests.provisioning.support import EMAID, decide, vehicle
from tests.support import OPERATOR


def ownership_decision(**values: Any) -> OwnershipDecision:
    """A complete decision for contracts in a program of its own."""
    return decide(**{"program": f"program-{uuid4().hex[:6]}", "variability": "oem", **values})


def provisioning_case() -> ProvisioningCase:
    """A case of a pilot, at its beginning."""
    return cases.start(
        identity=vehicle(pilot=True),
        purpose="iso15118_contract",
        slot=EMAID,
        path="hubject",
        actor=OPERATOR,
        reason="given",
    )


def provisioning_evidence() -> ProvisioningEvidence:
    """What an external party said of such a case, with its reference there."""
    answer = Answer(
        system="hubject",
        kind="request",
        outcome="in_progress",
        summary="Taken.",
        reference_kind="contract",
        reference=uuid4().hex,
    )
    return record_outcome(case=provisioning_case(), answer=answer, actor=OPERATOR, reason="given")


def external_reference() -> ExternalReference:
    """The name that an external system has for such a case."""
    case = provisioning_evidence().case
    assert case is not None
    return case.references.get()


MAKERS: dict[type[Model], Callable[[], Model]] = {
    ProvisioningCase: provisioning_case,
    ProvisioningEvidence: provisioning_evidence,
    ExternalReference: external_reference,
    OwnershipDecision: ownership_decision,
}
"""How to make one of everything that has a list."""
