"""Searching in two steps: identities first, then what belongs to them, so that no search crosses a join."""

import re
from typing import Any

from django.db.models import Q, QuerySet

from inventory.models import CertificateRecord, ManagedIdentity

MATCHES = 200
"""So many identities are followed; a search that matches more is too wide to be useful."""


def identities_matching(term: str) -> list[int]:
    """The keys of identities whose identifier, serial number or name contains the term."""
    matching = ManagedIdentity.objects.filter(
        Q(authoritative_identifier__icontains=term) | Q(serial_number__icontains=term) | Q(name__icontains=term)
    )
    return list(matching.order_by().values_list("pk", flat=True)[:MATCHES])


def hexadecimal(term: str) -> str:
    """A fingerprint or serial number as stored, lower-case digits; empty where the term is neither."""
    digits = re.sub(r"[\s:]", "", term).lower()
    return digits if re.fullmatch(r"[0-9a-f]{4,64}", digits) else ""


def records_matching(queryset: QuerySet[CertificateRecord], term: str) -> QuerySet[CertificateRecord]:
    """Certificates of matching identities, or with exactly this fingerprint or serial number."""
    condition = Q(identity_id__in=identities_matching(term))
    if digits := hexadecimal(term):
        condition |= Q(pk__in=_records_with(digits))
    return queryset.filter(condition)


def _records_with(digits: str) -> list[int]:
    by_either = Q(fingerprint=digits) | Q(serial_number=digits.lstrip("0") or "0")
    return list(CertificateRecord.objects.filter(by_either).order_by().values_list("pk", flat=True)[:MATCHES])


def of_identities_matching(queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
    """Whatever belongs to matching identities, or belongs to the chain of work with this correlation id."""
    return queryset.filter(Q(identity_id__in=identities_matching(term)) | Q(correlation_id=term))
