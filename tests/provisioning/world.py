"""A small Plug and Charge world of real certificates: roots, CAs, cars, contracts, and EXI that carries them."""

import base64
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from django.http import HttpResponse
from django.test import Client

from bfcerts.pki.certificates import ParsedCertificate
from provisioning.models import PoolNode, PoolRoot
from provisioning.pools import credentials, nodes, roots
from provisioning.pools.choices import Namespace, PoolScope
from tests.pki.material import Issuer
from tests.support import OPERATOR

PCID = "WVWTESTVEHICLE001"
OTHER_PCID = "WVWTESTVEHICLE002"
EMAID = "DE8AA001234567"
OTHER_EMAID = "DE8AA001234568"
FOREIGN_EMAID = "FRXYZ123456789"
YEARS = timedelta(days=3650)


def exi(*certificates: ParsedCertificate, offset: int = 3, salt: bytes = b"") -> bytes:
    """EXI that carries these certificates, at some bit offset; nothing else of it means anything."""
    bits = f"{0x80:08b}" + "01" * 4 + "0" * offset
    for certificate in certificates:
        bits += f"{len(certificate.der):016b}" + "".join(f"{octet:08b}" for octet in certificate.der)
    bits += "".join(f"{octet:08b}" for octet in salt)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def base64_of(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def der(certificate: ParsedCertificate) -> str:
    return base64_of(certificate.der)


@dataclass
class Car:
    """A vehicle as its manufacturer knows it."""

    pcid: str
    certificate: ParsedCertificate
    chain: tuple[ParsedCertificate, ParsedCertificate]

    @property
    def body(self) -> dict[str, Any]:
        """As OPCP's ProvisioningCertificate."""
        sub2, sub1 = self.chain
        return {
            "vehicleCertificate": der(self.certificate),
            "subCA1Certificate": der(sub1),
            "subCA2Certificate": der(sub2),
            "xsdMsgDefNamespace": Namespace.ISO_2.value,
        }

    @property
    def request(self) -> str:
        """Its CertificateInstallationReq."""
        return base64_of(exi(self.certificate, offset=5))


@dataclass
class Contract:
    """A contract as a provisioning service signed it."""

    emaid: str
    certificate: ParsedCertificate
    others: tuple[ParsedCertificate, ...]
    private_key: bytes = field(default_factory=lambda: os.urandom(48))

    @property
    def xml(self) -> bytes:
        parts = "".join(f"<c:Certificate>{der(one)}</c:Certificate>" for one in (self.certificate, *self.others))
        secret = f"<c:ContractSignatureEncryptedPrivateKey>{base64_of(self.private_key)}</c:ContractSignature"
        return f"<c:CertificateInstallationRes>{parts}{secret}EncryptedPrivateKey></c:Res>".encode()

    @property
    def response(self) -> bytes:
        """A ready-made CertificateInstallationRes."""
        return exi(self.certificate, *self.others, offset=1, salt=self.private_key)

    def body(self, pcid: str = PCID, **more: Any) -> dict[str, Any]:
        """As OPCP's SignedContractData, with a ready-made answer."""
        return {
            "xsdMsgDefNamespace": Namespace.ISO_2.value,
            "emaid": self.emaid,
            "pcid": pcid,
            "signedContractDataXML": base64_of(self.xml),
            "certificateInstallationRes": base64_of(self.response),
            **more,
        }


class Speaker:
    """A program of a node, as it speaks to the pools over HTTP."""

    def __init__(self, node: PoolNode, token: str) -> None:
        self.node = node
        self.token = token
        self._client = Client(raise_request_exception=False)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        answer: HttpResponse = self._client.generic(  # type: ignore[assignment]  # the client's own kind of answer
            method,
            f"/opcp/v1/{path}",
            content,
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.token}", **headers},
        )
        return answer

    def get(self, path: str) -> HttpResponse:
        return self.ask("GET", path)

    def put(self, path: str, body: Any) -> HttpResponse:
        return self.ask("PUT", path, body)

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self.ask("POST", path, body, **headers)

    def delete(self, path: str, **headers: str) -> HttpResponse:
        return self.ask("DELETE", path, **headers)


class World:
    """Everybody, and what they issue."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.v2g_root = Issuer("V2G Root")
        self.oem_root, self.mo_root = Issuer("OEM Root"), Issuer("MO Root")
        self.oem_sub1 = Issuer("OEM Sub1", self.oem_root, path_length=1)
        self.oem_sub2 = Issuer("OEM Sub2", self.oem_sub1, path_length=0)
        self.mo_sub1 = Issuer("MO Sub1", self.mo_root, path_length=1)
        self.mo_sub2 = Issuer("MO Sub2", self.mo_sub1, path_length=0)
        self.cps_sub = Issuer("CPS Sub", self.v2g_root, path_length=0)
        self.signer = self.cps_sub.issue("CPS", usages=(), not_after=self.now + timedelta(days=90))

    def fill(self) -> None:
        """Roots in the pool, and a node for each role."""
        self.roots = {
            kind: self.add_root(issuer, kind)
            for kind, issuer in (("V2G", self.v2g_root), ("OEM", self.oem_root), ("MO", self.mo_root))
        }
        self.mo = self.speaker("Charge Mobility", "mo", "DE8AA")
        self.other_mo = self.speaker("Mobilité", "mo", "FRXYZ")
        self.oem = self.speaker("Car Maker", "oem", "WVW")
        self.other_oem = self.speaker("Other Maker", "oem", "ZZZ")
        self.cpo = self.speaker("Charge Points", "cpo", "DEICE")
        self.cps = self.speaker("Signing Service", "cps")
        self.administration = self.speaker("Fleet Office", "administration")

    def add_root(self, issuer: Issuer, kind: str) -> PoolRoot:
        return roots.add(certificate=issuer.certificate.pem, root_type=kind, actor=OPERATOR, reason="given")

    def speaker(self, name: str, role: str, *identifiers: str) -> Speaker:
        node = nodes.open_node(
            name=name,
            role=role,
            identifiers=identifiers,
            issuing_authority="Registry" if identifiers else "",
            actor=OPERATOR,
            reason="Confirmed by letter",
            requests_per_second=1000.0,
        )
        return Speaker(node, self.token(node))

    def token(self, node: PoolNode, *scopes: str) -> str:
        token = credentials.generate()
        credentials.give_token(
            node=node,
            token=token,
            label="backend",
            expires_at=datetime.now(UTC) + timedelta(days=30),
            scopes=scopes or PoolScope.values,
            actor=OPERATOR,
            reason="given",
        )
        return token

    def car(self, pcid: str = PCID, *, days: float = 3000, key: Any = None) -> Car:
        leaf = self.oem_sub2.issue(pcid, usages=(), not_after=self.now + timedelta(days=days), key=key)
        return Car(pcid, leaf, (self.oem_sub2.certificate, self.oem_sub1.certificate))

    def contract(
        self,
        emaid: str = EMAID,
        *,
        days: float = 700,
        signer: ParsedCertificate | None = None,
        issuer: Issuer | None = None,
        extensions: Any = (),
    ) -> Contract:
        leaf = (issuer or self.mo_sub2).issue(
            emaid, usages=(), not_after=self.now + timedelta(days=days), extensions=extensions
        )
        others = (
            self.mo_sub2.certificate,
            self.mo_sub1.certificate,
            signer or self.signer,
            self.cps_sub.certificate,
        )
        return Contract(emaid, leaf, others)

    def published(self, emaid: str = EMAID, pcid: str = PCID, **options: Any) -> Contract:
        """A contract in the pool, for a car in the pool."""
        contract = self.contract(emaid, **options)
        answer = self.mo.put("ccp/signedContractData", contract.body(pcid))
        assert answer.status_code == 201, answer.content
        return contract

    def car_in_pool(self, pcid: str = PCID, **options: Any) -> Car:
        car = self.car(pcid, **options)
        answer = self.oem.put("oem/provCerts", car.body)
        assert answer.status_code == 200, answer.content
        return car


def name_constraint() -> x509.ExtensionType:
    """An extension that nothing here knows."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
