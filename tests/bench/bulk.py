"""How fast a plan takes many certificates out of use at our own doors, in the worker, with everything else running."""

from tests.bench.figures import Figure
from tests.bench.plans import command, plan
from tests.bench.scale import Scale
from tests.bench.site import Site

REVOKING_SECONDS = 600.0


def bulk(site: Site, scale: Scale) -> list[Figure]:
    """Apply a plan that revokes the certificates of a tenth of the chargers, and wait until the last is revoked.

    The time begins when the plan is applied. Meanwhile the PKI worker tells the CA of each, as it always does.
    """
    revoked = scale.planned_chargers // 10
    with site.plane("bulk") as plane:
        plane.fill(site.stations(1), invented=scale.planned_chargers - 1)
        command(plane, "createsuperuser", "--noinput", "--username", "bench", "--email", "bench@example.net")
        said = plan(plane, "bulk_revocation", revoked, 1).said
        digest = said.rpartition("--apply ")[2].split()[0]
        command(plane, "plan", "--apply", digest, "--as", "bench", "--reason", "benchmark")
        plane.wait_for(lambda: plane.number(_WAITING) == 0, "the certificates to be revoked", REVOKING_SECONDS)
        seconds = plane.number(_MILLISECONDS_SINCE_APPLIED) / 1_000
    return [Figure("bulk.revocations_per_s", revoked / seconds)]


_WAITING = """
SELECT count(*) FROM inventory_certificaterecord AS r JOIN inventory_plantarget AS t USING (identity_id)
WHERE t.included AND r.state <> 'revoked'
"""
_MILLISECONDS_SINCE_APPLIED = (
    "SELECT (extract(epoch FROM clock_timestamp() - max(applied_at)) * 1000)::bigint FROM inventory_plan"
)
