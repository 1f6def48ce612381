"""What the database itself refuses of AuthorizationKeys, whatever code, shell or console asks for it."""

from django.db import migrations

from migration.key_choices import KEY_TRANSITIONS


def _transition_list() -> str:
    pairs = sorted((source, target) for source, targets in KEY_TRANSITIONS.items() for target in targets)
    return ", ".join(f"('{source}', '{target}')" for source, target in pairs)


KEY_GUARD = f"""
CREATE FUNCTION migration_guard_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'AuthorizationKey % is never removed; revoke it', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NOT (NEW.state = 'pending' OR (NEW.state = 'active' AND NEW.source IN ('set', 'imported'))) THEN
            RAISE EXCEPTION 'an AuthorizationKey that is % cannot begin as %', NEW.source, NEW.state
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({_transition_list()}) THEN
        RAISE EXCEPTION 'AuthorizationKey %: % to % is no transition', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF (NEW.identity_id, NEW.version, NEW.digest, NEW.source)
            IS DISTINCT FROM (OLD.identity_id, OLD.version, OLD.digest, OLD.source) THEN
        RAISE EXCEPTION 'AuthorizationKey %: identity, version, secret and source never change', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_key BEFORE INSERT OR UPDATE OR DELETE ON migration_authorizationkey
    FOR EACH ROW EXECUTE FUNCTION migration_guard_key();
"""

HISTORIES = ("migration_historicalknowndefaultkey", "migration_historicalrecoverydoor")


class Migration(migrations.Migration):
    dependencies = [("migration", "0004_rotations")]
    operations = [
        migrations.RunSQL(
            KEY_GUARD,
            "DROP TRIGGER guard_key ON migration_authorizationkey; DROP FUNCTION migration_guard_key();",
        ),
        *(
            migrations.RunSQL(
                f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION inventory_append_only();"
                f"CREATE TRIGGER no_truncation BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION inventory_no_truncation();",
                f"DROP TRIGGER append_only ON {table}; DROP TRIGGER no_truncation ON {table};",
            )
            for table in HISTORIES
        ),
    ]
