"""Cohorts: named sets of identities for policies, rollouts and bulk work."""

from collections.abc import Collection, Sequence

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Case, Q, QuerySet, When

from inventory.audit import history
from inventory.choices import CohortKind
from inventory.models.identity import ManagedIdentity

FILTER_FIELDS = {
    "kind": "kind",
    "family": "family__name",
    "site": "site",
    "region": "region",
    "owner": "owner",
    "tag": "tags__contains",
    "program": "program",
}


class Cohort(models.Model):
    """A named set of identities, static or by filter (family, site, region, owner, tag).

    A filter is a mapping of the fields above to a value or a list of values; all of them must match.
    """

    name = models.CharField(max_length=120, unique=True)
    description = models.TextField(blank=True)
    kind = models.CharField(max_length=10, choices=CohortKind.choices, default=CohortKind.STATIC)
    filter = models.JSONField(
        default=dict, blank=True, help_text='For example {"site": ["Depot North"], "tag": "pilot"}.'
    )
    members = models.ManyToManyField(ManagedIdentity, blank=True, related_name="static_cohorts")
    created_at = models.DateTimeField(auto_now_add=True)

    history = history()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a filter that cannot be read.

        :raises ValidationError: naming the part that is wrong.
        """
        if self.kind != CohortKind.FILTER:
            return
        if not isinstance(self.filter, dict) or not self.filter:
            raise ValidationError(
                {"filter": 'A filter cohort needs at least one field, for example {"site": "Depot North"}.'}
            )
        for name, value in self.filter.items():
            if name not in FILTER_FIELDS:
                raise ValidationError(
                    {"filter": f"{name!r} is not a filter field; use one of {', '.join(sorted(FILTER_FIELDS))}."}
                )
            values = value if isinstance(value, list) else [value]
            if not values or not all(isinstance(item, str) and item for item in values):
                raise ValidationError({"filter": f"{name!r} needs a text or a list of texts."})

    def condition(self) -> Q:
        """The filter as a query condition; matches nothing when the filter is empty."""
        if not self.filter:
            return Q(pk__in=[])
        condition = Q()
        for name, value in self.filter.items():
            values = value if isinstance(value, list) else [value]
            if name == "tag":
                any_tag = Q()
                for tag in values:
                    any_tag |= Q(tags__contains=[tag])
                condition &= any_tag
            else:
                condition &= Q(**{f"{FILTER_FIELDS[name]}__in": values})
        return condition

    def identities(self) -> QuerySet[ManagedIdentity]:
        """Its present members."""
        if self.kind == CohortKind.FILTER:
            return ManagedIdentity.objects.filter(self.condition())
        return self.members.all()


def containing(identity: ManagedIdentity, cohorts: Sequence[Cohort]) -> set[int]:
    """The keys of those of these cohorts that an identity is a member of now; two queries, however many they are."""
    return containing_each([identity.pk], cohorts)[identity.pk]


def containing_each(identity_ids: Collection[int], cohorts: Sequence[Cohort]) -> dict[int, set[int]]:
    """As `containing`, for each of these identities; two queries, however many they and the cohorts are."""
    static = [cohort.pk for cohort in cohorts if cohort.kind != CohortKind.FILTER]
    filters = {cohort.pk: cohort.condition() for cohort in cohorts if cohort.kind == CohortKind.FILTER}
    found: dict[int, set[int]] = {pk: set() for pk in identity_ids}
    if static:
        memberships = Cohort.members.through.objects.filter(managedidentity_id__in=identity_ids, cohort_id__in=static)
        for identity_id, cohort_id in memberships.values_list("managedidentity_id", "cohort_id"):
            found[identity_id].add(cohort_id)
    if filters:
        matches = [
            Case(When(condition, then=True), default=False, output_field=models.BooleanField())
            for condition in filters.values()
        ]
        for identity_id, *matched in ManagedIdentity.objects.filter(pk__in=identity_ids).values_list("pk", *matches):
            found[identity_id] |= {key for key, is_member in zip(filters, matched, strict=True) if is_member}
    return found
