"""What this operator may do now with a bundle, a rollout or an installation, and what it would mean."""

from inventory.actors import Actor
from inventory.services.actions import AvailableAction
from trustanchors.choices import CERTIFICATE_USES, FAILED_STATES, BundleState, RolloutState
from trustanchors.models import BundleInstallation, BundleRollout, TrustAnchorBundle
from trustanchors.services.control import CONTROL
from trustanchors.services.releasing import RELEASE, former_bundle


def for_bundle(bundle: TrustAnchorBundle, actor: Actor) -> list[AvailableAction]:
    """The verbs of a bundle."""
    state = bundle.get_state_display().lower()
    withdrawn = bundle.state == BundleState.WITHDRAWN
    gone = f"The bundle is {state} for good." if withdrawn else ""
    nowhere = "" if bundle.purpose in CERTIFICATE_USES else "Its anchors are not delivered to chargers over OCPP."
    return [
        _action(
            actor,
            "trustanchors.change_trustanchorbundle",
            "change",
            "Change its anchors",
            "" if bundle.state == BundleState.DRAFT else f"The bundle is {state}; what was released never changes.",
            "The draft gets these anchors, in this order.",
        ),
        _action(
            actor,
            RELEASE,
            "release",
            "Release to a cohort",
            gone or nowhere,
            "Every charger of the cohort is given these anchors, the first of each family before the others. First "
            "enrolments and cut-overs of the cohort wait until enough of them confirm theirs. The rollout can be "
            "paused, stopped and rolled back to the version before; what a charger has taken stays until a newer "
            "version replaces it, and a version that was released is never changed again.",
            dangerous=True,
        ),
        _action(
            actor,
            "trustanchors.withdraw_trustanchorbundle",
            "withdraw",
            "Withdraw",
            gone,
            "Its gates close at once and nothing more is sent. What is installed stays until a newer version replaces "
            "it. It is never released again.",
            dangerous=True,
        ),
        _action(
            actor,
            "trustanchors.emergencywithdraw_trustanchorbundle",
            "emergency_withdraw",
            "Withdraw in an emergency",
            gone,
            "Its gates close at once, and its anchors are deleted from every charger, but for those that another "
            "bundle needs and, unless you say otherwise, the present server chain or the charger identity CA. It is "
            "never released again.",
            dangerous=True,
        ),
    ]


def for_rollout(rollout: BundleRollout, actor: Actor) -> list[AvailableAction]:
    """The verbs of a rollout."""
    replaced = "A newer release has taken its place." if rollout.replaced_at else ""
    state = RolloutState(rollout.state)
    former = former_bundle(rollout)

    def only(*allowed: RolloutState) -> str:
        return "" if state in allowed else f"The rollout is {state.label.lower()}."

    return [
        _action(
            actor, CONTROL, "pause", "Pause", replaced or only(RolloutState.RUNNING), "No further charger is begun."
        ),
        _action(
            actor,
            CONTROL,
            "resume",
            "Resume",
            replaced or only(RolloutState.PAUSED, RolloutState.STOPPED),
            "Chargers are begun again, family by family.",
        ),
        _action(
            actor,
            CONTROL,
            "retry_failed",
            "Retry what failed",
            replaced or ("" if rollout.failed else "Nothing failed."),
            "Every charger that failed or is mismatched is begun anew.",
        ),
        _action(
            actor,
            CONTROL,
            "allow_family",
            "Let a stopped family go on",
            replaced or ("" if rollout.families.filter(stopped=True).exists() else "No family is stopped."),
            "The family goes on until so many more of its chargers fail.",
        ),
        _action(
            actor,
            CONTROL,
            "stop",
            "Stop",
            replaced or only(RolloutState.PLANNED, RolloutState.RUNNING, RolloutState.PAUSED),
            "No further charger is begun, and its gate closes. What is installed stays.",
            dangerous=True,
        ),
        _action(
            actor,
            "trustanchors.rollback_bundlerollout",
            "roll_back",
            "Go back to the version before",
            replaced or ("" if former else f"{rollout} is the first of its cohort; there is no version before."),
            f"The cohort gets version {former.version} again." if former else "",
            dangerous=True,
        ),
    ]


def for_installation(installation: BundleInstallation, actor: Actor) -> list[AvailableAction]:
    """The verbs of an installation."""
    obstacle = ""
    if installation.state not in FAILED_STATES:
        obstacle = (
            f"The installation is {installation.get_state_display().lower()}; only what failed or is mismatched is "
            "begun anew."
        )
    elif not installation.current or not installation.rollout.is_standing:
        obstacle = "Its rollout does not stand any more."
    explanation = "The anchors are sent once more, and the charger is asked what it has."
    return [_action(actor, CONTROL, "retry", "Retry", obstacle, explanation)]


def _action(
    actor: Actor,
    permission: str,
    verb: str,
    label: str,
    obstacle: str,
    explanation: str,
    *,
    dangerous: bool = False,
) -> AvailableAction:
    if not obstacle and not actor.may(permission):
        obstacle = f"You lack the permission “{permission}”."
    return AvailableAction(verb, label, not obstacle, obstacle, explanation, dangerous)
