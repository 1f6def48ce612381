"""What our guide says of Open Plug&Charge, held against its own description where that is at hand."""

import json
import re
from pathlib import Path

from bfcerts.configuration import BASE_DIRECTORY
from bfcerts.pki.authorities import read_authorities
from bfcerts.pki.est.messages import Paths, decode_certificates
from bfcerts.pki.pkcs7 import encode_certificates
from tests.pki.material import Issuer

DESCRIPTION = Path(__file__).parents[3] / "shared" / "data" / "opcp" / "est.v1.json"
# The two operations as published, for where the description is not at hand.
PUBLISHED = ["/.well-known/est/{ca}/simpleenroll/{iso-version}", "/{ca}/cacerts/{iso-version}/{algorithm}/"]
ANSWERED = ["application/pkcs7", "application/pkcs10", "application/pkcs7-mime; smime-type=certs-only"]


def guide() -> dict[str, dict[str, object]]:
    """The example of a set-up in the guide."""
    text = (BASE_DIRECTORY / "docs" / "operating.md").read_text(encoding="utf-8")
    found = re.search(r"```json\n(.*?)```", text[text.index("Enrol with a scheme's CA") :], re.DOTALL)
    assert found
    read: dict[str, dict[str, object]] = json.loads(found[1])
    return read


def templates() -> list[str]:
    if not DESCRIPTION.is_file():
        return PUBLISHED
    return list(json.loads(DESCRIPTION.read_text())["paths"])


def test_the_set_up_of_the_guide_can_be_used_and_fits_the_description() -> None:
    (authority,) = read_authorities(json.dumps(guide())).values()
    assert sorted(templates()) == sorted(PUBLISHED)
    patterns = [re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(one)) for one in templates()]
    for path in (authority.simpleenroll, authority.cacerts):
        assert any(re.fullmatch(pattern, path) for pattern in patterns), path
    assert authority.headers == {"Content-Transfer-Encoding": "application/pkcs10"}
    assert authority.paths == Paths(authority.cacerts, authority.simpleenroll, None)


def test_every_type_of_answer_that_is_described_is_taken() -> None:
    kinds = list(ANSWERED)
    if DESCRIPTION.is_file():
        for methods in json.loads(DESCRIPTION.read_text())["paths"].values():
            for name, method in methods.items():
                kinds += method["responses"]["200"]["content"] if name in ("get", "post") else []
    root = Issuer("Root").certificate
    for kind in kinds:
        assert decode_certificates(encode_certificates([root]), kind) == (root,)
