"""What the database itself refuses, whatever code, shell or console asks for it."""

from django.db import migrations

from inventory.choices import RECORD_TRANSITIONS


def _transition_list() -> str:
    pairs = sorted((source, target) for source, targets in RECORD_TRANSITIONS.items() for target in targets)
    return ", ".join(f"('{source}', '{target}')" for source, target in pairs)


RECORD_GUARD = f"""
CREATE FUNCTION inventory_guard_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'certificate record % is never removed; delete it by its lifecycle', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NOT (NEW.state = 'requested' OR (NEW.registered_externally
                AND NEW.state IN ('issued', 'installed_pending_activation'))) THEN
            RAISE EXCEPTION 'a certificate record cannot begin as %', NEW.state USING ERRCODE = 'check_violation';
        END IF;
    ELSE
        IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({_transition_list()}) THEN
            RAISE EXCEPTION 'certificate record %: % to % is no transition', OLD.id, OLD.state, NEW.state
                USING ERRCODE = 'check_violation';
        END IF;
        IF (NEW.identity_id, NEW.purpose, NEW.slot, NEW.trust_domain)
                IS DISTINCT FROM (OLD.identity_id, OLD.purpose, OLD.slot, OLD.trust_domain) THEN
            RAISE EXCEPTION 'certificate record %: identity, purpose, slot and trust domain never change', OLD.id
                USING ERRCODE = 'check_violation';
        END IF;
        IF OLD.fingerprint <> '' AND (NEW.fingerprint, NEW.serial_number, NEW.issuer_sha256, NEW.public_key_sha256)
                IS DISTINCT FROM (OLD.fingerprint, OLD.serial_number, OLD.issuer_sha256, OLD.public_key_sha256) THEN
            RAISE EXCEPTION 'certificate record %: an issued certificate never changes', OLD.id
                USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    IF NEW.authority_id IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM inventory_issuingauthority a
            WHERE a.id = NEW.authority_id AND a.trust_domain = NEW.trust_domain) THEN
        RAISE EXCEPTION 'certificate record %: its authority belongs to another trust domain', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'active' AND NOT EXISTS (
            SELECT 1 FROM inventory_evidence e WHERE e.id = NEW.activation_evidence_id AND e.record_id = NEW.id) THEN
        RAISE EXCEPTION 'certificate record %: active needs evidence of its own', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_record BEFORE INSERT OR UPDATE OR DELETE ON inventory_certificaterecord
    FOR EACH ROW EXECUTE FUNCTION inventory_guard_record();
"""

APPEND_ONLY_FUNCTION = """
CREATE FUNCTION inventory_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END $$;
"""

APPEND_ONLY_TABLES = (
    "inventory_domainevent",
    "inventory_securityevent",
    "inventory_evidence",
    "inventory_historicalcertificatejob",
    "inventory_historicalcertificaterecord",
    "inventory_historicalchargerfamily",
    "inventory_historicalcohort",
    "inventory_historicalissuingauthority",
    "inventory_historicallifecyclepolicy",
    "inventory_historicalmanagedidentity",
)


class Migration(migrations.Migration):
    dependencies = [("inventory", "0001_initial")]
    operations = [
        migrations.RunSQL(
            RECORD_GUARD,
            "DROP TRIGGER guard_record ON inventory_certificaterecord; DROP FUNCTION inventory_guard_record();",
        ),
        migrations.RunSQL(APPEND_ONLY_FUNCTION, "DROP FUNCTION inventory_append_only();"),
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION inventory_append_only();",
                f"DROP TRIGGER append_only ON {table};",
            )
            for table in APPEND_ONLY_TABLES
        ),
    ]
