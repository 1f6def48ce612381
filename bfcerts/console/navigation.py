"""The console's navigation: each list with its title, its icon and what its empty page advises, stated once."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse


@dataclass(frozen=True, slots=True)
class Entry:
    """One list of the console."""

    model: str
    """Label of the model, as `inventory.managedidentity`."""
    title: str
    one: str
    """What a single one is called, in the middle of a sentence."""
    icon: str
    """Name of a Material symbol."""
    when_empty: str
    """What to do next, where there is nothing yet."""

    @property
    def route(self) -> str:
        return f"admin:{self.model.replace('.', '_')}_changelist"

    @property
    def permission(self) -> str:
        application, _, model = self.model.partition(".")
        return f"{application}.view_{model}"


@dataclass(frozen=True, slots=True)
class Section:
    """A group of lists."""

    title: str
    entries: tuple[Entry, ...]


SECTIONS = (
    Section(
        "Fleet",
        (
            Entry(
                "inventory.managedidentity",
                "Identities",
                "identity",
                "ev_station",
                "Add the first charger, EVSE, vehicle or endpoint by its authoritative identifier, or create them "
                "over the API (POST /api/v1/identities).",
            ),
            Entry(
                "inventory.chargerfamily",
                "Families",
                "charger family",
                "category",
                "Add a family for each vendor and model of your stations, so that their quirks are known.",
            ),
            Entry(
                "inventory.cohort",
                "Cohorts",
                "cohort",
                "workspaces",
                "Add a cohort to give a site, an owner or a pilot group policies of its own.",
            ),
            Entry(
                "inventory.plan",
                "Plans",
                "plan",
                "checklist",
                "Make a plan before many certificates are renewed or revoked: it shows who would be concerned, and "
                "does nothing until it is applied.",
            ),
            Entry(
                "inventory.sitepolicy",
                "Site caps",
                "site cap",
                "door_sliding",
                "A tenth of a site's chargers may be away at once, and one always may. Add a site where it is "
                "otherwise.",
            ),
            Entry(
                "inventory.upstream",
                "Upstreams",
                "upstream",
                "alt_route",
                "Add your own CSMS here to relay chargers to it; keys and certificates stay with this control plane.",
            ),
        ),
    ),
    Section(
        "Certificates",
        (
            Entry(
                "inventory.certificaterecord",
                "Certificates",
                "certificate",
                "workspace_premium",
                "Certificates appear when one is issued: open an identity and choose “Issue”.",
            ),
            Entry(
                "inventory.certificatejob",
                "Jobs",
                "job",
                "assignment",
                "Jobs appear when a certificate is issued, renewed, delivered or revoked.",
            ),
            Entry(
                "inventory.setback",
                "Work set aside",
                "piece of work",
                "running_with_errors",
                "Nothing was set aside: no piece of the workers' recurring work fails.",
            ),
            Entry(
                "inventory.lifecyclepolicy",
                "Policies",
                "policy",
                "rule",
                "Add a policy for each purpose; without one nothing is issued or renewed.",
            ),
            Entry(
                "inventory.issuingauthority",
                "Issuing authorities",
                "issuing authority",
                "account_balance",
                "The PKI worker lists its authorities here when it starts. Check that it runs.",
            ),
        ),
    ),
    Section(
        "Trust anchors",
        (
            Entry(
                "trustanchors.trustanchor",
                "Anchors",
                "trust anchor",
                "anchor",
                "Add the root of your charger identity CA and of your server certificates, then put them into bundles.",
            ),
            Entry(
                "trustanchors.trustanchorbundle",
                "Bundles",
                "bundle",
                "inventory_2",
                "Add a bundle of anchors for a purpose, then release it to a cohort.",
            ),
            Entry(
                "trustanchors.bundlerollout",
                "Rollouts of bundles",
                "rollout",
                "rocket_launch",
                "Rollouts appear when a bundle is released: open one under “Bundles” and choose “Release to a cohort”.",
            ),
            Entry(
                "trustanchors.bundleinstallation",
                "Installations",
                "installation",
                "install_desktop",
                "Installations appear when a bundle is released to a cohort.",
            ),
        ),
    ),
    Section(
        "Connections",
        (
            Entry(
                "ocpp.stationsession",
                "Sessions",
                "session",
                "lan",
                "Sessions appear when a charger connects to the gateway. Check that the gateway runs and that the "
                "chargers know its address.",
            ),
            Entry(
                "ocpp.outboxcommand",
                "Commands to stations",
                "command",
                "outbox",
                "Commands appear when a job or an operator asks something of a station.",
            ),
            Entry(
                "ocpp.inboxmessage",
                "Evidence from stations",
                "message",
                "inbox",
                "Messages appear when stations connect, boot, answer or report.",
            ),
            Entry(
                "ocpp.stationquestion",
                "Questions of stations",
                "question",
                "contact_support",
                "Questions appear when a station asks for a contract certificate or for the status of one, and "
                "somebody is set up to answer.",
            ),
            Entry(
                "migration.authorizationkey",
                "AuthorizationKeys",
                "AuthorizationKey",
                "password",
                "Open a charger and choose “Set AuthorizationKey” to let it in on Profile 2.",
            ),
            Entry(
                "migration.keyrotation",
                "Key rotations",
                "key rotation",
                "sync_lock",
                "Open a charger and choose “Rotate the AuthorizationKey”, or make a plan to rotate many.",
            ),
            Entry(
                "migration.recoverydoor",
                "Narrow doors",
                "narrow door",
                "door_open",
                "For a charger on Profile 3 that is locked out, open its page and choose “Open a narrow door …”.",
            ),
            Entry(
                "migration.knowndefaultkey",
                "Default keys",
                "default key",
                "key_off",
                "Add the keys that your vendors ship with, so that chargers that use one are found.",
            ),
        ),
    ),
    Section(
        "Migration",
        (
            Entry(
                "migration.migrationrollout",
                "Rollouts",
                "rollout",
                "moving",
                "Plan a migration to Profile 3 for one cohort or several; applying the plan makes a rollout.",
            ),
            Entry(
                "migration.wave",
                "Waves",
                "wave",
                "waves",
                "Waves appear when a migration plan is applied: one for each of its cohorts.",
            ),
            Entry(
                "migration.migrationcase",
                "Chargers on their way",
                "migration",
                "route",
                "Chargers appear here when a migration plan is applied, or when a new one of a capable family boots.",
            ),
            Entry(
                "migration.breaker",
                "Breakers",
                "breaker",
                "electric_bolt",
                "No family and no site had to be stopped.",
            ),
            Entry(
                "migration.migrationwindow",
                "Hours of work",
                "window",
                "schedule",
                "Without any, chargers may be moved at every hour. Add hours for all sites, or for one.",
            ),
            Entry(
                "migration.blackout",
                "Blackouts",
                "blackout",
                "event_busy",
                "Add days on which nothing is to be moved.",
            ),
        ),
    ),
    Section(
        "Provisioning",
        (
            Entry(
                "provisioning.provisioningcase",
                "Provisioning cases",
                "provisioning case",
                "electric_car",
                "Open a vehicle or an EVSE and choose “Start provisioning”.",
            ),
            Entry(
                "provisioning.provisioningevidence",
                "External answers",
                "external answer",
                "fact_check",
                "What brokers, manufacturers and partners say of a case appears here.",
            ),
            Entry(
                "provisioning.ownershipdecision",
                "Ownership decisions",
                "ownership decision",
                "account_tree",
                "Decide who does what for each purpose; until then only pilots may use it.",
            ),
        ),
    ),
    Section(
        "Plug and Charge pools",
        (
            Entry(
                "provisioning.poolnode",
                "Pool nodes",
                "node of the pools",
                "domain",
                "Open a node for a company once its identifiers are confirmed.",
            ),
            Entry(
                "provisioning.poolcredential",
                "Pool credentials",
                "credential of the pools",
                "key",
                "Open a node and give one of its programs a token.",
            ),
            Entry(
                "provisioning.poolroot",
                "Pool roots",
                "root of the pools",
                "account_balance",
                "Add the roots that contracts, vehicles and provisioning services chain to.",
            ),
            Entry(
                "provisioning.poolprovisioningcertificate",
                "Provisioning certificates",
                "provisioning certificate",
                "directions_car",
                "Manufacturers publish the certificates of their vehicles over OPCP.",
            ),
            Entry(
                "provisioning.poolcontract",
                "Contracts",
                "contract",
                "contract",
                "Mobility operators publish contracts over OPCP.",
            ),
            Entry(
                "provisioning.poolwebhook",
                "Pool webhooks",
                "webhook",
                "webhook",
                "Nodes enter webhooks over OPCP, at hosts that the configuration allows.",
            ),
            Entry(
                "provisioning.poolpush",
                "Pool pushes",
                "push",
                "send",
                "What webhooks are told of appears here, and stays where it was given up.",
            ),
            Entry(
                "provisioning.poolchange",
                "Pool changes",
                "change in the pools",
                "history",
                "Whatever is published, changed or taken out of the pools is written here.",
            ),
        ),
    ),
    Section(
        "Audit",
        (
            Entry(
                "inventory.domainevent",
                "Domain events",
                "domain event",
                "history",
                "Every transition is written here; there has been none yet.",
            ),
            Entry(
                "inventory.securityevent",
                "Security events",
                "security event",
                "shield",
                "Nothing security-relevant has happened yet: no refused connection, no report from a charger.",
            ),
            Entry(
                "inventory.stationlog",
                "Station logs",
                "station log",
                "description",
                "Open a charger and choose “Fetch the security log”.",
            ),
            Entry(
                "inventory.artifact",
                "Artifacts",
                "artifact",
                "inventory_2",
                "Security logs, released bundles and issued chains appear here once they are kept.",
            ),
            Entry(
                "inventory.evidence",
                "Evidence",
                "piece of evidence",
                "fact_check",
                "Evidence appears when a station acknowledges a certificate or connects with it.",
            ),
        ),
    ),
    Section(
        "People",
        (
            Entry("auth.user", "Users", "user", "person", "Add the people who work here."),
            Entry("auth.group", "Groups", "group", "groups", "Add a group for each set of permissions."),
        ),
    ),
)

_ENTRIES = {entry.model: (section, entry) for section in SECTIONS for entry in section.entries}


def entry_of(model: type[Model]) -> Entry | None:
    """The navigation entry of a model, or None where it has none."""
    found = _ENTRIES.get(model._meta.label_lower)
    return found[1] if found else None


@dataclass(frozen=True, slots=True)
class Crumb:
    """One step of the path at the top of a page."""

    title: str
    link: str = ""


def crumbs(model: type[Model], *further: Crumb) -> list[Crumb]:
    """The path to a page of a model: its section, its list, then what the page adds."""
    found = _ENTRIES.get(model._meta.label_lower)
    if found is None:
        return [Crumb(str(model._meta.verbose_name_plural)), *further]
    section, entry = found
    listing = Crumb(entry.title, reverse(entry.route))
    above = [] if section.title == entry.title else [Crumb(section.title)]
    return [*above, listing, *further]


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """django-unfold's navigation: only what this person may view."""
    index = reverse("admin:index")
    here = request.path == index
    overview = {
        "title": "Overview",
        "icon": "dashboard",
        "link": index,
        "active": here,
        "current": "page" if here else "",
    }
    groups: list[dict[str, Any]] = [{"items": [overview]}]
    for section in SECTIONS:
        items = [item for entry in section.entries if (item := _item(entry, request))]
        if items:
            groups.append({"title": section.title, "items": items})
    return groups


def _place(request: HttpRequest, link: str) -> dict[str, Any]:
    """Whether a list is where somebody is: on its own page, or on one of what it lists (ARIA `aria-current`)."""
    active = request.path.startswith(link)
    return {"active": active, "current": "page" if request.path == link else "true" if active else ""}


def _item(entry: Entry, request: HttpRequest) -> dict[str, Any] | None:
    if not request.user.has_perm(entry.permission):
        return None
    try:
        link = reverse(entry.route)
    except NoReverseMatch:
        return None
    return {"title": entry.title, "icon": entry.icon, "link": link, **_place(request, link)}
