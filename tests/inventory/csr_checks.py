"""Requests as the CSR policy sees them in tests."""

import pytest

from inventory.errors import CsrRejectedError
from inventory.models import (
    LifecyclePolicy,
    ManagedIdentity,
)
from inventory.purposes import purpose
from inventory.services.csr_policy import BoundCsr, check_csr

POLICY = LifecyclePolicy(name="Charger identity, default", purpose="charger_identity")


def check(csr: str, identity: ManagedIdentity, purpose_key: str = "charger_identity") -> BoundCsr:
    return check_csr(csr, identity=identity, purpose=purpose(purpose_key), policy=POLICY)


def rule_of(csr: str, identity: ManagedIdentity, purpose_key: str = "charger_identity") -> str:
    with pytest.raises(CsrRejectedError) as refusal:
        check(csr, identity, purpose_key)
    assert str(refusal.value).endswith((".", "!"))
    return refusal.value.reason_code
