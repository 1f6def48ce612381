"""Asking certificate authorities: the only module that may import them (house.md; FR-008, NFR-003).

It runs in the PKI worker alone, whose environment holds the credentials. It trusts nothing that other processes
stored: the request is checked against policy again, and the answer is verified before a record becomes issued.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache

from django.conf import settings
from django.db import connection, transaction

from bfcerts.ocpp.notify import Channel, notify
from bfcerts.pki.authorities import (
    AskAgain,
    AuthorityError,
    AuthorityUnavailable,
    Candidates,
    CannotLook,
    CertificateAuthority,
    Pending,
    RequestRefused,
    RevocationReason,
    SchemeAuthority,
    SignedCertificate,
    SignRequest,
    StillLooking,
    Throttled,
    build_authorities,
    build_scheme_authorities,
    read_authorities,
    read_credentials,
)
from bfcerts.pki.certificates import (
    CertificateError,
    ParsedCertificate,
    parse_ca_certificate,
    parse_certificate,
    split_chain,
)
from bfcerts.pki.chains import ChainError, verify_issued
from bfcerts.pki.profiles import profile
from bfcerts.rows import row, row_of
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import OperatingMode, RecordState
from inventory.errors import CsrRejectedError, InventoryError
from inventory.jobs import engine
from inventory.jobs.engine import Fail, Recorder, Retry
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    IssuanceIntent,
    IssuingAuthority,
    LifecyclePolicy,
)
from inventory.purposes import BACKEND_SERVER, purpose, purposes
from inventory.services import ca_answers, holding, intents, policies, rate_limits
from inventory.services.audit_reports import StoredReportBook
from inventory.services.csr_policy import BoundCsr
from inventory.services.delivery import record_id
from inventory.services.locking import read_identity


class AuthorityNotUsableError(InventoryError):
    """The configured CAs cannot be used by this process; the message says what to change."""

    code = "authority_not_usable"


class NoAuthorityError(InventoryError):
    """No CA is set up for a trust domain."""

    code = "no_authority"


@cache
def authorities() -> Mapping[str, CertificateAuthority]:
    """The CAs by trust domain, from this process's own configuration.

    :raises AuthorityNotUsableError: where this process has no credentials for them, or they cannot be read.
    """
    configuration = settings.CONFIGURATION
    key = configuration.local_ca_key
    try:
        schemes = build_scheme_authorities(
            _schemes(),
            read_credentials(configuration.est_credentials),
            possible=[item.trust_domain for item in purposes() if item.may_be_issued_by_a_scheme],
        )
        ours = build_authorities(
            kind=configuration.authority.value,
            directory=configuration.local_ca_directory or configuration.var_directory / "ca",
            local_ca_key=key.get_secret_value() if key else None,
            debug=settings.DEBUG,
            local_ca_allowed=configuration.local_ca_allowed,
            aws_region=configuration.aws_region,
            aws_endpoint_url=configuration.aws_endpoint_url,
            arns=configuration.aws_private_ca_arns,
            audit_report_bucket=configuration.aws_audit_report_bucket,
            report_book=StoredReportBook(),
            trust_domains=[
                item.trust_domain
                for item in purposes()
                if item.issued_by_our_authorities and item.trust_domain not in schemes
            ],
        )
        return {**ours, **schemes}
    except AuthorityError as error:
        raise AuthorityNotUsableError(f"The certificate authorities cannot be used: {error}") from None


def _schemes() -> Mapping[str, SchemeAuthority]:
    return read_authorities(settings.CONFIGURATION.est_authorities)


def authority_for(trust_domain: str) -> CertificateAuthority:
    try:
        return authorities()[trust_domain]
    except KeyError:
        raise NoAuthorityError(
            f"No certificate authority is set up for {purpose(trust_domain).label}; configure one, then start again."
        ) from None


def publish_authorities(now: datetime) -> None:
    """Write the public side of our CAs into the inventory, where the gateway reads what it trusts.

    A scheme's is asked when it is first needed: a partner that is away keeps nobody from starting.

    :raises AuthorityNotUsableError: when a CA cannot be used, or can never do what a policy asks of it.
    """
    for trust_domain, authority in authorities().items():
        if not authority.run_by_others:
            _publish(trust_domain, authority, now)


def _publish(trust_domain: str, authority: CertificateAuthority, now: datetime) -> None:
    try:
        description = authority.describe()
    except AuthorityError as error:
        raise AuthorityNotUsableError(f"The CA of {trust_domain} cannot be used: {error}") from None
    issuing = parse_certificate(description.certificate_pem)
    values = {
        "trust_domain": trust_domain,
        "name": issuing.subject_text,
        "certificate_pem": issuing.pem,
        "chain_pem": description.chain_pem,
        "root_pem": description.root_pem,
        "fingerprint": issuing.fingerprint_sha256,
        "not_after": issuing.not_after,
        "status": description.status,
        "mode": description.mode,
        "longest_validity": description.longest_validity,
    }
    _check_policies(IssuingAuthority(**values), now)
    published = IssuingAuthority.objects.filter(reference=description.reference, issues=True).first()
    if published and _says(published, values):
        return
    with attributed(Actor.system("pki-worker"), "Published by the PKI worker"), transaction.atomic():
        _one_at_a_time()
        known = IssuingAuthority.objects.select_for_update().filter(reference=description.reference).first()
        if known and _says(known, values) and known.issues:
            return
        for former in IssuingAuthority.objects.filter(trust_domain=trust_domain, issues=True).exclude(
            reference=description.reference
        ):
            former.issues = False
            former.save()
        row = known or IssuingAuthority(reference=description.reference)
        for name, value in values.items():
            setattr(row, name, value)
        row.issues = True
        row.save()
        notify(Channel.LISTENERS)


def _says(authority: IssuingAuthority, values: Mapping[str, object]) -> bool:
    return all(getattr(authority, name) == value for name, value in values.items())


def _check_policies(authority: IssuingAuthority, now: datetime) -> None:
    """Refuse a CA that can never issue for as long as a policy says; warn where it only ends too soon for that."""
    ours = LifecyclePolicy.objects.filter(mode__in=["", OperatingMode.MANAGED], enabled=True)
    for policy in ours.filter(purpose=authority.trust_domain).order_by("pk"):
        if policy.validity is None:
            continue
        refusal = authority.refusal_of(policy.validity)
        if refusal:
            raise AuthorityNotUsableError(f"The policy “{policy.name}” cannot be kept: {refusal}")
        if now + policy.validity > authority.not_after:
            ca_answers.tell_of_an_end_too_near(authority, policy, now)


def _one_at_a_time() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('inventory.publish_authorities', 0))")


# -- issuing -------------------------------------------------------------------------------------------------------


@engine.external_step("issue")
def issue_step(job: CertificateJob, now: datetime) -> Recorder:
    """Fix the intent, ask the CA, collect, verify; the record becomes issued in the recorder's transaction."""
    record = _record(job)
    if record.state != RecordState.REQUESTED:
        return ca_answers.already_issued
    intent = row(IssuanceIntent, "record_id = %s", record.pk)
    if intent is not None:
        intent.record = record
    refusal: InventoryError | None = None
    try:
        policy = policies.resolve(record.identity, record.purpose).policy
        bound = intents.check_again(record, policy)
        if intent is not None and not intent.reference:
            intents.check_intent(intent, record, policy, now)
    except InventoryError as error:
        if intent is None or not intent.reference:
            if intent is not None and intent.submitted_at is not None:
                intents.tell_of_a_lost_answer(intent, now)
            return ca_answers.give_up(f"Refused by the PKI worker: {error}", _rule(error))
        refusal = error
    if intent is None or intent.submitted_at is None:
        # Asked again, because the request may have waited long, and its CA may have another root by now.
        held = holding.why_no_server_certificate(job, now) if record.purpose == BACKEND_SERVER.key else None
        if held is not None:
            return ca_answers.held_back(held)
    try:
        authority = authority_for(record.trust_domain)
        if intent is None:
            intent = intents.new_intent(job, record, _published(authority, now), policy, now)
        if not intent.reference:
            waiting = _ask(intent, bound, authority, now)
            if waiting is not None:
                return waiting
        _take_quota("get", authority, now)
        signed = authority.collect(intent.reference)
    except Throttled as error:
        return ca_answers.waits("a free place in the CA's quota", error.retry_after)
    except Pending as error:
        return ca_answers.waits(f"the CA to sign: {error}", error.retry_after)
    except RequestRefused as error:
        return ca_answers.give_up(f"The CA refused the request: {error}", error.code, refused_by_ca=True)
    except (AuthorityError, AuthorityNotUsableError) as error:
        return ca_answers.unavailable(str(error))
    except InventoryError as error:
        return ca_answers.give_up(str(error), _rule(error))
    if signed is None:
        longer = timedelta(seconds=min(2 ** min(job.attempts, 6), 60))
        return ca_answers.waits("the CA to sign", longer, counted=True)
    try:
        leaf = _verify(signed, intent, record, authority, now)
    except (CertificateError, ChainError) as error:
        intents.remember(intent, intent.reference)
        return ca_answers.untrustworthy(str(error), error.code)
    return ca_answers.issued(leaf, signed.chain_pem, intent, refusal)


def _record(job: CertificateJob) -> CertificateRecord:
    record = row_of(CertificateRecord, record_id(job))
    record.identity = read_identity(record.identity_id)
    if record.replaces_id is not None:
        record.replaces = row_of(CertificateRecord, record.replaces_id)
    return record


def _rule(error: InventoryError) -> str:
    return error.reason_code if isinstance(error, CsrRejectedError) else error.code


def _published(authority: CertificateAuthority, now: datetime) -> IssuingAuthority:
    # A scheme changes its CAs without telling us; what it names is asked once an hour, not each time.
    published = row(IssuingAuthority, "trust_domain = %s AND issues", authority.trust_domain)
    if published is None or authority.run_by_others:
        _publish(authority.trust_domain, authority, now)
        published = IssuingAuthority.objects.get(trust_domain=authority.trust_domain, issues=True)
    return published


def _ask(intent: IssuanceIntent, bound: BoundCsr, authority: CertificateAuthority, now: datetime) -> Recorder | None:
    """Have the CA's reference in the intent: by asking, or by finding what became of an answer that was lost.

    :returns: what to wait for, where there is no reference yet.
    """
    request = _request(intent, bound)
    asked_at, repeated = intent.submitted_at, intent.submitted_at is not None
    if asked_at is not None and (authority.run_by_others or intents.answer_is_lost(intent, now)):
        waiting = _look_for_answer(intent, request, asked_at, authority, now)
        if waiting is not None or intent.reference:
            return waiting
        repeated = False
    _take_quota("issue", authority, now)
    if intent._state.adding:
        intents.fix(intent, now)
    elif not repeated:
        intents.mark_submitted(intent, now)
    try:
        reference = authority.submit(request)
    except AuthorityError as error:
        if not repeated and not (isinstance(error, AuthorityUnavailable) and error.sent):
            intents.forget_submission(intent)
        raise
    if authority.answers_at_once:
        intent.reference = reference  # stored with the certificate: until then, asking again finds the same one
    else:
        intents.remember(intent, reference)
    return None


def _request(intent: IssuanceIntent, bound: BoundCsr) -> SignRequest:
    dns_names: tuple[str, ...] = ()
    if intent.profile == BACKEND_SERVER.certificate_profile:
        dns_names = (intent.record.identity.authoritative_identifier,)
    return SignRequest(
        token=intent.token,
        csr=bound.csr,
        profile=profile(intent.profile),
        subject=None,
        dns_names=dns_names,
        not_before=intent.not_before,
        not_after=intent.not_after,
    )


def _look_for_answer(
    intent: IssuanceIntent, request: SignRequest, asked_at: datetime, authority: CertificateAuthority, now: datetime
) -> Recorder | None:
    """Reconcile before issuing again: take up the certificate that the CA made of the request, if it did.

    :returns: what to wait for while that is not known; None when it is, and the intent then says what was found.
    """
    match authority.recover(request, since=intent.created_at, asked_at=asked_at, now=now):
        case CannotLook(why):
            return ca_answers.left_to_a_person(intent, asked_at, why)
        case AskAgain(why):
            intents.tell_of_a_repeated_request(intent, why, now)
            return None
        case StillLooking(waiting_for, until):
            intents.tell_of_a_lost_answer(intent, now)
            return ca_answers.waits(waiting_for, until - now)
        case Candidates(references):
            return _take_up(intent, references, authority, now)


def _take_up(
    intent: IssuanceIntent, references: tuple[str, ...], authority: CertificateAuthority, now: datetime
) -> Recorder | None:
    taken = set(IssuanceIntent.objects.filter(reference__in=references).values_list("reference", flat=True))
    for reference in references:
        if reference in taken:
            continue
        _take_quota("get", authority, now)
        try:
            signed = authority.collect(reference)
        except RequestRefused:
            continue
        if signed is None:
            return ca_answers.waits("the CA to sign what it was asked for before", timedelta(seconds=30))
        if _carries_key(signed, intent.record.public_key_sha256):
            intents.remember(intent, reference)
            return None
    return None


def _carries_key(signed: SignedCertificate, public_key_sha256: str) -> bool:
    try:
        return parse_certificate(signed.certificate_pem).public_key_sha256 == public_key_sha256
    except CertificateError:
        return False


def _take_quota(call: str, authority: CertificateAuthority, now: datetime) -> None:
    """Stay below what a CA takes, over all PKI workers together; the local CA takes everything."""
    configuration = settings.CONFIGURATION
    if authority.run_by_others:
        if call != "issue":
            return
        bucket, per_second = f"est:{authority.trust_domain}", _schemes()[authority.trust_domain].per_second
    elif configuration.authority == "local":
        return
    else:
        bucket = "aws-private-ca"
        per_second = {
            "issue": configuration.aws_issue_per_second,
            "get": configuration.aws_get_per_second,
            "revoke": configuration.aws_revoke_per_second,
        }[call]
    wait = rate_limits.take(f"{bucket}:{call}", per_second=per_second, burst=max(1.0, per_second), now=now)
    if wait is not None:
        raise Throttled(f"Our own limit of {per_second:g} {call} calls a second is reached.", retry_after=wait)


def _verify(
    signed: SignedCertificate,
    intent: IssuanceIntent,
    record: CertificateRecord,
    authority: CertificateAuthority,
    now: datetime,
) -> ParsedCertificate:
    leaf = parse_certificate(signed.certificate_pem)
    verify_issued(
        leaf=leaf,
        chain=[parse_ca_certificate(part) for part in split_chain(signed.chain_pem)],
        anchors=[parse_ca_certificate(intent.authority.root_pem)],
        now=now,
        public_key_sha256=record.public_key_sha256,
        extended_key_usages=profile(intent.profile).extended_key_usages,
        not_after_limit=None if authority.run_by_others else intent.not_after,
    )
    return leaf


# -- revoking ------------------------------------------------------------------------------------------------------


@engine.external_step("revoke_at_authority")
def revoke_step(job: CertificateJob, now: datetime) -> Recorder:
    """Tell the CA of a revocation that our doors have acted on already."""
    record = CertificateRecord.objects.get(pk=record_id(job))
    if record.revoked_at is None:
        return lambda _job, _now: Fail(f"Certificate {record.pk} is not revoked here; its CA is not told that it is.")
    try:
        authority = authority_for(record.trust_domain)
        _take_quota("revoke", authority, now)
        authority.revoke(record.serial_number, RevocationReason(record.revocation_reason or "unspecified"))
    except Throttled as error:
        return ca_answers.waits("a free place in the CA's quota", error.retry_after)
    except RequestRefused as error:
        why = f"The CA refused the revocation: {error}"
        return lambda _job, _now: Retry(why)
    except (AuthorityError, InventoryError) as error:
        return ca_answers.unavailable(str(error))
    return ca_answers.revocation_propagated
