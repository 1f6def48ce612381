"""Finding one of a million in the pools: by an identifier in full, each by its own index."""

from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.identifiers import IdentifierError, emaid
from provisioning.models import PoolProvisioningCertificate


class FoundByIdentifier(ReadOnlyAdmin):
    """A list that is searched by PCID, EMAID or fingerprint."""

    search_fields = ("id",)
    search_help_text = "PCID or EMAID, in full"
    identified_by: ClassVar[tuple[str, ...]] = ("pcid", "emaid")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(self._condition(term)) if term else queryset), False

    def _condition(self, term: str) -> Q:
        try:
            read = emaid(term)
        except IdentifierError:
            read = None
        wanted = Q(pk__in=[])
        for name in self.identified_by:
            if name == "fingerprint":
                wanted |= Q(fingerprint=term.replace(":", "").lower())
            elif name == "pcid":
                wanted |= Q(pcid=term.upper())
            elif name == "provisioning_certificate":
                vehicles = PoolProvisioningCertificate.objects.filter(pcid=term.upper()).values_list("pk", flat=True)
                wanted |= Q(provisioning_certificate__in=list(vehicles))
            elif read is not None:
                spelt = [read.key] if name == "emaid_key" else [read.key, f"{read.key}{read.check_digit}"]
                wanted |= Q(**{f"{name}__in": spelt})
        return wanted
