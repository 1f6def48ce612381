"""What a station keeps over a restart: one folder with station.json, keys, leaves and roots.

    CS-0001/station.json          identity, password, network profiles, what is installed and in use
    CS-0001/keys/key-1.pem        its own private keys
    CS-0001/leaves/leaf-2.pem     leaf and intermediates for the station's own key
    CS-0001/roots/root-3.pem      what InstallCertificate brought, and the roots it was delivered with

Only what station.json names is in use, and it is replaced in one step: a station killed at any point starts
again with the old state or with the new one.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from pydantic import TypeAdapter, ValidationError

from tests.simulator.chains import AcceptedChain, fingerprint, pem_text
from tests.simulator.csr import PrivateKey, key_pem, load_key, public_der
from tests.simulator.dialect import Version
from tests.simulator.identity import Identity, KeyType
from tests.simulator.network import NetworkProfile
from tests.simulator.problems import problems_of

CSMS_ROOT = "CSMSRootCertificate"
V2G_ROOT = "V2GRootCertificate"
MOST_REQUESTED_KEYS = 5


class StoreError(Exception):
    """A station's folder cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A certificate of the station itself; `key` names its private key."""

    name: str
    key: str
    fingerprint: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class StoredRoot:
    """An installed root; `use` as in GetInstalledCertificateIds, for example CSMSRootCertificate."""

    name: str
    use: str
    fingerprint: str


@dataclass(slots=True)
class StationState:
    """The content of station.json."""

    station_id: str
    serial_number: str
    vendor: str = "Example Charging"
    model: str = "AC22"
    firmware: str = "1.4.0"
    key_type: KeyType = KeyType.P256
    protocol: Version = "ocpp2.0.1"
    password: str = ""
    next_password: str = ""
    """Taken, and used from the next boot on (`Quirks.password_needs_reboot`)."""
    previous_password: str = ""
    """Kept until the present one has proved itself (`Quirks.second_key_slot`)."""
    security_profile: int = 0
    """Of the latest successful connection; 0 before the first."""
    network_profiles: dict[int, NetworkProfile] = field(default_factory=dict)
    network_priority: list[int] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    """'Component.Variable' → value, where it differs from the delivered one."""
    roots: list[StoredRoot] = field(default_factory=list)
    """In the order in which they were installed."""
    leaves: list[StoredLeaf] = field(default_factory=list)
    current: str | None = None
    """The leaf that last proved itself in a connection."""
    previous: str | None = None
    """The one before; kept, never presented by a well-behaved station."""
    candidate: str | None = None
    """Accepted and not yet proven."""
    requested_keys: list[str] = field(default_factory=list)
    """Keys of CSRs that were not answered yet, newest last."""
    evse_keys: list[str] = field(default_factory=list)
    """The same for the EVSE's certificate towards vehicles."""
    evse_chain: StoredLeaf | None = None
    """That certificate; it is never presented to a CSMS."""
    next_number: int = 1

    @property
    def identity(self) -> Identity:
        return Identity(self.station_id, self.serial_number, self.vendor, self.model, self.firmware)


_STATE = TypeAdapter(StationState)


class StationStore:
    """One station's folder. Every change is on disk when the method returns."""

    def __init__(self, folder: Path, state: StationState) -> None:
        self.folder = folder
        self.state = state

    @staticmethod
    def folder_of(directory: Path, station_id: str) -> Path:
        return directory / quote(station_id, safe="")

    @classmethod
    def exists(cls, directory: Path, station_id: str) -> bool:
        return (cls.folder_of(directory, station_id) / "station.json").is_file()

    @classmethod
    def open(cls, directory: Path, station_id: str) -> "StationStore":
        """
        :raises StoreError: when there is no such station or its station.json cannot be read.
        """
        folder = cls.folder_of(directory, station_id)
        try:
            return cls(folder, _STATE.validate_json((folder / "station.json").read_bytes()))
        except OSError as error:
            raise StoreError(f"{folder / 'station.json'} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            raise StoreError(f"{folder / 'station.json'} cannot be used: {problems_of(error)}") from None

    @classmethod
    def create(cls, directory: Path, state: StationState, roots: Sequence[x509.Certificate]) -> "StationStore":
        """Make the folder of a station as it leaves the factory, with its first CSMS roots."""
        store = cls(cls.folder_of(directory, state.station_id), state)
        store.equip(roots)
        return store

    def equip(self, roots: Sequence[x509.Certificate]) -> None:
        """Give a station its first CSMS roots."""
        for part in ("keys", "leaves", "roots"):
            (self.folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
        for root in roots:
            self.add_root(CSMS_ROOT, root)
        self.save()

    def change_password(self, password: str, *, keep_previous: bool) -> None:
        """Use another password from the next connection on."""
        self.state.previous_password = self.state.password if keep_previous else ""
        self.state.password, self.state.next_password = password, ""
        self.save()

    def go_back_to_previous_password(self) -> None:
        self.state.password, self.state.previous_password = self.state.previous_password, ""
        self.save()

    def reload(self) -> None:
        """Read station.json again, as after a restart."""
        self.state = _STATE.validate_json((self.folder / "station.json").read_bytes())

    def save(self) -> None:
        content = json.dumps(_STATE.dump_python(self.state, mode="json"), indent=1)
        self._write(self.folder / "station.json", content.encode())

    def new_key(self, key: PrivateKey) -> str:
        """Keep a key that a CSR is made for; the oldest unanswered ones make room."""
        name = self._name("key")
        self._write(self.key_file(name), key_pem(key))
        self.state.requested_keys = [*self.state.requested_keys, name][-MOST_REQUESTED_KEYS:]
        self._tidy()
        return name

    def new_evse_key(self, key: PrivateKey) -> str:
        """Keep a key that a CSR for the EVSE is made for."""
        name = self._name("key")
        self._write(self.key_file(name), key_pem(key))
        self.state.evse_keys = [*self.state.evse_keys, name][-MOST_REQUESTED_KEYS:]
        self._tidy()
        return name

    def usable_evse_keys(self) -> Mapping[bytes, str]:
        """Public key (DER) → name, of every key that a certificate of the EVSE may arrive for."""
        stored = self.state.evse_chain
        names = [*self.state.evse_keys, *([stored.key] if stored else [])]
        return {public_der(self.key(name)): name for name in names}

    def keep_evse_chain(self, chain: AcceptedChain) -> StoredLeaf:
        """Use another certificate towards vehicles from now on."""
        stored = StoredLeaf(self._name("leaf"), chain.key_name, fingerprint(chain.leaf), chain.leaf.not_valid_after_utc)
        self._write(self.chain_file(stored), chain.pem().encode())
        self.state.evse_chain = stored
        self.state.evse_keys = [name for name in self.state.evse_keys if name != stored.key]
        self._tidy()
        return stored

    def forget_evse_chain(self) -> None:
        self.state.evse_chain = None
        self._tidy()

    def key(self, name: str) -> PrivateKey:
        return load_key(self.key_file(name).read_bytes())

    def usable_keys(self) -> Mapping[bytes, str]:
        """Public key (DER) → name, of every key that a certificate may arrive for."""
        names = [*self.state.requested_keys, *(leaf.key for leaf in self.state.leaves)]
        return {public_der(self.key(name)): name for name in names}

    def key_file(self, name: str) -> Path:
        return self.folder / "keys" / f"{name}.pem"

    def chain_file(self, leaf: StoredLeaf) -> Path:
        return self.folder / "leaves" / f"{leaf.name}.pem"

    def leaf(self, name: str | None) -> StoredLeaf | None:
        return next((leaf for leaf in self.state.leaves if leaf.name == name), None)

    def add_leaf(self, chain: AcceptedChain) -> StoredLeaf:
        """Keep a new certificate as candidate; an earlier candidate gives way."""
        stored = self._store_leaf(chain)
        self.state.candidate = stored.name
        self.state.requested_keys = [name for name in self.state.requested_keys if name != stored.key]
        self._tidy()
        return stored

    def import_leaf(self, chain: Sequence[x509.Certificate], key: PrivateKey) -> StoredLeaf:
        """Use a certificate that did not come by OCPP, as from a factory or a thief."""
        name = self._name("key")
        self._write(self.key_file(name), key_pem(key))
        stored = self._store_leaf(AcceptedChain(name, tuple(chain)))
        self.state.previous, self.state.current, self.state.candidate = self.state.current, stored.name, None
        self._tidy()
        return stored

    def prove_candidate(self) -> None:
        """The candidate connected: it is now the current leaf."""
        self.state.previous, self.state.current = self.state.current, self.state.candidate
        self.state.candidate = None
        self._tidy()

    def discard_candidate(self) -> None:
        """A02.FR.28: the candidate did not connect; what was used before is used again."""
        self.state.candidate = None
        self._tidy()

    def roots(self, use: str = CSMS_ROOT) -> list[x509.Certificate]:
        """The installed roots of one use, oldest first."""
        return [self.root(stored) for stored in self.state.roots if stored.use == use]

    def holds(self, use: str, root: x509.Certificate) -> bool:
        """Whether a root is installed for this use."""
        return any((one.use, one.fingerprint) == (use, fingerprint(root)) for one in self.state.roots)

    def root(self, stored: StoredRoot) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self._root_file(stored).read_bytes())

    def add_root(self, use: str, certificate: x509.Certificate) -> StoredRoot:
        """Install a root. One that is there already moves to the end, as the one installed last."""
        digest = fingerprint(certificate)
        known = [root for root in self.state.roots if (root.use, root.fingerprint) == (use, digest)]
        stored = known[0] if known else StoredRoot(self._name("root"), use, digest)
        self._write(self._root_file(stored), pem_text(certificate).encode())
        self.state.roots = [*(root for root in self.state.roots if root != stored), stored]
        self.save()
        return stored

    def remove_root(self, stored: StoredRoot) -> None:
        self.state.roots.remove(stored)
        self.save()
        self._root_file(stored).unlink(missing_ok=True)

    def _store_leaf(self, chain: AcceptedChain) -> StoredLeaf:
        stored = StoredLeaf(self._name("leaf"), chain.key_name, fingerprint(chain.leaf), chain.leaf.not_valid_after_utc)
        self._write(self.chain_file(stored), chain.pem().encode())
        self.state.leaves.append(stored)
        return stored

    def _tidy(self) -> None:
        """Save, then remove the leaves and keys that nothing names any more."""
        state = self.state
        used = {state.current, state.previous, state.candidate}
        state.leaves = [leaf for leaf in state.leaves if leaf.name in used]
        self.save()
        keys = {*state.requested_keys, *state.evse_keys, *(leaf.key for leaf in state.leaves)}
        if state.evse_chain is not None:
            used.add(state.evse_chain.name)
            keys.add(state.evse_chain.key)
        for part, names in (("leaves", used), ("keys", keys)):
            for file in (self.folder / part).glob("*.pem"):
                if file.stem not in names:
                    file.unlink(missing_ok=True)

    def _root_file(self, stored: StoredRoot) -> Path:
        return self.folder / "roots" / f"{stored.name}.pem"

    def _name(self, kind: str) -> str:
        number = self.state.next_number
        self.state.next_number += 1
        return f"{kind}-{number}"

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        temporary = path.with_suffix(".new")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        temporary.replace(path)
