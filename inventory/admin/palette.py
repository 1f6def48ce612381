"""What Ctrl+K finds besides the lists: chargers and other identities."""

from django.http import HttpRequest
from django.urls import reverse
from unfold.dataclasses import SearchResult

from inventory.admin.search import identities_matching
from inventory.models import ManagedIdentity

FOUND_AT_MOST = 12


def identities(request: HttpRequest, term: str) -> list[SearchResult]:
    """Identities whose identifier, serial number or name contains the term, for those who may see them."""
    if not request.user.has_perm("inventory.view_managedidentity"):
        return []
    matching = ManagedIdentity.objects.filter(pk__in=identities_matching(term.strip()))
    return [
        SearchResult(
            title=identity.authoritative_identifier,
            description=", ".join(part for part in (identity.get_kind_display(), identity.name, identity.site) if part),
            link=reverse("admin:inventory_managedidentity_change", args=[identity.pk]),
            icon="ev_station",
        )
        for identity in matching.order_by("authoritative_identifier")[:FOUND_AT_MOST]
    ]
