"""The closed sets of a migration to Profile 3: states with their tables of transitions, stages, and reasons."""

from django.db import models


class RolloutState(models.TextChoices):
    """The life of a rollout."""

    PLANNED = "planned", "Planned"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    STOPPED = "stopped", "Stopped"
    COMPLETE = "complete", "Complete"


_R = RolloutState
ROLLOUT_TRANSITIONS: dict[str, frozenset[str]] = {
    _R.PLANNED: frozenset({_R.RUNNING, _R.STOPPED}),
    _R.RUNNING: frozenset({_R.PAUSED, _R.STOPPED, _R.COMPLETE}),
    _R.PAUSED: frozenset({_R.RUNNING, _R.STOPPED}),
    _R.STOPPED: frozenset(),
    _R.COMPLETE: frozenset({_R.PAUSED, _R.RUNNING}),
}
"""A complete rollout is paused when a wave that had passed is rolled back, and runs again when one of its
chargers is released."""
ROLLOUT_COLOURS: dict[str, str] = {
    _R.PLANNED: "info",
    _R.RUNNING: "success",
    _R.PAUSED: "warning",
    _R.STOPPED: "default",
    _R.COMPLETE: "success",
}


class WaveState(models.TextChoices):
    """The life of a wave; only a running or a passed one starts chargers."""

    PENDING = "pending", "Pending"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"
    ROLLED_BACK = "rolled_back", "Rolled back"


_W = WaveState
WAVE_TRANSITIONS: dict[str, frozenset[str]] = {
    _W.PENDING: frozenset({_W.RUNNING, _W.STOPPED, _W.ROLLED_BACK}),
    _W.RUNNING: frozenset({_W.PAUSED, _W.PASSED, _W.FAILED, _W.STOPPED, _W.ROLLED_BACK}),
    _W.PAUSED: frozenset({_W.RUNNING, _W.STOPPED, _W.ROLLED_BACK}),
    _W.PASSED: frozenset({_W.ROLLED_BACK}),
    _W.FAILED: frozenset({_W.RUNNING, _W.STOPPED, _W.ROLLED_BACK}),
    _W.STOPPED: frozenset({_W.ROLLED_BACK}),
    _W.ROLLED_BACK: frozenset(),
}
WAVE_COLOURS: dict[str, str] = {
    _W.PENDING: "info",
    _W.RUNNING: "success",
    _W.PAUSED: "warning",
    _W.PASSED: "success",
    _W.FAILED: "danger",
    _W.STOPPED: "default",
    _W.ROLLED_BACK: "danger",
}
STARTING_WAVES = (_W.RUNNING, _W.PASSED)


class CaseState(models.TextChoices):
    """The move of one charger to Profile 3 (domain.md)."""

    PENDING = "pending", "Pending"
    INSTALLING = "installing", "Installing"
    PENDING_ACTIVATION = "pending_activation", "Cut over, not yet back"
    ACTIVE = "active", "Active on Profile 3"
    ROLLBACK = "rollback", "Going back"
    QUARANTINE = "quarantine", "Quarantined"
    EXCEPTED = "excepted", "Excepted"
    CANCELLED = "cancelled", "Cancelled"


_C = CaseState
CASE_TRANSITIONS: dict[str, frozenset[str]] = {
    _C.PENDING: frozenset({_C.INSTALLING, _C.QUARANTINE, _C.CANCELLED}),
    _C.INSTALLING: frozenset({_C.PENDING_ACTIVATION, _C.ROLLBACK, _C.QUARANTINE, _C.CANCELLED}),
    _C.PENDING_ACTIVATION: frozenset({_C.ACTIVE, _C.ROLLBACK, _C.QUARANTINE, _C.CANCELLED}),
    _C.ACTIVE: frozenset({_C.ROLLBACK}),
    _C.ROLLBACK: frozenset({_C.PENDING, _C.QUARANTINE, _C.CANCELLED}),
    _C.QUARANTINE: frozenset({_C.PENDING, _C.EXCEPTED, _C.CANCELLED}),
    _C.EXCEPTED: frozenset({_C.CANCELLED}),
    _C.CANCELLED: frozenset(),
}
"""The transition table of domain.md; the database's trigger is built from the same."""
CASE_COLOURS: dict[str, str] = {
    _C.PENDING: "info",
    _C.INSTALLING: "info",
    _C.PENDING_ACTIVATION: "warning",
    _C.ACTIVE: "success",
    _C.ROLLBACK: "warning",
    _C.QUARANTINE: "danger",
    _C.EXCEPTED: "default",
    _C.CANCELLED: "default",
}
IN_FLIGHT = (_C.INSTALLING, _C.PENDING_ACTIVATION, _C.ROLLBACK)
"""What counts against the limits of a wave."""
ENDED_CASES = (_C.EXCEPTED, _C.CANCELLED)


class Stage(models.TextChoices):
    """Where in its state a case is: what is under way, in the words of whoever waits for it."""

    WAITING = "waiting", "Waiting for its turn"
    ISSUING = "issuing", "Its certificate is being issued and installed"
    READY = "ready", "Installed; the cut-over is next"
    CUTTING_OVER = "cutting_over", "Told to come back on Profile 3"
    RETURNING = "returning", "Expected back on Profile 2"
    LOWERING = "lowering", "Told to go back to Profile 2"
    DONE = "done", "Nothing is under way"


class ReasonCode(models.TextChoices):
    """Why a charger is not active on Profile 3: one of these at a time."""

    NONE = "", "Nothing is in the way"
    # what a charger must be before it moves
    NOT_A_CHARGER = "not_a_charger", "Not a charger"
    DISABLED = "disabled", "Disabled"
    BELOW_PROFILE_2 = "below_profile_2", "Below Profile 2"
    FAMILY_UNKNOWN = "family_unknown", "Its family is not known"
    FAMILY_CHANGED = "family_changed", "Its family has changed"
    CAPABILITIES_MISSING = "capabilities_missing", "Its family lacks capabilities"
    KEY_PATH_UNAPPROVED = "key_path_unapproved", "The key path of its family is not approved"
    KEY_NOT_ROTATED = "key_not_rotated", "Its AuthorizationKey is not fit"
    NO_RECENT_CONNECTION = "no_recent_connection", "Not seen for too long"
    ANCHORS_MISSING = "anchors_missing", "Its trust anchors are not confirmed"
    WOULD_BE_LOCKED_OUT = "would_be_locked_out", "It could not come back"
    # what it waits for
    NOT_PLANNED = "not_planned", "In no rollout"
    WAVE_NOT_STARTED = "wave_not_started", "Its wave has not started"
    WAVE_ENDED = "wave_ended", "Its wave has ended"
    ROLLOUT_PAUSED = "rollout_paused", "Its rollout is paused"
    WINDOW_CLOSED = "window_closed", "Outside of the time for work"
    BREAKER_OPEN = "breaker_open", "Its family or site is stopped"
    TURN = "turn", "Waits for its turn"
    RETRYING = "retrying", "Is tried again"
    ISSUING = "issuing", "Gets its certificate"
    SITE_FULL = "site_full", "Too many of its site are away"
    CUTTING_OVER = "cutting_over", "Is on its way to Profile 3"
    # what went wrong
    ISSUE_FAILED = "issue_failed", "Its certificate could not be issued or installed"
    CERTIFICATE_LOST = "certificate_lost", "Its certificate no longer works"
    CUT_OVER_FAILED = "cut_over_failed", "It did not take the cut-over"
    SILENT = "silent", "It gave no sign in time"
    NEVER_RETURNED = "never_returned", "It has not come back"
    STAYS_ON_PROFILE_3 = "stays_on_profile_3", "It does not leave Profile 3"
    WENT_BACK = "went_back", "Went back to Profile 2"
    # what people decided
    OPERATOR = "operator", "An operator decided so"
    EXCEPTED = "excepted", "An exception was approved"
    CANCELLED = "cancelled", "Its migration was cancelled"


WHAT_NEXT: dict[str, str] = {
    ReasonCode.NOT_A_CHARGER: "Nothing: only chargers move to Profile 3.",
    ReasonCode.DISABLED: "Enable it, if it is to be used again.",
    ReasonCode.BELOW_PROFILE_2: "Set an AuthorizationKey and raise it to Profile 2 first.",
    ReasonCode.FAMILY_UNKNOWN: "Add a family for its vendor, model and firmware, or name the family on the charger.",
    ReasonCode.FAMILY_CHANGED: "Plan its migration again: what was looked at was another family.",
    ReasonCode.CAPABILITIES_MISSING: "Update its firmware, or declare what its vendor has proved, in the matrix.",
    ReasonCode.KEY_PATH_UNAPPROVED: "Rotate the key of one charger of this family, then approve the key path.",
    ReasonCode.KEY_NOT_ROTATED: "Rotate its AuthorizationKey.",
    ReasonCode.NO_RECENT_CONNECTION: "See why it does not connect: its power, its network, its key.",
    ReasonCode.ANCHORS_MISSING: "Release the trust anchors to it and wait until they are confirmed.",
    ReasonCode.WOULD_BE_LOCKED_OUT: "Put right what the forecast names before it is cut over.",
    ReasonCode.NOT_PLANNED: "Plan a rollout with a cohort that it belongs to.",
    ReasonCode.WAVE_NOT_STARTED: "Wait for the waves before it, or start the next wave.",
    ReasonCode.WAVE_ENDED: "Plan another rollout with a cohort that it belongs to.",
    ReasonCode.ROLLOUT_PAUSED: "See why its rollout is paused, then resume it.",
    ReasonCode.WINDOW_CLOSED: "Wait for the next window, or change the windows of its site.",
    ReasonCode.BREAKER_OPEN: "Find the cause of the failures, close the breaker, then release its chargers.",
    ReasonCode.TURN: "Wait: it goes on by itself.",
    ReasonCode.RETRYING: "Wait: it is tried again by itself.",
    ReasonCode.ISSUING: "Wait: see its job for how far it is.",
    ReasonCode.SITE_FULL: "Wait until one of them is back, or look why it is not; after three days it counts no more.",
    ReasonCode.CUTTING_OVER: "Wait: it is brought back when it does not come in time.",
    ReasonCode.ISSUE_FAILED: "Read what it answered, mend the cause, then release it.",
    ReasonCode.CERTIFICATE_LOST: "See why its certificate ended, then release it for another one.",
    ReasonCode.CUT_OVER_FAILED: "Read what it answered, mend the cause, then release it.",
    ReasonCode.SILENT: "Check its connection and its log, then release it.",
    ReasonCode.NEVER_RETURNED: "Somebody has to look at the charger: it uses neither its key nor its certificate.",
    ReasonCode.STAYS_ON_PROFILE_3: "Cancel the way back, so that it goes on working on Profile 3, or lower it by hand.",
    ReasonCode.WENT_BACK: "Plan it again when the cause is mended.",
    ReasonCode.OPERATOR: "Release it, approve an exception, or cancel its migration.",
    ReasonCode.EXCEPTED: "Nothing, until the exception ends; then cancel it and plan it again.",
    ReasonCode.CANCELLED: "Plan a rollout with a cohort that it belongs to, if it is to move after all.",
}
"""What an operator can do next, for each reason, where the state of the case asks for nothing else."""
WHAT_NEXT_IN_QUARANTINE: dict[str, str] = {
    ReasonCode.FAMILY_CHANGED: "Cancel its migration and plan it again: what was looked at was another family.",
    ReasonCode.WENT_BACK: "Mend the cause, then release it.",
    ReasonCode.WOULD_BE_LOCKED_OUT: "Put right what the forecast names, then release it.",
    ReasonCode.NEVER_RETURNED: (
        "Somebody has to look at the charger: it uses neither its key nor its certificate. Release it when it is back."
    ),
}
"""Where quarantine asks for something else than `WHAT_NEXT`: nothing goes on by itself there."""


class BreakerKind(models.TextChoices):
    """What a breaker stops."""

    FAMILY = "family", "Charger family"
    SITE = "site", "Site"


class Verdict(models.TextChoices):
    """What a gate says; everything but a pass keeps it closed."""

    PASS = "pass", "Pass"
    FAIL = "fail", "Fail"
    INCONCLUSIVE = "inconclusive", "Inconclusive"
    UNDECIDED = "undecided", "Not yet decided"
