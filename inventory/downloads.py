"""What is kept in the artifact store, as a download: the same answer in console and API."""

from collections.abc import Iterator

from django.http import StreamingHttpResponse

from inventory.models import Artifact


def downloaded(artifact: Artifact, content: Iterator[bytes]) -> StreamingHttpResponse:
    """The content as a file to be saved: it came from outside, so no browser is to show or run it."""
    name = artifact.name.replace("/", "-")
    return StreamingHttpResponse(
        content,
        content_type="application/octet-stream",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(artifact.size),
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox",
        },
    )
