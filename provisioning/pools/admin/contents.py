"""What is in the pools, in the console: roots, provisioning certificates, contracts, and what became of them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.presentation import Badge, copyable, exact_moment, moment
from inventory.admin.actions import PageWithActions, actor_of
from inventory.admin.editing import REASON, EditableAdmin, ReasonedForm
from inventory.admin.verbs import Order, Verb, Verbs
from inventory.services.actions import AvailableAction
from inventory.words import actor_words
from provisioning.models import PoolChange, PoolContract, PoolProvisioningCertificate, PoolRoot
from provisioning.pools import contracts, offered, provisioning_certificates, roots
from provisioning.pools.admin.nodes import READ_ONLY_PAGE
from provisioning.pools.admin.search import FoundByIdentifier


def _remove_root(order: Order) -> str:
    roots.remove(root=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target.subject} is out of the pool."


def _remove_vehicle(order: Order) -> str:
    provisioning_certificates.remove(certificate=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target.pcid} and its contracts are out of the pools."


def _block(order: Order) -> str:
    contracts.block(contract=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target.emaid} is given to no car any more."


def _remove_contract(order: Order) -> str:
    contracts.remove(contract=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target.emaid} is out of the pool."


root_verbs, vehicle_verbs, contract_verbs = Verbs(), Verbs(), Verbs()
root_verbs.register(Verb("remove", "delete", _remove_root))
vehicle_verbs.register(Verb("remove", "delete", _remove_vehicle))
contract_verbs.register(Verb("block", "block", _block))
contract_verbs.register(Verb("remove", "delete", _remove_contract))


class RootForm(ReasonedForm):
    """A root, and for which chains it is one."""

    class Meta:
        model = PoolRoot
        fields = ["root_type", "certificate_pem"]


@admin.register(PoolRoot)
class PoolRootAdmin(PageWithActions, EditableAdmin):
    """The root certificate pool."""

    verbs = root_verbs
    form = RootForm
    change_form_template = READ_ONLY_PAGE
    add_form_template = "admin/console/change_form.html"
    list_display = ("subject", "root_type", "badge", "ends", "added")
    list_filter = (("root_type", ChoiceFilter),)
    search_fields = ("subject", "fingerprint")
    search_help_text = "Subject or fingerprint"
    readonly_fields = ("badge", "shown_fingerprint", "begins", "ends", "added", "removed")
    unread_fields = ("certificate_pem",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("provisioning.publish_poolroot"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: PoolRoot | None = None) -> Any:
        if obj is not None:
            shown = ("subject", "root_type", "badge", "shown_fingerprint", "begins", "ends", "added", "removed")
            return (("Root", {"fields": (*shown, "certificate_pem")}),)
        return (("Which root", {"fields": ("root_type", "certificate_pem")}), REASON)

    def save_model(self, request: HttpRequest, obj: PoolRoot, form: ReasonedForm, change: bool) -> None:
        added = roots.add(
            certificate=obj.certificate_pem,
            root_type=obj.root_type,
            actor=actor_of(request),
            reason=form.cleaned_data["reason"],
        )
        obj.pk, obj.subject = added.pk, added.subject

    def available_actions(self, request: HttpRequest, target: PoolRoot) -> list[AvailableAction]:
        return offered.for_root(target, actor_of(request))

    def described(self, target: PoolRoot) -> list[tuple[str, str]]:
        return [("Root", target.subject), ("Type", target.get_root_type_display())]

    @admin.display(description="State")
    def badge(self, root: PoolRoot) -> Badge:
        if root.removed_at is not None:
            return Badge("Taken out", "default")
        return Badge("In the pool", "success") if root.not_after > timezone.now() else Badge("Expired", "danger")

    @admin.display(description="Fingerprint (SHA-256)")
    def shown_fingerprint(self, root: PoolRoot) -> SafeString | str:
        return copyable(root.fingerprint, label="fingerprint")

    @admin.display(description="Valid from")
    def begins(self, root: PoolRoot) -> SafeString | str:
        return moment(root.not_before)

    @admin.display(description="Valid to")
    def ends(self, root: PoolRoot) -> SafeString | str:
        return moment(root.not_after)

    @admin.display(description="Added")
    def added(self, root: PoolRoot) -> SafeString | str:
        return moment(root.added_at)

    @admin.display(description="Taken out")
    def removed(self, root: PoolRoot) -> SafeString | str:
        return moment(root.removed_at)


class _Published(PageWithActions, FoundByIdentifier):
    """What companies publish, and only the services change."""

    change_form_template = READ_ONLY_PAGE

    def page_after(self, target: Any) -> str:
        return reverse(f"admin:{self._route}_changelist")

    @admin.display(description="State")
    def badge(self, published: Any) -> Badge:
        if published.revoked_at is not None:
            return Badge("Revoked", "danger")
        if getattr(published, "orphaned_at", None) is not None:
            return Badge("Of no use to its vehicle", "warning")
        return Badge("In the pool", "success") if published.not_after > timezone.now() else Badge("Expired", "danger")

    @admin.display(description="Fingerprint (SHA-256)")
    def shown_fingerprint(self, published: Any) -> SafeString | str:
        return copyable(published.fingerprint, label="fingerprint")

    @admin.display(description="Valid to")
    def ends(self, published: Any) -> SafeString | str:
        return moment(published.not_after)

    @admin.display(description="Published")
    def published(self, published: Any) -> SafeString | str:
        return moment(published.published_at)

    @admin.display(description="Updated")
    def updated(self, published: Any) -> SafeString | str:
        return moment(published.updated_at)


@admin.register(PoolProvisioningCertificate)
class PoolProvisioningCertificateAdmin(_Published):
    """The provisioning certificate pool."""

    verbs = vehicle_verbs
    list_display = ("pcid", "node", "badge", "ends", "updated")
    list_select_related = ("node",)
    identified_by = ("pcid", "fingerprint")
    search_help_text = "PCID or fingerprint, in full"
    unread_fields = ("vehicle_certificate_pem", "sub_ca1_pem", "sub_ca2_pem")
    fields = (
        "pcid",
        "node",
        "badge",
        "namespace",
        "shown_fingerprint",
        "serial_number",
        "root",
        "ends",
        "previous_pcid",
        "published",
        "updated",
    )
    readonly_fields = fields

    def available_actions(self, request: HttpRequest, target: PoolProvisioningCertificate) -> list[AvailableAction]:
        return offered.for_provisioning_certificate(target, actor_of(request))

    def described(self, target: PoolProvisioningCertificate) -> list[tuple[str, str]]:
        return [("PCID", target.pcid), ("Manufacturer", target.node.name)]


@admin.register(PoolContract)
class PoolContractAdmin(_Published):
    """The contract certificate pool. What is encrypted in a contract is shown nowhere."""

    verbs = contract_verbs
    list_display = ("emaid", "vehicle", "node", "namespace", "default", "badge", "ends")
    list_filter = (("namespace", ChoiceFilter),)
    list_select_related = ("node", "provisioning_certificate")
    identified_by = ("emaid_key", "fingerprint", "provisioning_certificate")
    search_help_text = "EMAID, PCID or fingerprint, in full"
    unread_fields = ("certificate_pem", *PoolContract.unversioned_fields)
    fields = (
        "emaid",
        "vehicle",
        "node",
        "namespace",
        "default",
        "badge",
        "answers",
        "shown_fingerprint",
        "serial_number",
        "root",
        "signer_root",
        "ends",
        "metadata",
        "published",
        "updated",
    )
    readonly_fields = fields

    def available_actions(self, request: HttpRequest, target: PoolContract) -> list[AvailableAction]:
        return offered.for_contract(target, actor_of(request))

    def described(self, target: PoolContract) -> list[tuple[str, str]]:
        return [("EMAID", target.emaid), ("Vehicle", target.provisioning_certificate.pcid)]

    @admin.display(description="PCID")
    def vehicle(self, contract: PoolContract) -> str:
        return contract.provisioning_certificate.pcid

    @admin.display(description="Default", boolean=True)
    def default(self, contract: PoolContract) -> bool:
        return contract.is_default

    @admin.display(description="Answered from")
    def answers(self, contract: PoolContract) -> str:
        ready = PoolContract.objects.filter(pk=contract.pk, installation_response__isnull=False).exists()
        return "Ready-made EXI" if ready else "XML only: an EXI codec has to turn it"


@admin.register(PoolChange)
class PoolChangeAdmin(FoundByIdentifier):
    """What became of everything in the pools."""

    list_display = ("at_time", "kind", "pcid", "emaid", "who", "reason")
    list_filter = (("kind", ChoiceFilter),)
    fields = (
        "kind",
        "at_time",
        "who",
        "reason",
        "node",
        "pcid",
        "emaid",
        "namespace",
        "shown_fingerprint",
        "ends",
        "correlation_id",
    )
    readonly_fields = fields

    @admin.display(description="When")
    def at_time(self, change: PoolChange) -> SafeString | str:
        return exact_moment(change.at)

    @admin.display(description="Who")
    def who(self, change: PoolChange) -> str:
        return actor_words(change.actor)

    @admin.display(description="Fingerprint (SHA-256)")
    def shown_fingerprint(self, change: PoolChange) -> SafeString | str:
        return copyable(change.fingerprint, label="fingerprint")

    @admin.display(description="Valid to")
    def ends(self, change: PoolChange) -> SafeString | str:
        return moment(change.not_after)
