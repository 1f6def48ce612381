"""What the database itself refuses of rollouts, waves and cases, whatever code, shell or console asks for it."""

from collections.abc import Mapping

from django.db import migrations

from migration.states import CASE_TRANSITIONS, ROLLOUT_TRANSITIONS, WAVE_TRANSITIONS


def _transition_list(table: Mapping[str, frozenset[str]]) -> str:
    pairs = sorted((source, target) for source, targets in table.items() for target in targets)
    return ", ".join(f"('{source}', '{target}')" for source, target in pairs)


ROLLOUT_GUARD = f"""
CREATE FUNCTION migration_guard_rollout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'migration rollout % is never removed; stop it', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN ({_transition_list(ROLLOUT_TRANSITIONS)}) THEN
        RAISE EXCEPTION 'migration rollout %: % to % is no transition', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'complete' AND OLD.state <> 'complete' AND EXISTS (
            SELECT 1 FROM migration_wave w WHERE w.rollout_id = NEW.id AND w.state <> 'passed') THEN
        RAISE EXCEPTION 'migration rollout %: not every wave has passed', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_rollout BEFORE UPDATE OR DELETE ON migration_migrationrollout
    FOR EACH ROW EXECUTE FUNCTION migration_guard_rollout();
"""

WAVE_GUARD = f"""
CREATE FUNCTION migration_guard_wave() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    active integer;
    threshold integer;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'wave % is never removed; stop its rollout', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'pending' THEN
            RAISE EXCEPTION 'a wave cannot begin as %', NEW.state USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.rollout_id, NEW.position) IS DISTINCT FROM (OLD.rollout_id, OLD.position) THEN
        RAISE EXCEPTION 'wave %: its rollout and its place never change', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.total IS NOT NULL AND NEW.total IS DISTINCT FROM OLD.total THEN
        RAISE EXCEPTION 'wave %: its number of chargers is fixed', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = OLD.state THEN
        RETURN NEW;
    END IF;
    IF (OLD.state, NEW.state) NOT IN ({_transition_list(WAVE_TRANSITIONS)}) THEN
        RAISE EXCEPTION 'wave %: % to % is no transition', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'running' THEN
        IF EXISTS (SELECT 1 FROM migration_wave w WHERE w.rollout_id = NEW.rollout_id AND w.position < NEW.position
                AND w.state <> 'passed') THEN
            RAISE EXCEPTION 'wave %: a wave before it has not passed', NEW.id USING ERRCODE = 'check_violation';
        END IF;
        IF EXISTS (SELECT 1 FROM migration_wave_anchor_rollouts g
                JOIN trustanchors_bundlerollout b ON b.id = g.bundlerollout_id
                WHERE g.wave_id = NEW.id AND NOT b.gate_open) THEN
            RAISE EXCEPTION 'wave %: a gate of its trust anchors is closed', NEW.id USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    IF NEW.state = 'passed' THEN
        SELECT count(*) INTO active FROM migration_migrationcase c WHERE c.wave_id = NEW.id AND c.state = 'active';
        SELECT coalesce(NEW.success_threshold_percent, r.success_threshold_percent) INTO threshold
            FROM migration_migrationrollout r WHERE r.id = NEW.rollout_id;
        IF active * 100 < threshold * NEW.total THEN
            RAISE EXCEPTION 'wave %: % of % are active, which is below its threshold of %', NEW.id, active, NEW.total,
                threshold USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_wave BEFORE INSERT OR UPDATE OR DELETE ON migration_wave
    FOR EACH ROW EXECUTE FUNCTION migration_guard_wave();
"""

CASE_GUARD = f"""
CREATE FUNCTION migration_guard_case() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    arrived boolean;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'migration case % is never removed; cancel it', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'pending' THEN
            RAISE EXCEPTION 'a migration case cannot begin as %', NEW.state USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.identity_id <> OLD.identity_id THEN
        RAISE EXCEPTION 'migration case %: its charger never changes', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = OLD.state THEN
        RETURN NEW;
    END IF;
    IF (OLD.state, NEW.state) NOT IN ({_transition_list(CASE_TRANSITIONS)}) THEN
        RAISE EXCEPTION 'migration case %: % to % is no transition', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state IN ('installing', 'active') THEN
        arrived := EXISTS (SELECT 1 FROM inventory_certificaterecord r WHERE r.identity_id = NEW.identity_id
            AND r.purpose = 'charger_identity' AND r.state = 'active');
        IF NEW.state = 'active' AND NOT arrived THEN
            RAISE EXCEPTION 'migration case %: active needs a certificate that was seen in use', NEW.id
                USING ERRCODE = 'check_violation';
        END IF;
        -- Whoever has arrived by itself passes the states in between; everybody else is started by its wave.
        IF NOT arrived AND NOT EXISTS (SELECT 1 FROM migration_wave w WHERE w.id = NEW.wave_id
                AND w.state IN ('running', 'passed')) THEN
            RAISE EXCEPTION 'migration case %: its wave is not running', NEW.id USING ERRCODE = 'check_violation';
        END IF;
        IF NOT arrived AND EXISTS (SELECT 1 FROM trustanchors_bundleinstallation i
                JOIN trustanchors_bundlerollout b ON b.id = i.rollout_id
                WHERE i.identity_id = NEW.identity_id AND i.current
                AND i.purpose IN ('charger_identity', 'backend_server') AND NOT b.gate_open) THEN
            RAISE EXCEPTION 'migration case %: a gate of its trust anchors is closed', NEW.id
                USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_case BEFORE INSERT OR UPDATE OR DELETE ON migration_migrationcase
    FOR EACH ROW EXECUTE FUNCTION migration_guard_case();
"""

HISTORIES = (
    "migration_historicalmigrationrollout",
    "migration_historicalwave",
    "migration_historicalbreaker",
    "migration_historicalmigrationwindow",
    "migration_historicalblackout",
)


class Migration(migrations.Migration):
    dependencies = [("migration", "0007_waves"), ("trustanchors", "0002_guards")]
    operations = [
        migrations.RunSQL(
            ROLLOUT_GUARD,
            "DROP TRIGGER guard_rollout ON migration_migrationrollout; DROP FUNCTION migration_guard_rollout();",
        ),
        migrations.RunSQL(
            WAVE_GUARD, "DROP TRIGGER guard_wave ON migration_wave; DROP FUNCTION migration_guard_wave();"
        ),
        migrations.RunSQL(
            CASE_GUARD, "DROP TRIGGER guard_case ON migration_migrationcase; DROP FUNCTION migration_guard_case();"
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
