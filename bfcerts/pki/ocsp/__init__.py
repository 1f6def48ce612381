"""OCSP (RFC 6960): requests, the verification of answers, and the answers of a responder of ours."""
