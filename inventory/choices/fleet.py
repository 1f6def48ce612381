"""Charger families and cohorts: what stations do, can and are given."""

from django.db import models


class SubjectRule(models.TextChoices):
    """What a charger family puts into the common name of its requests; compared exactly."""

    EITHER = "either", "Charge point id or serial number"
    STATION_ID = "station_id", "Charge point id"
    SERIAL_NUMBER = "serial_number", "Serial number"


class ChainContent(models.TextChoices):
    """What a charger family wants in CertificateSigned."""

    LEAF_AND_INTERMEDIATES = "leaf_and_intermediates", "Leaf and intermediates"
    LEAF_TO_ROOT = "leaf_to_root", "Leaf, intermediates and root"


class CohortKind(models.TextChoices):
    """How a cohort knows its members."""

    STATIC = "static", "A list of identities"
    FILTER = "filter", "Whatever matches a filter"


class Capability(models.TextChoices):
    """What a charger family can do, as the specification's readiness appendix lists it for firmware, and what else
    we ask of stations."""

    DUAL_KEY_SLOTS = "dual_key_slots", "Two AuthorizationKey slots"
    SECURITY_LOG_STORE = "security_log_store", "Keeps a security log"
    SECURITY_EVENT_NOTIFICATION = "security_event_notification", "SecurityEventNotification"
    GET_LOG = "get_log", "GetLog and LogStatusNotification"
    INSTALL_CERTIFICATE = "install_certificate", "InstallCertificate"
    SIGN_CERTIFICATE = "sign_certificate", "SignCertificate"
    CERTIFICATE_SIGNED = "certificate_signed", "CertificateSigned"
    LOCAL_KEY_AND_CSR = "local_key_and_csr", "Makes its key and its request itself"
    ACTIVATION_AND_ROLLBACK = "activation_and_rollback", "Activates a certificate, and goes back if that fails"
    PROFILE_3 = "profile_3", "Connects by mutual TLS (Profile 3)"
    LIST_CERTIFICATES = "list_certificates", "GetInstalledCertificateIds"
    DELETE_CERTIFICATE = "delete_certificate", "DeleteCertificate"
    KEEPS_SEVERAL_ROOTS = "keeps_several_roots", "Goes on trusting the CSMS roots that it has when it gets another"


MANDATORY_FOR_PROFILE_3: tuple[Capability, ...] = (
    Capability.DUAL_KEY_SLOTS,
    Capability.SECURITY_LOG_STORE,
    Capability.SECURITY_EVENT_NOTIFICATION,
    Capability.GET_LOG,
    Capability.INSTALL_CERTIFICATE,
    Capability.SIGN_CERTIFICATE,
    Capability.CERTIFICATE_SIGNED,
    Capability.LOCAL_KEY_AND_CSR,
    Capability.ACTIVATION_AND_ROLLBACK,
    Capability.PROFILE_3,
)
"""The readiness appendix's firmware workstream, and the mutual-TLS reconnect of its milestone M3. An approved key path
stands in for the second key slot."""


class CapabilityBasis(models.TextChoices):
    """How we know of a capability."""

    DECLARED = "declared", "Declared"
    OBSERVED = "observed", "Observed"


class ProtocolVariant(models.TextChoices):
    """What a charger family says differently from the standard of its OCPP version, and who translates it.

    The values are the keys of `bfcerts.ocpp.adapters.VARIANTS`.
    """

    STANDARD = "", "As the standard says"
    OCPP16_LEGACY_TRIGGER = "ocpp1.6-legacy-trigger", "OCPP 1.6 without ExtendedTriggerMessage"
    OCPP16_HAS_TO_BE = "ocpp1.6-iso15118", "OCPP 1.6 with the older Plug and Charge dialect (vendor id iso15118)"


class KeyForm(models.TextChoices):
    """How a family takes a new AuthorizationKey."""

    LITERAL = "literal", "The characters themselves"
    HEXADECIMAL = "hex", "Hexadecimal"


class KeyPath(models.TextChoices):
    """How an AuthorizationKey of a family may be changed without locking anybody out."""

    UNAPPROVED = "unapproved", "Not approved"
    VENDOR_SECOND_SLOT = "vendor_second_slot", "The vendor's own second slot"
    TWO_SLOTS_AT_OUR_DOOR = "two_slots_at_our_door", "One slot on the station, two at our door"
