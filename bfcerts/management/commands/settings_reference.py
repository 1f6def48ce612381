"""`manage.py settings_reference`: docs/settings.md, written from the settings themselves."""

from typing import Any

from django.core.management.base import BaseCommand

from bfcerts.configuration import BASE_DIRECTORY, Configuration

INTRODUCTION = """# Settings

Every value comes from the environment and has a working default. A value that cannot be used stops the process at
start-up with one sentence that names the variable. A list is written with commas between its parts.

This page is the output of `manage.py settings_reference`; after a change of `bfcerts/configuration.py`, write it anew:
`.venv/bin/python manage.py settings_reference > docs/settings.md`. Which process needs which secret is in
[deployment.md](deployment.md).

| Variable | Value | Default | Meaning |
|---|---|---|---|
"""

Property = dict[str, Any]


class Command(BaseCommand):
    help = "Print the reference of all settings as Markdown; docs/settings.md is this output."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(settings_reference(), ending="")


def settings_reference() -> str:
    """The reference of all settings, in the order in which the model states them."""
    schema = Configuration.model_json_schema(by_alias=False)
    definitions = schema.get("$defs", {})
    rows = [
        _row(_variable(name), _choices(schema["properties"][name], definitions), schema["properties"][name])
        for name in Configuration.model_fields
    ]
    return INTRODUCTION + "".join(rows)


def _variable(name: str) -> str:
    # The one name that hosting platforms give; the model states it as an alias.
    return "DATABASE_URL" if name == "database_url" else f"BFCERTS_{name.upper()}"


def _row(variable: str, choices: list[Property], stated: Property) -> str:
    values = " or ".join(dict.fromkeys(_value(choice) for choice in choices if choice.get("type") != "null"))
    cells = (f"`{variable}`", values, _default(stated.get("default")), stated["description"])
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _choices(stated: Property, definitions: dict[str, Property]) -> list[Property]:
    """The kinds of value that a setting takes, each by its own schema."""
    kinds = stated.get("anyOf") or stated.get("allOf") or [stated]
    return [definitions[kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind for kind in kinds]


def _value(choice: Property) -> str:
    if "enum" in choice:
        return ", ".join(f"`{value}`" for value in choice["enum"])
    match choice.get("type"), choice.get("format"):
        case "boolean", _:
            return "`true`, `false`"
        case "integer", _:
            return f"whole number{_bounds(choice)}"
        case "number", _:
            return f"number{_bounds(choice)}"
        case "array", _:
            return "list"
        case "object", _:
            return "list of name=value"
        case _, "password":
            return "secret"
        case _, "path":
            return "folder"
        case _:
            return "text"


def _bounds(choice: Property) -> str:
    least, above, most = choice.get("minimum"), choice.get("exclusiveMinimum"), choice.get("maximum")
    if above is not None:
        return f" above {above:g}"
    if least is not None and most is not None:
        return f", {least} to {most}"
    return "" if least is None else f", {least} or more"


def _default(value: object) -> str:
    match value:
        case None | [] | {} | "":
            return "not set"
        case bool():
            return f"`{str(value).lower()}`"
        case list():
            return f"`{','.join(str(part) for part in value)}`"
        case float():
            return f"`{value:g}`"
        case _:
            return f"`{str(value).removeprefix(f'{BASE_DIRECTORY}/')}`"
