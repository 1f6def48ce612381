"""An EXI codec of the tests: a class, and the same as a program. What it makes begins like EXI and can be read back."""

import base64
import json
import sys
import threading

from provisioning.pools.exi_codec import ExiCodecError, Turning

HEADER = b"\x80\x98"


class Codec:
    """Puts what it was given behind an EXI header."""

    def turn(self, asked: Turning) -> bytes:
        if asked.signed_data is None:
            return HEADER + b"none:" + asked.namespace.encode()
        if b"Unturnable" in asked.signed_data:
            raise ExiCodecError("The codec does not know this.")
        return HEADER + (asked.session_id or b"") + asked.signed_data


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    data = base64.b64decode(asked.get("signedContractData", ""))
    answers = {
        "well": json.dumps({"exi": base64.b64encode(HEADER + data).decode()}),
        "error": json.dumps({"error": "cannot"}),
        "html": "<html>",
        "xml": json.dumps({"exi": base64.b64encode(data).decode()}),
        "much": "x" * 200_000,
    }
    if sys.argv[1] == "fails":
        sys.exit(3)
    if sys.argv[1] == "hangs":
        threading.Event().wait()
    sys.stdout.write(answers[sys.argv[1]])
