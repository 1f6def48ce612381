"""Private keys of the gateway's own TLS listeners, encrypted for gateway processes only."""

from django.db import models


class ListenerKey(models.Model):
    """One key pair of one host name, shared by all gateway nodes that serve it.

    The private key is encrypted under a key that only gateway processes hold; the certificate's life is a
    backend_server record in the inventory, found by the request's public key.
    """

    host = models.CharField(max_length=253)
    key_type = models.CharField(max_length=10, help_text="ecdsa or rsa; the record's slot.")
    public_key_sha256 = models.CharField(max_length=64, unique=True)
    encrypted_private_key = models.BinaryField(editable=False)
    csr_pem = models.TextField()
    chain_pem = models.TextField(blank=True, help_text="Leaf and intermediates once issued.")
    request_reference = models.CharField(
        max_length=80, unique=True, help_text="Opaque to the wire: which request this key answers."
    )
    created_at = models.DateTimeField()
    presented_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["host", "key_type", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.key_type} key of {self.host} from {self.created_at:%Y-%m-%d}"
