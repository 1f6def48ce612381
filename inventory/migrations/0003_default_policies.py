"""The default policies of the specification's renewal appendix; editable rows, not constants."""

from datetime import timedelta
from typing import Any

from django.db import migrations

DAY = timedelta(days=1)

DEFAULTS: list[dict[str, Any]] = [
    {
        "name": "Charger identity, default",
        "purpose": "charger_identity",
        "validity": 180 * DAY,
        "renewal_threshold": 30 * DAY,
        "renewal_lead": 7 * DAY,
        "escalation_threshold": 14 * DAY,
        "incident_threshold": 7 * DAY,
        "notes": "Chargers renew on their own at 30 days, so ours start in the 7 days before.",
    },
    {
        "name": "Backend server, default",
        "purpose": "backend_server",
        "validity": 90 * DAY,
        "renewal_threshold": 30 * DAY,
        "renewal_lead": 2 * DAY,
        "escalation_threshold": 14 * DAY,
        "incident_threshold": 7 * DAY,
        "cut_over_deadline": timedelta(hours=1),
        "rollback_window": 2 * DAY,
        "csr_deadline": timedelta(minutes=10),
        "notes": "Certificates of our own listeners. Where AWS ACM manages a certificate, its renewal is ACM's.",
    },
    {
        "name": "Vehicle VAS identity, default",
        "purpose": "vehicle_vas_identity",
        "validity": 365 * DAY,
        "renewal_threshold": 60 * DAY,
        "renewal_lead": 14 * DAY,
        "escalation_threshold": 30 * DAY,
        "incident_threshold": 14 * DAY,
        "cut_over_deadline": 3 * DAY,
        "rollback_window": 14 * DAY,
        "notes": "Provisional: rests on VDV 261, to be confirmed for each OEM program. Never multi-year by default.",
    },
    {
        "name": "ISO 15118 EVSE leaf, default",
        "purpose": "iso15118_evse_leaf",
        "validity": None,
        "renewal_threshold": 20 * DAY,
        "renewal_lead": 5 * DAY,
        "escalation_threshold": 10 * DAY,
        "incident_threshold": 5 * DAY,
        "notes": "The scheme decides the validity, 60 to 90 days in practice.",
    },
    {
        "name": "ISO 15118 contract, default",
        "purpose": "iso15118_contract",
        "validity": None,
        "renewal_threshold": 30 * DAY,
        "renewal_lead": 7 * DAY,
        "escalation_threshold": 14 * DAY,
        "incident_threshold": 7 * DAY,
        "notes": "The mobility operator issues and renews.",
    },
    {
        "name": "ISO 15118 OEM provisioning, default",
        "purpose": "iso15118_oem_provisioning",
        "validity": None,
        "renewal_threshold": None,
        "escalation_threshold": 90 * DAY,
        "incident_threshold": 30 * DAY,
        "notes": "Tracked only: the OEM renews.",
    },
    {
        "name": "IoT hub device, default",
        "purpose": "iot_hub_device",
        "validity": None,
        "renewal_threshold": None,
        "notes": "AWS IoT Core issues; its certificates do not expire within our horizon.",
    },
    {
        "name": "Root CA, default",
        "purpose": "root_ca",
        "validity": 7300 * DAY,
        "renewal_threshold": 1095 * DAY,
        "escalation_threshold": 730 * DAY,
        "incident_threshold": 365 * DAY,
        "rollback_window": 365 * DAY,
        "notes": "Long-lived, under corporate PKI policy; replaced by a trust-anchor rollout, never by this sweep.",
    },
    {
        "name": "Intermediate CA, default",
        "purpose": "intermediate_ca",
        "validity": 1825 * DAY,
        "renewal_threshold": 365 * DAY,
        "escalation_threshold": 240 * DAY,
        "incident_threshold": 200 * DAY,
        "rollback_window": 180 * DAY,
        "notes": "Must outlive the leaves it signs, so it is replaced well before its last leaf would outlive it.",
    },
    {
        "name": "AuthorizationKey, default",
        "purpose": "authorization_key",
        "validity": None,
        "renewal_threshold": None,
        "rollback_window": 7 * DAY,
        "cut_over_deadline": timedelta(hours=4),
        "notes": "No periodic rotation after the hygiene rotation, unless a charger stays on Profile 2.",
    },
]


def create(apps: Any, schema_editor: Any) -> None:
    policy = apps.get_model("inventory", "LifecyclePolicy")
    for values in DEFAULTS:
        policy.objects.get_or_create(name=values["name"], defaults=values)


class Migration(migrations.Migration):
    dependencies = [("inventory", "0002_guards")]
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
