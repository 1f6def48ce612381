"""What is wrong with a setting, in words."""

from pydantic_core import ErrorDetails

_NEEDED: dict[str, str] = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "enum": "one of {expected}",
    "literal_error": "one of {expected}",
}
"""What a value has to be, by the kind of what is wrong with it. None of these is ever a secret."""
_NEEDED_TEXT: dict[str, str] = {
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "missing": "set",
}
"""The same of texts, which may be secrets and are not repeated."""


def said(problem: ErrorDetails) -> str:
    """What is wrong with one setting."""
    context = problem.get("ctx", {})
    if needed := _NEEDED.get(problem["type"]):
        return f"it has to be {needed.format(**context)}, and is “{problem['input']}”"
    if needed := _NEEDED_TEXT.get(problem["type"]):
        return f"it has to be {needed.format(**context)}"
    return problem["msg"].removeprefix("Value error, ")
