"""What the database itself refuses of the pools, whatever code, shell or console asks for it."""

from django.db import migrations

ONE_DEFAULT = """
CREATE FUNCTION provisioning_pool_default() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    vehicle bigint;
    edition text;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        vehicle := OLD.provisioning_certificate_id; edition := OLD.namespace;
        IF EXISTS (SELECT FROM provisioning_poolcontract
                   WHERE provisioning_certificate_id = vehicle AND namespace = edition)
           AND NOT EXISTS (SELECT FROM provisioning_poolcontract
                           WHERE provisioning_certificate_id = vehicle AND namespace = edition AND is_default) THEN
            RAISE EXCEPTION 'vehicle % has contracts and no default contract', vehicle USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' AND NOT NEW.is_default
       AND NOT EXISTS (SELECT FROM provisioning_poolcontract
                       WHERE provisioning_certificate_id = NEW.provisioning_certificate_id
                         AND namespace = NEW.namespace AND is_default)
       AND EXISTS (SELECT FROM provisioning_poolcontract WHERE id = NEW.id) THEN
        RAISE EXCEPTION 'vehicle % has contracts and no default contract', NEW.provisioning_certificate_id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER one_default_contract
    AFTER INSERT OR DELETE OR UPDATE OF is_default, namespace, provisioning_certificate_id ON provisioning_poolcontract
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION provisioning_pool_default();
"""

APPEND_ONLY_TABLES = (
    "provisioning_poolchange",
    "provisioning_historicalpoolnode",
    "provisioning_historicalpoolidentifier",
    "provisioning_historicalpoolcredential",
    "provisioning_historicalpoolroot",
    "provisioning_historicalpoolwebhook",
)


class Migration(migrations.Migration):
    dependencies = [("provisioning", "0003_pools"), ("inventory", "0008_no_truncation")]
    operations = [
        migrations.RunSQL(
            ONE_DEFAULT,
            "DROP TRIGGER one_default_contract ON provisioning_poolcontract; DROP FUNCTION provisioning_pool_default();",
        ),
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION inventory_append_only();"
                f"CREATE TRIGGER no_truncation BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION inventory_no_truncation();",
                f"DROP TRIGGER append_only ON {table}; DROP TRIGGER no_truncation ON {table};",
            )
            for table in APPEND_ONLY_TABLES
        ),
    ]
