"""The root certificate pool (OPCP rcp.v1)."""

from http import HTTPStatus

from django.http import HttpResponse, JsonResponse

from provisioning.pools import roots
from provisioning.pools.choices import PoolRole, PoolScope, RootType
from provisioning.pools.errors import PoolError
from provisioning.pools.http.door import Call
from provisioning.pools.shown import root_as_shown

_OVER_OPCP = "Asked for over OPCP"


def listing(call: Call) -> HttpResponse:
    """GET /v1/root/rootCerts."""
    call.caller.require(PoolScope.ROOTS, list(PoolRole), "read roots", call.now)
    kind = call.asked("rootType")
    if kind and kind.upper() not in RootType.values:
        raise PoolError("rootType : must be one of mo, v2g, oem")
    found = [root_as_shown(root) for root in roots.listed(kind)]
    return JsonResponse({"RootCertificateCollection": {"rootCertificates": found}})


def get(call: Call, root_id: str) -> HttpResponse:
    """GET /v1/root/rootCerts/{rootCertificateId}."""
    call.caller.require(PoolScope.ROOTS, list(PoolRole), "read roots", call.now)
    return JsonResponse({"RootResponse": root_as_shown(roots.by_public_id(root_id))})


def add(call: Call) -> HttpResponse:
    """PUT /v1/root/rootCerts, for the administration of the ecosystem."""
    call.caller.require(PoolScope.ROOTS, [PoolRole.ADMINISTRATION], "add roots", call.now)
    certificate, kind = call.body.get("caCertificate"), call.body.get("rootType")
    if not isinstance(certificate, str) or not isinstance(kind, str):
        raise PoolError("caCertificate and rootType : must not be empty")
    root = roots.add(certificate=certificate, root_type=kind, actor=call.caller.actor, reason=_OVER_OPCP, now=call.now)
    return JsonResponse({"RootResponse": root_as_shown(root)})


def remove(call: Call, root_id: str) -> HttpResponse:
    """DELETE /v1/root/rootCerts/{rootCertificateId}, for the administration of the ecosystem."""
    call.caller.require(PoolScope.ROOTS, [PoolRole.ADMINISTRATION], "take roots out", call.now)
    roots.remove(root=roots.by_public_id(root_id), actor=call.caller.actor, reason=_OVER_OPCP, now=call.now)
    return HttpResponse(status=HTTPStatus.OK)
