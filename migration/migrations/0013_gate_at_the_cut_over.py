"""The database asks the gates of trust anchors at the cut-over too, and keeps them as they are until it is committed."""

from collections.abc import Mapping

from django.db import migrations

from migration.states import CASE_TRANSITIONS


def _transition_list(table: Mapping[str, frozenset[str]]) -> str:
    pairs = sorted((source, target) for source, targets in table.items() for target in targets)
    return ", ".join(f"('{source}', '{target}')" for source, target in pairs)


CASE_GUARD = f"""
CREATE OR REPLACE FUNCTION migration_guard_case() RETURNS trigger LANGUAGE plpgsql AS $$
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
    IF NEW.state NOT IN ('installing', 'pending_activation', 'active') THEN
        RETURN NEW;
    END IF;
    arrived := EXISTS (SELECT 1 FROM inventory_certificaterecord r WHERE r.identity_id = NEW.identity_id
        AND r.purpose = 'charger_identity' AND r.state = 'active');
    IF NEW.state = 'active' AND NOT arrived THEN
        RAISE EXCEPTION 'migration case %: active needs a certificate that was seen in use', NEW.id
            USING ERRCODE = 'check_violation';
    END IF;
    -- Whoever has arrived by itself passes the states in between; everybody else is started by its wave. One that is on
    -- its way when the wave is paused goes on to its end.
    IF NOT arrived AND NEW.state <> 'pending_activation' AND NOT EXISTS (SELECT 1 FROM migration_wave w
            WHERE w.id = NEW.wave_id AND w.state IN ('running', 'passed')) THEN
        RAISE EXCEPTION 'migration case %: its wave is not running', NEW.id USING ERRCODE = 'check_violation';
    END IF;
    IF NOT arrived OR (NEW.state = 'pending_activation' AND NEW.cut_over_job_id IS DISTINCT FROM OLD.cut_over_job_id)
    THEN
        -- Held as they are until the commit: a withdrawal is either seen here, or comes after it.
        PERFORM 1 FROM trustanchors_bundlerollout b WHERE b.id IN (
            SELECT i.rollout_id FROM trustanchors_bundleinstallation i WHERE i.identity_id = NEW.identity_id
                AND i.current AND i.purpose IN ('charger_identity', 'backend_server')) ORDER BY b.id FOR SHARE;
        IF EXISTS (SELECT 1 FROM trustanchors_bundleinstallation i
                JOIN trustanchors_bundlerollout b ON b.id = i.rollout_id
                WHERE i.identity_id = NEW.identity_id AND i.current
                AND i.purpose IN ('charger_identity', 'backend_server') AND NOT b.gate_open) THEN
            RAISE EXCEPTION 'migration case %: a gate of its trust anchors is closed', NEW.id
                USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("migration", "0012_rollout_filling"), ("trustanchors", "0002_guards")]
    operations = [migrations.RunSQL(CASE_GUARD, migrations.RunSQL.noop)]
