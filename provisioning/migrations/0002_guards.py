"""What the database itself refuses of provisioning, whatever code, shell or console asks for it."""

from collections.abc import Mapping

from django.db import migrations

from provisioning.choices import CASE_TRANSITIONS


def _transition_list(table: Mapping[str, frozenset[str]]) -> str:
    pairs = sorted((source, target) for source, targets in table.items() for target in targets)
    return ", ".join(f"('{source}', '{target}')" for source, target in pairs)


CASE_GUARD = f"""
CREATE FUNCTION provisioning_guard_case() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'provisioning case % is never removed; cancel it', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'prerequisite' THEN
            RAISE EXCEPTION 'a provisioning case cannot begin as %', NEW.state USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.identity_id, NEW.purpose, NEW.slot, NEW.path, NEW.program)
            IS DISTINCT FROM (OLD.identity_id, OLD.purpose, OLD.slot, OLD.path, OLD.program) THEN
        RAISE EXCEPTION 'provisioning case %: identity, purpose, slot, path and program never change', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.record_id IS NOT NULL AND NEW.record_id IS DISTINCT FROM OLD.record_id AND NOT EXISTS (
            SELECT 1 FROM inventory_certificaterecord r WHERE r.id = NEW.record_id
            AND (r.identity_id, r.purpose, r.slot) = (NEW.identity_id, NEW.purpose, NEW.slot)) THEN
        RAISE EXCEPTION 'provisioning case %: its certificate is of another identity, purpose or slot', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = OLD.state THEN
        RETURN NEW;
    END IF;
    IF (OLD.state, NEW.state) NOT IN ({_transition_list(CASE_TRANSITIONS)}) THEN
        RAISE EXCEPTION 'provisioning case %: % to % is no transition', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'active' THEN
        IF NOT EXISTS (SELECT 1 FROM provisioning_provisioningevidence e WHERE e.id = NEW.activation_evidence_id
                AND e.case_id = NEW.id AND e.authoritative AND e.outcome = 'positive'
                AND e.kind IN ('readiness', 'transaction') AND e.fresh_until > NEW.entered_state_at
                AND (NEW.evidence_from IS NULL OR e.observed_at >= NEW.evidence_from)) THEN
            RAISE EXCEPTION 'provisioning case %: active needs fresh authoritative evidence of its own', NEW.id
                USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.record_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM inventory_certificaterecord r
                WHERE r.id = NEW.record_id AND r.state = 'active') THEN
            RAISE EXCEPTION 'provisioning case %: its certificate is not active', NEW.id
                USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    IF NEW.state = 'blocked' AND EXISTS (SELECT 1 FROM inventory_certificaterecord r
            WHERE r.id = NEW.record_id AND r.state = 'active') THEN
        RAISE EXCEPTION 'provisioning case %: its certificate is still active', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_case BEFORE INSERT OR UPDATE OR DELETE ON provisioning_provisioningcase
    FOR EACH ROW EXECUTE FUNCTION provisioning_guard_case();
"""

# Only for the purposes that a case can have, so that no charger's certificate pays for it.
RECORD_GUARD = """
CREATE FUNCTION provisioning_guard_activation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM provisioning_provisioningcase c WHERE c.record_id = NEW.id AND c.state = 'blocked') THEN
        RAISE EXCEPTION 'certificate record %: its provisioning case is blocked', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_provisioned BEFORE UPDATE OF state ON inventory_certificaterecord FOR EACH ROW
    WHEN (NEW.state = 'active' AND OLD.state <> 'active'
        AND NEW.purpose NOT IN ('charger_identity', 'backend_server', 'iot_hub_device'))
    EXECUTE FUNCTION provisioning_guard_activation();
"""

STORED_GUARD = """
CREATE FUNCTION provisioning_guard_stored() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    level text;
BEGIN
    SELECT d.source_of_truth INTO level FROM provisioning_ownershipdecision d
        JOIN inventory_managedidentity i ON i.id = NEW.identity_id
        WHERE d.purpose = NEW.purpose AND d.program IN (i.program, '') ORDER BY d.program DESC LIMIT 1;
    IF level = 'evidence_only' THEN
        RAISE EXCEPTION 'certificate record: by its ownership decision only evidence is kept'
            USING ERRCODE = 'check_violation';
    END IF;
    IF level = 'lifecycle_only' AND (NEW.certificate_pem <> '' OR NEW.chain_pem <> '') THEN
        RAISE EXCEPTION 'certificate record: by its ownership decision the certificate itself is not kept'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_stored BEFORE INSERT ON inventory_certificaterecord FOR EACH ROW
    WHEN (NEW.mode <> 'managed' AND NEW.purpose NOT IN ('charger_identity', 'backend_server', 'iot_hub_device'))
    EXECUTE FUNCTION provisioning_guard_stored();
CREATE TRIGGER guard_stored_again BEFORE UPDATE OF certificate_pem, chain_pem ON inventory_certificaterecord FOR EACH ROW
    WHEN (NEW.mode <> 'managed' AND NEW.purpose NOT IN ('charger_identity', 'backend_server', 'iot_hub_device')
        AND (NEW.certificate_pem, NEW.chain_pem) IS DISTINCT FROM (OLD.certificate_pem, OLD.chain_pem))
    EXECUTE FUNCTION provisioning_guard_stored();
"""

NO_PRIVATE_KEY = """
ALTER TABLE provisioning_provisioningevidence ADD CONSTRAINT evidence_without_private_key
    CHECK (content::text NOT LIKE '%PRIVATE KEY-----%');
"""

APPEND_ONLY = (
    "provisioning_provisioningevidence",
    "provisioning_externalreference",
    "provisioning_historicalprovisioningcase",
    "provisioning_historicalprerequisite",
    "provisioning_historicalownershipdecision",
)


class Migration(migrations.Migration):
    dependencies = [("provisioning", "0001_cases"), ("inventory", "0008_no_truncation")]
    operations = [
        migrations.RunSQL(
            CASE_GUARD,
            "DROP TRIGGER guard_case ON provisioning_provisioningcase; DROP FUNCTION provisioning_guard_case();",
        ),
        migrations.RunSQL(
            RECORD_GUARD,
            "DROP TRIGGER guard_provisioned ON inventory_certificaterecord; "
            "DROP FUNCTION provisioning_guard_activation();",
        ),
        migrations.RunSQL(
            STORED_GUARD,
            "DROP TRIGGER guard_stored ON inventory_certificaterecord; "
            "DROP TRIGGER guard_stored_again ON inventory_certificaterecord; "
            "DROP FUNCTION provisioning_guard_stored();",
        ),
        migrations.RunSQL(
            NO_PRIVATE_KEY,
            "ALTER TABLE provisioning_provisioningevidence DROP CONSTRAINT evidence_without_private_key;",
        ),
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION inventory_append_only();"
                f"CREATE TRIGGER no_truncation BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION inventory_no_truncation();",
                f"DROP TRIGGER append_only ON {table}; DROP TRIGGER no_truncation ON {table};",
            )
            for table in APPEND_ONLY
        ),
    ]
