"""Sessions, commands and messages of stations: read, and nothing else."""

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from bfcerts.console.filters import ChoiceFilter, QuestionFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import (
    NOTHING,
    Badge,
    copyable,
    document,
    listener_words,
    moment,
    protocol_words,
    short,
    spoken,
)
from bfcerts.ocpp.canonical import CommandOutcome
from bfcerts.ocpp.models import InboxMessage, OutboxCommand, StationQuestion, StationSession

_COMMAND_TONES = {
    OutboxCommand.State.QUEUED: "info",
    OutboxCommand.State.SENT: "info",
    OutboxCommand.State.ANSWERED: "success",
    OutboxCommand.State.FAILED: "danger",
    OutboxCommand.State.EXPIRED: "warning",
    OutboxCommand.State.CANCELLED: "default",
}
_MESSAGE_TONES = {
    InboxMessage.State.PENDING: "info",
    InboxMessage.State.DONE: "success",
    InboxMessage.State.FAILED: "danger",
}
_QUESTION_TONES = {
    StationQuestion.State.WAITING: "info",
    StationQuestion.State.ANSWERED: "success",
    StationQuestion.State.EXPIRED: "warning",
    StationQuestion.State.CLOSED: "default",
}


class OpenSessionFilter(QuestionFilter):
    """Sessions that are open, or closed."""

    title = "open or closed"
    parameter_name = "open"
    answers = (("yes", "open"), ("no", "closed"))

    def narrow(self, queryset: QuerySet[StationSession], value: str) -> QuerySet[StationSession]:
        return queryset.filter(closed_at__isnull=value == "yes") if value in ("yes", "no") else queryset


class ProfileFilter(QuestionFilter):
    """Sessions by the security profile they were admitted on."""

    title = "security profile"
    parameter_name = "profile"
    answers = (("3", "Profile 3"), ("2", "Profile 2"), ("1", "Profile 1"), ("0", "Profile 0"))

    def narrow(self, queryset: QuerySet[StationSession], value: str) -> QuerySet[StationSession]:
        return queryset.filter(security_profile=int(value)) if value in dict(self.answers) else queryset


class ListenerFilter(QuestionFilter):
    """Sessions by the listener they came in at."""

    title = "listener"
    parameter_name = "listener"
    answers = (("profile2", "Profile 2"), ("profile3", "Profile 3"), ("dual", "both"))

    def narrow(self, queryset: QuerySet[StationSession], value: str) -> QuerySet[StationSession]:
        return queryset.filter(listener=value)


@admin.register(StationSession)
class StationSessionAdmin(ReadOnlyAdmin):
    """Connections of stations, open and past."""

    list_display = ("station", "badge", "profile", "since", "until", "address", "entrance", "certificate")
    list_filter = (OpenSessionFilter, ProfileFilter, ListenerFilter)
    search_fields = ("station_id",)
    search_help_text = "Charge point id, or the fingerprint of a certificate"
    ordering = ("-connected_at",)
    keyset_field = "connected_at"
    fields = (
        "station",
        "badge",
        "profile",
        "since",
        "until",
        "close_reason",
        "address",
        "entrance",
        "spoken_protocol",
        "node",
        "full_fingerprint",
        "id",
    )
    readonly_fields = (
        "station",
        "badge",
        "profile",
        "since",
        "until",
        "entrance",
        "spoken_protocol",
        "full_fingerprint",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[StationSession], search_term: str
    ) -> tuple[QuerySet[StationSession], bool]:
        if term := search_term.strip():
            fingerprint = term.replace(" ", "").replace(":", "").lower()
            queryset = queryset.filter(Q(station_id=term) | Q(certificate_fingerprint=fingerprint))
        return queryset, False

    def crumb_title(self, target: StationSession) -> str:
        return f"Session of {target.station_id}"

    @admin.display(description="Charge point id")
    def station(self, session: StationSession) -> str:
        return session.station_id or NOTHING

    @admin.display(description="State")
    def badge(self, session: StationSession) -> Badge:
        return Badge("Open", "success") if session.closed_at is None else Badge("Closed")

    @admin.display(description="Security profile")
    def profile(self, session: StationSession) -> str:
        return f"Profile {session.security_profile}" + (", for renewal only" if session.renewal_only else "")

    @admin.display(description="Connected")
    def since(self, session: StationSession) -> SafeString | str:
        return moment(session.connected_at)

    @admin.display(description="Closed")
    def until(self, session: StationSession) -> SafeString | str:
        return moment(session.closed_at)

    @admin.display(description="Listener")
    def entrance(self, session: StationSession) -> str:
        return listener_words(session.listener)

    @admin.display(description="Protocol")
    def spoken_protocol(self, session: StationSession) -> str:
        return protocol_words(session.protocol)

    @admin.display(description="Certificate")
    def certificate(self, session: StationSession) -> SafeString | str:
        fingerprint = session.certificate_fingerprint
        return copyable(fingerprint, shown=short(fingerprint), label="fingerprint")

    @admin.display(description="Certificate fingerprint (SHA-256)")
    def full_fingerprint(self, session: StationSession) -> SafeString | str:
        return copyable(session.certificate_fingerprint, label="fingerprint")


@admin.register(OutboxCommand)
class OutboxCommandAdmin(ReadOnlyAdmin):
    """What stations were asked, and what they answered. Secret values are never shown."""

    list_display = ("number", "station", "asked", "badge", "outcome_badge", "created", "answered", "attempts")
    list_filter = (
        ("state", ChoiceFilter),
        ("action", ChoiceFilter),
        ("outcome", ChoiceFilter),
    )
    search_fields = ("station_id",)
    search_help_text = "Charge point id or correlation id"
    unread_fields = ("payload", "answer", "secret_payload")
    fields = (
        "station",
        "asked",
        "badge",
        "outcome_badge",
        "created",
        "due",
        "sent",
        "answered",
        "attempts",
        "error_code",
        "error_description",
        "readable_payload",
        "readable_answer",
        "reference",
        "correlation_id",
        "message_id",
    )
    readonly_fields = (
        "station",
        "asked",
        "badge",
        "outcome_badge",
        "created",
        "due",
        "sent",
        "answered",
        "readable_payload",
        "readable_answer",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OutboxCommand], search_term: str
    ) -> tuple[QuerySet[OutboxCommand], bool]:
        if term := search_term.strip():
            queryset = queryset.filter(Q(station_id=term) | Q(correlation_id=term))
        return queryset, False

    @admin.display(description="No.")
    def number(self, command: OutboxCommand) -> int:
        return command.pk

    @admin.display(description="Charge point id")
    def station(self, command: OutboxCommand) -> str:
        return command.station_id or NOTHING

    @admin.display(description="Command")
    def asked(self, command: OutboxCommand) -> str:
        return spoken(command.action)

    @admin.display(description="State")
    def badge(self, command: OutboxCommand) -> Badge:
        state = OutboxCommand.State(command.state)
        return Badge(state.label, _COMMAND_TONES[state])

    @admin.display(description="Outcome")
    def outcome_badge(self, command: OutboxCommand) -> Badge | str:
        if not command.outcome:
            return NOTHING
        tone = "success" if command.outcome == CommandOutcome.ACCEPTED else "danger"
        return Badge(command.outcome.replace("_", " ").capitalize(), tone)

    @admin.display(description="Asked")
    def created(self, command: OutboxCommand) -> SafeString | str:
        return moment(command.created_at)

    @admin.display(description="Deadline")
    def due(self, command: OutboxCommand) -> SafeString | str:
        return moment(command.deadline, timezone.now())

    @admin.display(description="Sent")
    def sent(self, command: OutboxCommand) -> SafeString | str:
        return moment(command.sent_at)

    @admin.display(description="Finished")
    def answered(self, command: OutboxCommand) -> SafeString | str:
        return moment(command.finished_at)

    @admin.display(description="Payload")
    def readable_payload(self, command: OutboxCommand) -> SafeString | str:
        return document(command.payload)

    @admin.display(description="Answer")
    def readable_answer(self, command: OutboxCommand) -> SafeString | str:
        return document(command.answer)


@admin.register(InboxMessage)
class InboxMessageAdmin(ReadOnlyAdmin):
    """What the wire learned, and whether a worker has taken it in."""

    list_display = ("received", "station", "observed", "badge", "attempts", "error")
    list_filter = (("kind", ChoiceFilter), ("state", ChoiceFilter))
    search_fields = ("station_id",)
    search_help_text = "Charge point id"
    unread_fields = ("payload",)
    fields = (
        "station",
        "observed",
        "badge",
        "received",
        "finished",
        "attempts",
        "error",
        "message_id",
        "session_id",
        "readable_payload",
    )
    readonly_fields = ("station", "observed", "badge", "received", "finished", "readable_payload")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[InboxMessage], search_term: str
    ) -> tuple[QuerySet[InboxMessage], bool]:
        term = search_term.strip()
        return (queryset.filter(station_id=term) if term else queryset), False

    @admin.display(description="Received")
    def received(self, message: InboxMessage) -> SafeString | str:
        return moment(message.received_at)

    @admin.display(description="Taken in")
    def finished(self, message: InboxMessage) -> SafeString | str:
        return moment(message.finished_at)

    @admin.display(description="Charge point id")
    def station(self, message: InboxMessage) -> str:
        return message.station_id or NOTHING

    @admin.display(description="What")
    def observed(self, message: InboxMessage) -> str:
        return spoken(message.kind)

    @admin.display(description="State")
    def badge(self, message: InboxMessage) -> Badge:
        state = InboxMessage.State(message.state)
        return Badge(state.label, _MESSAGE_TONES[state])

    @admin.display(description="Payload")
    def readable_payload(self, message: InboxMessage) -> SafeString | str:
        return document(message.payload)


@admin.register(StationQuestion)
class StationQuestionAdmin(ReadOnlyAdmin):
    """What stations asked that only a partner could answer, and what they heard; not what was for the vehicle."""

    list_display = ("asked", "station", "question", "badge", "answer", "heard", "detail")
    list_filter = (("kind", ChoiceFilter), ("state", ChoiceFilter))
    search_fields = ("station_id",)
    search_help_text = "Charge point id"
    unread_fields = ("payload", "content")
    fields = (
        "station",
        "question",
        "badge",
        "answer",
        "detail",
        "heard",
        "heard_at",
        "asked",
        "due",
        "answered",
        "times_asked",
        "attempts",
        "message_id",
        "session_id",
        "readable_payload",
    )
    readonly_fields = (
        "station",
        "question",
        "badge",
        "answer",
        "heard",
        "heard_at",
        "asked",
        "due",
        "answered",
        "readable_payload",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[StationQuestion], search_term: str
    ) -> tuple[QuerySet[StationQuestion], bool]:
        term = search_term.strip()
        return (queryset.filter(station_id=term) if term else queryset), False

    @admin.display(description="Asked")
    def asked(self, question: StationQuestion) -> SafeString | str:
        return moment(question.asked_at)

    @admin.display(description="Deadline")
    def due(self, question: StationQuestion) -> SafeString | str:
        return moment(question.deadline)

    @admin.display(description="Answered")
    def answered(self, question: StationQuestion) -> SafeString | str:
        return moment(question.answered_at)

    @admin.display(description="Charge point id")
    def station(self, question: StationQuestion) -> str:
        return question.station_id

    @admin.display(description="Question")
    def question(self, question: StationQuestion) -> str:
        return spoken(question.kind)

    @admin.display(description="State")
    def badge(self, question: StationQuestion) -> Badge:
        state = StationQuestion.State(question.state)
        return Badge(state.label, _QUESTION_TONES[state])

    @admin.display(description="Answer")
    def answer(self, question: StationQuestion) -> Badge | str:
        if question.accepted is None:
            return NOTHING
        return Badge("Accepted", "success") if question.accepted else Badge("Failed", "danger")

    @admin.display(description="The station heard")
    def heard(self, question: StationQuestion) -> str:
        return question.get_told_display() or NOTHING

    @admin.display(description="Heard")
    def heard_at(self, question: StationQuestion) -> SafeString | str:
        return moment(question.told_at)

    @admin.display(description="What was asked")
    def readable_payload(self, question: StationQuestion) -> SafeString | str:
        return document(question.payload)
