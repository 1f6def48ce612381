"""The provisioning certificate pool (OPCP pcp.v1)."""

from http import HTTPStatus

from django.http import HttpResponse, JsonResponse

from provisioning.pools import provisioning_certificates
from provisioning.pools.http.door import Call


def publish(call: Call) -> HttpResponse:
    """PUT /v1/oem/provCerts."""
    stored = provisioning_certificates.publish(caller=call.caller, body=call.body, now=call.now)
    return JsonResponse(provisioning_certificates.described(stored, stored.root))


def get(call: Call, pcid: str) -> HttpResponse:
    """GET /v1/oem/provCerts/{pcid}."""
    call.flag("broadcast", default=False)
    found = provisioning_certificates.find(caller=call.caller, pcid=pcid, now=call.now)
    return JsonResponse({"OEMMessage": provisioning_certificates.described(found, found.root)})


def look_up(call: Call, pcid: str) -> HttpResponse:
    """GET /v1/oem/provCerts/lookupVehicle/{pcid}: whether there is one."""
    provisioning_certificates.find(caller=call.caller, pcid=pcid, now=call.now)
    return HttpResponse(status=HTTPStatus.OK)


def delete(call: Call, pcid: str) -> HttpResponse:
    """DELETE /v1/oem/provCerts/{pcid}, and every contract of the vehicle."""
    provisioning_certificates.delete(caller=call.caller, pcid=pcid, now=call.now)
    return HttpResponse(status=HTTPStatus.OK)
