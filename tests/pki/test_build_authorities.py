"""What an installation's configuration makes of the authorities, and how it is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bfcerts.pki.authorities import build_authorities
from bfcerts.pki.authorities.base import AuthorityMisconfigured
from bfcerts.pki.authorities.local import LocalAuthority
from bfcerts.pki.profiles import PROFILES, profile
from tests.acm_pca import AcmPcaServer

DOMAINS = ("charger_identity", "vehicle_vas_identity")
ARNS = {domain: f"arn:aws:acm-pca:eu-central-1:123456789012:certificate-authority/{domain}" for domain in DOMAINS}


def local(folder: Path, **changed: Any) -> Any:
    values: dict[str, Any] = {
        "kind": "local",
        "trust_domains": DOMAINS,
        "directory": folder,
        "local_ca_key": "a secret of at least sixteen characters",
        "debug": True,
    }
    return build_authorities(**{**values, **changed})


def aws(**changed: Any) -> Any:
    values: dict[str, Any] = {
        "kind": "aws_private_ca",
        "trust_domains": DOMAINS,
        "aws_region": "eu-central-1",
        "arns": ARNS,
    }
    return build_authorities(**{**values, **changed})


def test_a_local_ca_for_each_trust_domain(tmp_path: Path) -> None:
    built = local(tmp_path / "ca")
    assert not (tmp_path / "ca").exists()
    assert {domain: authority.trust_domain for domain, authority in built.items()} == dict(
        zip(DOMAINS, DOMAINS, strict=True)
    )
    assert all(isinstance(authority, LocalAuthority) for authority in built.values())
    assert len({authority.describe().root_pem for authority in built.values()}) == 2


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"debug": False}, "does not run with DEBUG off"),
        ({"directory": None}, "set BFCERTS_LOCAL_CA_DIRECTORY"),
        ({"local_ca_key": None}, "set BFCERTS_LOCAL_CA_KEY"),
        ({"local_ca_key": ""}, "set BFCERTS_LOCAL_CA_KEY"),
    ],
)
def test_a_local_ca_that_may_not_run(tmp_path: Path, changed: dict[str, Any], because: str) -> None:
    with pytest.raises(AuthorityMisconfigured, match=because) as caught:
        local(tmp_path, **changed)
    assert "\n" not in caught.value.message


def test_a_local_ca_that_an_operator_allowed(tmp_path: Path) -> None:
    assert set(local(tmp_path, debug=False, local_ca_allowed=True)) == set(DOMAINS)


@pytest.mark.parametrize(
    ("arns", "because"),
    [
        ({}, "no issuing CA for charger_identity, vehicle_vas_identity"),
        ({"charger_identity": ARNS["charger_identity"]}, "no issuing CA for vehicle_vas_identity"),
        ({**ARNS, "firmware_signing": "arn:aws:acm-pca:x"}, "names firmware_signing, for which nothing is issued"),
        (dict.fromkeys(DOMAINS, ARNS["charger_identity"]), "the same CA; each trust domain needs one of its own"),
    ],
)
def test_arns_that_do_not_fit_the_trust_domains(arns: dict[str, str], because: str) -> None:
    with pytest.raises(AuthorityMisconfigured, match=because):
        aws(arns=arns)


def test_an_aws_ca_for_each_trust_domain_at_the_configured_endpoint(tmp_path: Path) -> None:
    """In a process of its own: credentials come from its environment, as the PKI process's do."""
    script = (
        "import json, sys; from bfcerts.pki.authorities import build_authorities\n"
        "arns = json.loads(sys.argv[2])\n"
        "built = build_authorities(kind='aws_private_ca', trust_domains=list(arns), aws_region='eu-central-1',\n"
        "    aws_endpoint_url=sys.argv[1], arns=arns)\n"
        "print(json.dumps({domain: one.describe().reference for domain, one in built.items()}))"
    )
    with AcmPcaServer(tmp_path, DOMAINS) as server:
        done = subprocess.run(
            [sys.executable, "-c", script, server.url, json.dumps(server.arns)],
            env={"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == server.arns


def test_no_credentials_are_an_operators_matter(tmp_path: Path) -> None:
    script = (
        "import sys; from bfcerts.pki.authorities import build_authorities, AuthorityMisconfigured\n"
        "built = build_authorities(kind='aws_private_ca', trust_domains=['a'], aws_region=sys.argv[1] or None,\n"
        "    aws_endpoint_url='http://127.0.0.1:9', arns={'a': 'arn:aws:acm-pca:x'})\n"
        "built['a'].describe()"
    )
    for region, because in (("eu-central-1", "no credentials"), ("", "BFCERTS_AWS_REGION")):
        done = subprocess.run(
            [sys.executable, "-c", script, region],
            env={"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "AuthorityMisconfigured" in done.stderr.splitlines()[-1]
        assert because in done.stderr.splitlines()[-1]


def test_processes_that_never_issue_do_not_load_boto3() -> None:
    script = "import sys, bfcerts.pki.authorities; print('boto3' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_profiles_have_names() -> None:
    assert profile("charger_client") is PROFILES["charger_client"]
    with pytest.raises(ValueError, match="no certificate profile 'ca'; there are charger_client"):
        profile("ca")
