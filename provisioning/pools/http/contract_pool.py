"""The contract certificate pool (OPCP ccp.v1)."""

from http import HTTPStatus
from typing import Any

from django.http import HttpResponse, JsonResponse

from provisioning.pools import answers, contracts
from provisioning.pools.answers import NoContractError, PoolAnswer
from provisioning.pools.choices import Namespace
from provisioning.pools.http.door import Call


def get_signed(call: Call) -> HttpResponse:
    """POST /v1/ccp/signedContractData: what a car's request is answered.

    Where there is nothing, the 404 carries the answer in EXI for the car, if it may and there is one.
    """
    always = call.flag("alwaysReturnEXI", default=True)
    call.flag("broadcast", default=False)
    try:
        found = answers.for_caller(
            caller=call.caller,
            exi_request=call.body.get("certificateInstallationReq"),
            namespace=call.body.get("xsdMsgDefNamespace"),
            now=call.now,
        )
    except NoContractError as error:
        if not always or error.exi is None:
            raise
        content = {"messageDef": {"certificateInstallationRes": answers.base64_of(error.exi)}}
        return JsonResponse({"CCPResponse": {"emaidContent": [content]}}, status=HTTPStatus.NOT_FOUND)
    return JsonResponse({"CCPResponse": {"emaidContent": [{"messageDef": _message(found)}]}})


def publish(call: Call) -> HttpResponse:
    """PUT /v1/ccp/signedContractData."""
    contracts.publish(caller=call.caller, body=call.body, now=call.now)
    return HttpResponse(status=HTTPStatus.CREATED)


def delete(call: Call, identifier: str) -> HttpResponse:
    """DELETE /v1/ccp/signedContractData/{emaid}. There is no CA of ours behind contracts that could revoke them."""
    call.flag("X-Skip-Revocation", default=False)
    contracts.delete(caller=call.caller, emaid=identifier, now=call.now)
    return HttpResponse(status=HTTPStatus.OK)


def list_of_vehicle(call: Call, identifier: str) -> HttpResponse:
    """GET /v1/ccp/signedContractData/{pcid}."""
    found = contracts.of_vehicle(
        caller=call.caller, pcid=identifier, namespace=call.asked("xsdMsgDefNamespace"), now=call.now
    )
    return JsonResponse(contracts.described(found))


def look_up(call: Call, emaid: str) -> HttpResponse:
    """GET /v1/ccp/lookupContract/{emaid}."""
    found = contracts.look_up(
        caller=call.caller,
        emaid=emaid,
        namespace=call.asked("xsdMsgDefNamespace"),
        root=call.asked("cpsV2GRootCertificateFingerprint"),
        now=call.now,
    )
    return JsonResponse(contracts.described(found))


def provide(call: Call, emaid: str, pcid: str) -> HttpResponse:
    """GET /v1/ccp/provideSignedContractData/{emaid}/{pcid}."""
    found = answers.provide(
        caller=call.caller,
        emaid=emaid,
        pcid=pcid,
        namespace=call.asked("xsdMsgDefNamespace") or Namespace.ISO_2.value,
        session_id=call.asked("sessionID"),
        root=call.asked("cpsV2GRootCertificateFingerprint"),
        now=call.now,
    )
    shown = {"certificateInstallationRes": found.text, "xsdMsgDefNamespace": found.namespace}
    return JsonResponse(shown | _signer(found))


def set_default(call: Call, pcid: str, emaid: str) -> HttpResponse:
    """POST /v1/ccp/signedContractData/{pcid}/{emaid}/default."""
    contracts.set_default(caller=call.caller, pcid=pcid, emaid=emaid, now=call.now)
    return HttpResponse(status=HTTPStatus.OK)


def _message(found: PoolAnswer) -> dict[str, Any]:
    shown: dict[str, Any] = {"certificateInstallationRes": found.text, "emaid": found.emaid}
    if found.metadata:
        shown["metaData"] = found.metadata
    return shown | _signer(found)


def _signer(found: PoolAnswer) -> dict[str, str]:
    root = found.signer_root_fingerprint
    return {"cpsV2GRootCertificateFingerprint": root} if root else {}
