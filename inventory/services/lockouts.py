"""Which chargers cannot connect any more, and which single certificate keeps a charger connected.

A charger on Profile 3 is refused on every lower one, unless its migration still allows a fallback: without a working
certificate nobody reaches it over the air, and somebody has to go there.
"""

from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet

from inventory.choices import RecordState, SubjectKind
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.models.record import CertificateRecordQuerySet
from inventory.purposes import CHARGER_IDENTITY

PROFILE_3 = 3


def depends_on_certificate(identity: ManagedIdentity, now: datetime) -> bool:
    """Whether a certificate is the only way in for this charger."""
    return (
        identity.kind == SubjectKind.CHARGER
        and identity.security_profile >= PROFILE_3
        and (identity.fallback_until is None or identity.fallback_until <= now)
    )


def is_locked_out(identity: ManagedIdentity, now: datetime) -> bool:
    """Whether a charger depends on a certificate and has none that works."""
    return (
        depends_on_certificate(identity, now)
        and not CertificateRecord.objects.of(identity.pk, CHARGER_IDENTITY.key).usable_at(now).exists()
    )


def is_out_of_reach(identity: ManagedIdentity, now: datetime) -> bool:
    """Whether a charger is locked out, and no narrow door lets it in to renew its certificate."""
    return is_locked_out(identity, now) and not may_renew(identity, now)


def may_renew(identity: ManagedIdentity, now: datetime) -> bool:
    """Whether a narrow door lets a charger in with its expired certificate, to renew it."""
    expired = CertificateRecord.objects.of(identity.pk, CHARGER_IDENTITY.key)
    return identity.enabled and expired.filter(renewal_only_until__gt=now).exists()


def is_last_way_in(record: CertificateRecord, now: datetime) -> bool:
    """Whether a charger would be locked out without this certificate; one query at most."""
    if record.purpose != CHARGER_IDENTITY.key or not depends_on_certificate(record.identity, now):
        return False
    working = CertificateRecord.objects.of(record.identity_id, record.purpose).usable_at(now)
    return list(working.values_list("pk", flat=True)[:2]) == [record.pk]


def locked_out(identities: QuerySet[ManagedIdentity], now: datetime) -> QuerySet[ManagedIdentity]:
    """Of these, the enabled chargers for which `is_locked_out` holds."""
    working = _charger_records().usable_at(now)
    return _enabled_chargers(identities).filter(
        ~Exists(working),
        Q(fallback_until__isnull=True) | Q(fallback_until__lte=now),
        security_profile__gte=PROFILE_3,
    )


def without_active_certificate(identities: QuerySet[ManagedIdentity]) -> QuerySet[ManagedIdentity]:
    """Of these, the enabled chargers that have no active charger certificate."""
    return _enabled_chargers(identities).filter(~Exists(_charger_records().filter(state=RecordState.ACTIVE)))


def _charger_records() -> CertificateRecordQuerySet:
    return CertificateRecord.objects.filter(identity=OuterRef("pk"), purpose=CHARGER_IDENTITY.key, slot="")


def _enabled_chargers(identities: QuerySet[ManagedIdentity]) -> QuerySet[ManagedIdentity]:
    return identities.filter(kind=SubjectKind.CHARGER, enabled=True)
