"""A bulk action of the tests: painting, whose plans are made and applied here."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from inventory.actors import Actor
from inventory.errors import InvalidInputError
from inventory.models import ManagedIdentity, Plan
from inventory.services import plans
from inventory.services.plans.expecting import Expected
from tests.support import OPERATOR, Clock

applied: list[int] = []


class Painting:
    """A bulk action of the tests: every charger of a site gets the colour that its name asks for."""

    key = "painting"
    label = "Painting"
    permission = "change_managedidentity"
    fields: Sequence[plans.Field] = (plans.Field("site", "Site"),)
    words: Mapping[str, str] = {"paint": "paint", "rusty": "rusty"}

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if not parameters.get("site"):
            raise InvalidInputError("Name a site.")
        return {"site": parameters["site"]}

    def candidates(self, parameters: Mapping[str, Any]) -> QuerySet[ManagedIdentity]:
        return ManagedIdentity.objects.filter(site=parameters["site"])

    def judge(
        self, parameters: Mapping[str, Any], identities: Sequence[ManagedIdentity], now: datetime
    ) -> list[plans.Verdict]:
        return [
            plans.excluded("rusty", f"{identity} is rusty.")
            if "rusty" in identity.tags
            else plans.included(f"paint:{identity.owner or 'white'}")
            for identity in identities
        ]

    def expected(self, plan: Plan, counts: plans.PlanCounts, now: datetime) -> Expected:
        return Expected(timedelta(minutes=counts.included), "A minute each.")

    def apply(self, plan: Plan, actor: Actor, reason: str, now: datetime) -> None:
        applied.append(plan.pk)


def plan_of(clock: Clock, site: str = "Depot", actor: Actor = OPERATOR) -> Plan:
    return plans.make(kind="painting", parameters={"site": site}, actor=actor, reason="spring", now=clock())


def apply(plan: Plan, clock: Clock, digest: str = "", actor: Actor = OPERATOR) -> Plan:
    return plans.apply(plan=plan, digest=digest or plan.digest, actor=actor, reason="looks right", now=clock())


def change(identity: ManagedIdentity, **values: Any) -> None:
    ManagedIdentity.objects.filter(pk=identity.pk).update(**values)
