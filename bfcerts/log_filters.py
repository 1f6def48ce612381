"""What must not reach a log although a library writes it."""

import logging
import re

_UPLOAD = re.compile(r"(/upload/)[^/\s'\"]+")


class WithoutUploadAddresses(logging.Filter):
    """Takes the key out of addresses that stations upload to: who reads the log could use it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _without(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(_without(argument) for argument in record.args)
        return True


def _without(value: object) -> object:
    return _UPLOAD.sub(r"\1…", value) if isinstance(value, str) else value
