"""Withdrawing a bundle: its gates close in the same moment; what endpoints have follows, one after the other."""

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone

from inventory.actors import Actor
from inventory.choices import EventType, SecurityCategory, SecuritySource, Severity
from inventory.errors import InvalidInputError
from inventory.services.command import command
from inventory.services.events import record_event
from inventory.services.security_events import record_security_event
from inventory.words import counted
from trustanchors.choices import BundleState, RolloutState
from trustanchors.errors import BundleRefusedError
from trustanchors.models import BundleRollout, TrustAnchorBundle
from trustanchors.services import bundles as bundle_service
from trustanchors.services import lock_out
from trustanchors.services.lock_out import AnchorWithdrawal, LockedOut
from trustanchors.services.releasing import lock_rollout


def withdraw(
    *,
    bundle: TrustAnchorBundle,
    emergency: bool = False,
    delete_needed: bool = False,
    override_forecast: bool = False,
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> TrustAnchorBundle:
    """Withdraw a bundle for good.

    From this commit on no gate that rests on it is open: nobody of its cohorts is enrolled for the first time or cut
    over, while certificates under confirmed anchors are renewed as before. What was not sent is not sent any more.
    Its anchors stay on the endpoints until a newer version replaces them, so nobody loses the way in.

    :param emergency: the anchors must not be trusted any more: they are deleted from the endpoints too, but for those
        that the present server chain, the charger identity CA or another bundle needs.
    :param delete_needed: in an emergency: those that only the present server chain or the charger identity CA needs are
        deleted too. That is refused while it would lock anybody out.
    :param override_forecast: withdraw it all the same, which needs a permission of its own.
    :raises BundleRefusedError: when it is withdrawn already.
    :raises LockOutError: naming whom it would lock out.
    """
    now = now or timezone.now()
    if delete_needed and not emergency:
        raise InvalidInputError("Only a withdrawal in an emergency deletes anchors from chargers.")
    verb = "emergencywithdraw_trustanchorbundle" if emergency else "withdraw_trustanchorbundle"
    with command(actor, f"trustanchors.{verb}", reason):
        locked = bundle_service.lock(bundle.pk)
        if locked.state == BundleState.WITHDRAWN:
            raise BundleRefusedError(f"{locked} was withdrawn on {locked.withdrawn_at:%Y-%m-%d %H:%M} UTC already.")
        lost = lock_out.require_none(
            lock_out.after_withdrawal(AnchorWithdrawal(locked, delete_needed), now),
            actor=actor,
            override=override_forecast,
            reason=reason,
        )
        locked.withdrawn_at = now
        locked.emergency = emergency
        locked.deletes_needed = delete_needed
        locked.withdraw()
        locked.save()
        ended = [_end(rollout, reason) for rollout in _rollouts(locked)]
        record_event(
            EventType.TRUST_ANCHOR_WITHDRAWN,
            now=now,
            payload={
                "trustAnchorBundleId": locked.pk,
                "bundleVersion": locked.version,
                "purpose": locked.purpose,
                "emergency": emergency,
                "deletesWhatIsNeeded": delete_needed,
                "lockedOut": len(lost),
                "rolloutIds": ended,
            },
            resulting_state=locked.state,
            dedupe_key=f"anchors-withdrawn:{locked.pk}",
        )
        if emergency:
            record_security_event(
                "TrustAnchorWithdrawn",
                category=SecurityCategory.TLS_AND_CERTIFICATE,
                severity=Severity.CRITICAL,
                source=SecuritySource.OPERATOR,
                message=f"{locked} was withdrawn in an emergency: {reason.strip()}{_overridden(lost)}",
                now=now,
                payload={"trustAnchorBundleId": locked.pk, "rolloutIds": ended},
                dedupe_key=f"anchors-withdrawn:{locked.pk}",
            )
    return locked


def _overridden(lost: Sequence[LockedOut]) -> str:
    if not lost:
        return ""
    names = ", ".join(item.identity.authoritative_identifier for item in lost[: lock_out.SHOWN])
    more = " and others" if len(lost) > lock_out.SHOWN else ""
    return f" (the forecast was overridden: {counted(len(lost), 'charger')} may not reconnect: {names}{more})"


def forecast(bundle: TrustAnchorBundle, now: datetime) -> str:
    """Whom each kind of its withdrawal would lock out, in words, for whoever is about to decide."""
    if bundle.state == BundleState.WITHDRAWN:
        return f"{bundle} is withdrawn already."
    deleting = lock_out.in_words(lock_out.after_withdrawal(AnchorWithdrawal(bundle), now))
    return (
        "Nobody, unless what connections rest on is deleted too: nothing else is deleted that the present server "
        f"chain, the charger identity CA or another bundle needs. With that deleted: {deleting}"
    )


def _rollouts(bundle: TrustAnchorBundle) -> list[BundleRollout]:
    ids = BundleRollout.objects.filter(bundle=bundle).exclude(state=RolloutState.WITHDRAWN).order_by("pk")
    return [lock_rollout(pk) for pk in ids.values_list("pk", flat=True)]


def _end(rollout: BundleRollout, reason: str) -> int:
    rollout.withdraw()
    rollout.outcome = f"Withdrawn: {reason.strip()}"
    rollout.save()
    return rollout.pk
