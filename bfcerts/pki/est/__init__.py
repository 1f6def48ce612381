"""Enrolment over Secure Transport (RFC 7030, RFC 8951): the messages, which client and server share, and the client."""
