"""What pydantic found wrong, in one line and without the values, which may be secrets."""

from pydantic import ValidationError


def problems_of(error: ValidationError) -> str:
    """Each problem as 'place: what is wrong', separated by semicolons."""
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()
    )
