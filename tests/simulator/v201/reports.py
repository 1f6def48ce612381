"""SetVariables, GetVariables, GetBaseReport, GetReport (OCPP 2.0.1 B05-B08)."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from tests.simulator.frames import Payload
from tests.simulator.link import Answer
from tests.simulator.variables import COMPONENTS, VARIABLES, Change, Mutability, Variable, definition

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

VARIABLES_IN_ONE_REPORT = 8


def set_variables(station: "SimulatedStation", payload: Payload) -> Answer:
    """B05: one by one, in order; a change that needs a new connection is used right after the answer."""
    results, departures = [], []
    for entry in payload["setVariableData"]:
        change = _change(station, entry)
        result = _echo(entry) | {"attributeStatus": change.status}
        if change.detail:
            result["attributeStatusInfo"] = {"reasonCode": "Refused", "additionalInfo": change.detail}
        results.append(result)
        departures.append(change.departure)
    departure = next((each for each in departures if each), None)
    return Answer({"setVariableResult": results}, departure=departure)


def get_variables(station: "SimulatedStation", payload: Payload) -> Answer:
    """B06: what is write-only, as the password, is not told."""
    return Answer({"getVariableResult": [_read(station, entry) for entry in payload["getVariableData"]]})


def get_base_report(station: "SimulatedStation", payload: Payload) -> Answer:
    """B07: everything, or what can be changed."""
    if payload["reportBase"] == "SummaryInventory":
        return Answer({"status": "NotSupported"})
    chosen = [
        variable
        for variable in VARIABLES
        if payload["reportBase"] == "FullInventory" or variable.mutability is not Mutability.READ_ONLY
    ]
    return Answer({"status": "Accepted"}, after=partial(_notify, station, payload["requestId"], chosen))


def get_report(station: "SimulatedStation", payload: Payload) -> Answer:
    """B08: the variables of the components asked for; criteria are not supported."""
    if "componentCriteria" in payload:
        return Answer({"status": "NotSupported"})
    chosen = [variable for variable in VARIABLES if _is_asked(variable, payload.get("componentVariable"))]
    if not chosen:
        return Answer({"status": "EmptyResultSet"})
    return Answer({"status": "Accepted"}, after=partial(_notify, station, payload["requestId"], chosen))


def _change(station: "SimulatedStation", entry: Payload) -> Change:
    if entry.get("attributeType", "Actual") != "Actual":
        return Change("NotSupportedAttributeType")
    return station.variables.change(entry["component"]["name"], entry["variable"]["name"], entry["attributeValue"])


def _read(station: "SimulatedStation", entry: Payload) -> Payload:
    component, name = entry["component"]["name"], entry["variable"]["name"]
    variable = definition(component, name)
    if component not in COMPONENTS:
        return _echo(entry) | {"attributeStatus": "UnknownComponent"}
    if variable is None:
        return _echo(entry) | {"attributeStatus": "UnknownVariable"}
    if (name, entry.get("attributeType")) == ("CertificateEntries", "MaxSet"):
        return _echo(entry) | {"attributeStatus": "Accepted", "attributeValue": str(station.variables.store_size)}
    if entry.get("attributeType", "Actual") != "Actual":
        return _echo(entry) | {"attributeStatus": "NotSupportedAttributeType"}
    if variable.mutability is Mutability.WRITE_ONLY:
        return _echo(entry) | {"attributeStatus": "Rejected"}
    value = station.variables.get(component, name)
    return _echo(entry) | {"attributeStatus": "Accepted", "attributeValue": value}


def _echo(entry: Payload) -> Payload:
    return {key: entry[key] for key in ("attributeType", "component", "variable") if key in entry}


def _is_asked(variable: Variable, asked: Sequence[Payload] | None) -> bool:
    if asked is None:
        return True
    return any(
        each["component"]["name"] == variable.component
        and each.get("variable", {}).get("name", variable.name) == variable.name
        for each in asked
    )


async def _notify(station: "SimulatedStation", request_id: int, variables: Sequence[Variable]) -> None:
    """NotifyReport in parts; `tbc` says that more follow."""
    starts = range(0, len(variables), VARIABLES_IN_ONE_REPORT)
    for sequence_number, start in enumerate(starts):
        part = variables[start : start + VARIABLES_IN_ONE_REPORT]
        await station.call(
            "NotifyReport",
            {
                "requestId": request_id,
                "generatedAt": station.clock.now().isoformat(),
                "seqNo": sequence_number,
                "tbc": start != starts[-1],
                "reportData": [_report(station, variable) for variable in part],
            },
        )


def _report(station: "SimulatedStation", variable: Variable) -> Payload:
    attribute = {"type": "Actual", "mutability": variable.mutability.value}
    if variable.mutability is not Mutability.WRITE_ONLY:
        attribute["value"] = station.variables.get(variable.component, variable.name)
    return {
        "component": {"name": variable.component},
        "variable": {"name": variable.name},
        "variableAttribute": [attribute],
        "variableCharacteristics": {"dataType": variable.data_type, "supportsMonitoring": False},
    }
